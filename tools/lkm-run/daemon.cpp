// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/daemon.hpp"

#include <poll.h>

#include "fuse-proc/fuse_proc.hpp"
#include "toolkit/control/methods.hpp"
#include "toolkit/control/network_methods.hpp"
#include "toolkit/control/server.hpp"
#include "toolkit/exec/methods.hpp"
#include "tools/lkm-run/console_log.hpp"
#include "tools/lkm-run/interrupt.hpp"

namespace lkm::cli {
namespace {

// The life of a stack that has booted, on its first fiber. Returns the signal that ended it.
Result<int> serve(Stack& stack, const DaemonOptions& options, Interrupt& interrupt,
                  const std::function<void(const Json&)>& ready) {
  control::About about{.name = options.folder.name(), .version = LKM_RUN_VERSION, .mount = {}};
  std::unique_ptr<FuseProc> fuse;
  if (options.fuse) {
    LKM_TRY(fuse, FuseProc::mount(stack, options.folder.mount()));
    about.mount = options.folder.mount();
  }
  LKM_TRY(auto server, control::Server::listen(stack, options.folder.socket()));
  // `down` takes the same way as SIGTERM: there is one way to end.
  control::add_methods(*server, stack, about, [] { ::kill(::getpid(), SIGTERM); });
  control::add_network_methods(*server, stack);
  exec::add_methods(*server, stack, options.folder.path() / "views", about.mount);
  LKM_CHECK(server->start());

  ready(control::to_json(about, stack));
  for (;;) {
    if (const auto signal = interrupt.take()) {
      server->stop();
      return *signal;
    }
    if (auto woken = stack.wait_fd(interrupt.fd(), POLLIN); !woken) {
      if (woken.error().errno_value() != EINTR) return Failure(std::move(woken).error());
    }
  }
}

}  // namespace

Result<int> run_daemon(const DaemonOptions& options, const std::function<void(const Json&)>& ready) {
  LKM_TRY(const UniqueFd lock, options.folder.claim());
  LKM_TRY(auto log, ConsoleLog::open(options.folder.log()));
  LKM_TRY(auto interrupt, Interrupt::block());

  Stack::Options stack_options;
  stack_options.library = options.image / "libos.so";
  stack_options.module_path = {options.image / "modules"};
  stack_options.memory = options.memory;
  stack_options.clock = options.clock;
  stack_options.console = [&](std::string_view text) {
    log.write(text);
    if (options.echo_log) (void)!::write(STDERR_FILENO, text.data(), text.size());
  };

  // Whoever died before us held the lock; the folder is ours as it is.
  stack_options.on_resume = [&](const std::string&) { (void)options.folder.take_over(lock); };

  std::optional<Error> error;
  LKM_TRY(const int signal, Stack::run(stack_options, [&](Stack& stack) {
            auto ended = serve(stack, options, interrupt, ready);
            if (ended) return *ended;
            error = std::move(ended).error();
            return 0;
          }));
  if (error) return Failure(std::move(*error));
  LKM_CHECK(options.folder.remove());
  return signal;
}

}  // namespace lkm::cli

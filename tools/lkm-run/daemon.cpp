// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/daemon.hpp"

#include <poll.h>

#include <chrono>

#include "fuse-proc/fuse_proc.hpp"
#include "toolkit/control/methods.hpp"
#include "toolkit/control/network_methods.hpp"
#include "toolkit/control/record.hpp"
#include "toolkit/control/server.hpp"
#include "toolkit/exec/methods.hpp"
#include "tools/lkm-run/confinement.hpp"
#include "tools/lkm-run/console_log.hpp"
#include "tools/lkm-run/interrupt.hpp"

namespace lkm::cli {
namespace {

using std::chrono::milliseconds;

/// A module that has run for so long is not what the stack died of (Guard::probation), nor is a stack that has.
constexpr milliseconds kProbation{3000};
/// Of the kernel log, for who comes after a stack that died.
constexpr std::size_t kLogKept = 16 * 1024;

std::uint64_t now_ns() {
  return std::uint64_t(std::chrono::steady_clock::now().time_since_epoch().count());
}

// The stack is made what the one was that died, and it is told what that means.
void make_again(Stack& stack, control::Server& server, control::Record& record) {
  const auto since = now_ns();
  std::string failed;
  for (const auto& [method, params, where] : record.to_redo(kProbation)) {
    auto fiber = stack.spawn("again", [&server, &failed, method = method, params = params] {
      const auto done = server.call(method, params);
      if (!done) failed += fmt::format("; could not do again: {}", done.error().what());
    });
    if (fiber) fiber->join();
  }
  stack.log(record.log(), 7);
  std::string runs;
  if (const auto modules = stack.modules()) {
    for (const auto& module : *modules) {
      runs += fmt::format("{}{}@{} serves", runs.empty() ? "" : ", ", module.name, module.generation);
    }
  }
  const auto lost = record.lost(kProbation);
  stack.note_incident({.module = record.suspect(kProbation),
                       .what = record.why(),
                       .done = fmt::format("the stack died of it and was started again as it was configured; lost: {}{}",
                                           fmt::join(lost, ", "), failed),
                       .runs = runs.empty() ? "no module is loaded" : runs,
                       .took = std::chrono::nanoseconds(now_ns() - since)});
  record.start_again(now_ns());
}

// The life of a stack that has booted, on its first fiber. Returns the signal that ended it.
Result<int> serve(Stack& stack, const DaemonOptions& options, control::Record& record, Interrupt& interrupt,
                  Keeper& keeper, const std::function<void(const Json&)>& ready) {
  control::About about{.name = options.folder.name(), .version = LKM_RUN_VERSION, .mount = {}};
  std::unique_ptr<FuseProc> fuse;
  if (options.fuse) {
    LKM_TRY(fuse, FuseProc::mount(stack, options.folder.mount(), keeper));
    about.mount = options.folder.mount();
  }
  LKM_TRY(auto server, control::Server::listen(stack, options.folder.socket()));
  // `down` takes the same way as SIGTERM: there is one way to end.
  control::add_methods(*server, stack, about, [] { ::kill(::getpid(), SIGTERM); });
  control::add_network_methods(*server, stack, [&keeper](Reach reach) { return keeper.uplink(reach); });
  exec::add_methods(*server, stack, {.folder = options.folder.path() / "views", .first = about.mount, .mounter = keeper, .mount = fuse.get()},
                    options.program_limits);
  server->on_done([&record](const std::string& method, const control::Json& params, const control::Json& result) {
    record.note(method, params, result, now_ns());
  });
  server->add("record", [&record](control::Call&) -> Result<Json> {
    return Json{{"stack_file", control::to_stack_file(record.commands())}};
  });
  server->on_request([&record](const std::string& method, bool begins) {
    begins ? record.begin(method) : record.end(method);
  });
  if (options.again) make_again(stack, *server, record);
  // Nobody has had a word yet but the user.
  LKM_CHECK(confine());
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

Result<int> run_daemon(const DaemonOptions& options, Keeper& keeper, const std::function<void(const Json&)>& ready) {
  using Keep = control::StateFolder::Keep;
  LKM_TRY(const UniqueFd lock, options.folder.claim(options.again ? Keep::kPluginsAndRecord : Keep::kNothing));
  control::Record record(options.folder.record());
  if (options.again) {
    LKM_TRY(record, control::Record::read(options.folder.record()));
  }
  LKM_TRY(auto log, ConsoleLog::open(options.folder.log()));
  LKM_TRY(auto interrupt, Interrupt::block());

  Stack::Options stack_options;
  stack_options.library = options.image / "libos.so";
  stack_options.module_path = {options.image / "modules"};
  stack_options.memory = options.memory;
  stack_options.clock = options.clock;
  std::string recent;
  stack_options.console = [&](std::string_view text) {
    log.write(text);
    if (recent.size() > 2 * kLogKept) recent.erase(0, recent.size() - kLogKept);
    recent += text;
    if (options.echo_log) (void)!::write(STDERR_FILENO, text.data(), text.size());
  };

  // Whoever died before us held the lock; the folder is ours as it is.
  stack_options.on_resume = [&](const std::string&) { (void)options.folder.take_over(lock); };

  std::optional<Error> error;
  const auto signal = Stack::run(stack_options, [&](Stack& stack) {
    auto ended = serve(stack, options, record, interrupt, keeper, ready);
    if (ended) return *ended;
    error = std::move(ended).error();
    return 0;
  });
  if (!signal && signal.error().errno_value() == ENOTRECOVERABLE && !record.in_vain(now_ns(), kProbation)) {
    record.note_death(signal.error().what(), recent, now_ns());
    keeper.start_again();
  }
  if (!signal) return Failure(signal.error());
  if (error) return Failure(std::move(*error));
  LKM_CHECK(options.folder.remove());
  return signal;
}

}  // namespace lkm::cli

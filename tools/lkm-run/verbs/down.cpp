// SPDX-License-Identifier: GPL-2.0
#include <poll.h>
#include <sys/syscall.h>

#include <csignal>

#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

constexpr std::chrono::seconds kPatience{5};

// Waits for the process to end. ETIMEDOUT when it does not in time.
Result<void> wait_for_end(const UniqueFd& pidfd) {
  pollfd poll{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  const std::chrono::milliseconds limit = kPatience;
  const int ready = ::poll(&poll, 1, static_cast<int>(limit.count()));
  if (ready < 0) return fail(errno, "wait for the stack's end");
  if (ready == 0) return fail(ETIMEDOUT, "wait for the stack's end");
  return {};
}

// "ended", "killed" or "cleaned": what had to be done.
Result<std::string> bring_down(const control::StateFolder& folder) {
  const auto owner = folder.owner();
  std::string how = "cleaned";
  if (owner) {
    // The process itself, and not who may get its pid later. By number, see toolkit/base/child.cpp.
    const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, *owner, 0)));
    if (!pidfd) return fail(errno, "find process {}", *owner);
    const auto send = [&](int number) { ::syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0); };
    auto client = control::Client::connect(folder, std::chrono::seconds(2));
    if (!client || !client->call("down")) send(SIGTERM);
    how = "ended";
    if (!wait_for_end(pidfd)) {
      send(SIGKILL);
      LKM_CHECK(wait_for_end(pidfd));
      how = "killed";
    }
  }
  LKM_CHECK(folder.remove());
  return how;
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  std::vector<control::StateFolder> folders;
  if (arguments.has("all")) {
    folders = control::StateFolder::all();
  } else {
    LKM_TRY(auto folder, state_folder(arguments));
    std::error_code ignored;
    if (!std::filesystem::exists(folder.path(), ignored)) {
      return Failure(Error({}, fmt::format("there is no stack '{}'", folder.name())).with_hint("lkm-run ls"));
    }
    folders.push_back(std::move(folder));
  }
  int code = kDone;
  for (const auto& folder : folders) {
    const auto how = bring_down(folder);
    if (!how) {
      terminal.error(how.error());
      code = kFailed;
    } else if (terminal.json()) {
      terminal.object({{"down", {{"name", folder.name()}, {"how", *how}}}});
    } else if (*how == "cleaned") {
      terminal.line(fmt::format("stack '{}' was dead: what it left is removed", folder.name()));
    } else if (*how == "killed") {
      terminal.line(fmt::format("stack '{}' did not end by itself and was killed", folder.name()));
    } else {
      terminal.line(fmt::format("stack '{}' is down", folder.name()));
    }
  }
  return code;
}

}  // namespace

extern const Verb kDown;
const Verb kDown = {
    .name = "down",
    .summary = "end a stack, and clean what a dead one left",
    .operands = "",
    .description =
        "Ends the stack with all its connections and its programs (SIGTERM), unmounts its /proc and /sys and removes its state "
        "folder. A stack that does not end by itself within five seconds is killed. Of a stack that "
        "was killed before, it unmounts and removes what is left.",
    .options = {{.name = "all", .letter = 'a', .help = "all stacks of this user"}},
    .examples = {{"lkm-run down", "end the stack \"default\""}, {"lkm-run down --all", "end every stack"}},
    .run = run,
};

}  // namespace lkm::cli

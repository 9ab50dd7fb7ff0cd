// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/program.hpp"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "toolkit/base/log.hpp"
#include "toolkit/exec/filter.hpp"
#include "toolkit/exec/private_view.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

/// As sh(1) and env(1) have it.
constexpr int kCannotExecute = 126;
constexpr int kNotFound = 127;

}  // namespace

Result<int> become_program(const Arguments& arguments, Terminal& terminal, std::vector<std::string> command) {
  LKM_TRY(const auto folder, state_folder(arguments));
  const std::string netns = arguments.value("netns");
  LKM_TRY(auto client, connect(arguments));
  // From here on this process's own socket calls are caught too, but not those of the client: its descriptor
  // is a low one, and it only sends and receives.
  LKM_TRY(const UniqueFd listener, exec::install_filter());
  LKM_TRY(const Json attached, client.call("exec.attach", {{"listener", listener.get()}, {"netns", netns}, {"limits", arguments.value("limits")}}));
  if (const std::string view = attached.value("view", ""); !view.empty()) {
    if (const auto shown = exec::show_view(view); !shown) {
      log::debug("exec", "the program sees the host's /proc/net: {}", shown.error().message());
    }
  }

  ::setenv("LKM_RUN_STACK", (netns.empty() ? folder.name() : fmt::format("{}/{}", folder.name(), netns)).c_str(), 1);
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::signal(SIGPIPE, SIG_DFL);  // run() ignores it, and exec keeps that
  ::execvp(argv[0], argv.data());
  const int error = errno;
  terminal.error(fail(error, "execute '{}'", command[0]).value());
  return error == ENOENT ? kNotFound : kCannotExecute;
}

}  // namespace lkm::cli

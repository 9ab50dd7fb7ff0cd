// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/program.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "toolkit/exec/filter.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

/// As sh(1) and env(1) have it.
constexpr int kCannotExecute = 126;
constexpr int kNotFound = 127;

/// Sockets of the stack have high numbers.
Result<void> make_room_for_descriptors() {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  const rlim_t wanted = 2 * exec::kFirstFd;
  if (files.rlim_cur >= wanted) return {};
  files.rlim_cur = std::min(wanted, files.rlim_max);
  if (files.rlim_cur > exec::kFirstFd && ::setrlimit(RLIMIT_NOFILE, &files) == 0) return {};
  return fail_hint(EMFILE, fmt::format("ulimit -n {}", wanted),
                   "descriptors of stack sockets begin at {}, and the limit is {}", exec::kFirstFd, files.rlim_max);
}

}  // namespace

Result<int> become_program(const Arguments& arguments, Terminal& terminal, std::vector<std::string> command) {
  LKM_CHECK(make_room_for_descriptors());
  LKM_TRY(auto client, connect(arguments));
  // From here on this process's own socket calls are caught too, but not those of the client: its descriptor
  // is a low one, and it only sends and receives.
  LKM_TRY(const UniqueFd listener, exec::install_filter());
  LKM_CHECK(client.call("exec.attach", {{"listener", listener.get()}, {"netns", arguments.value("netns")}}));

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

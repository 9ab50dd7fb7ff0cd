// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/tools.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "toolkit/base/child.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;

// make's own report of a recipe that failed: "make[3]: *** [/…/Makefile.build:229: /…/x.o] Error
// 1". It repeats what the compiler said, by name of a file in the copy. Other words of make's ("No
// rule to make target") are news.
bool is_trace_of_make(std::string_view line) {
  if (!line.starts_with("make")) return false;
  const std::size_t stars = line.find(": *** [");
  return stars != std::string_view::npos &&
         line.substr(0, stars).find(' ') == std::string_view::npos;
}

// What a make or shell around us exports must not reach the kernel's make.
constexpr const char* kOthersVariables[] = {"MAKEFLAGS",
                                            "MFLAGS",
                                            "GNUMAKEFLAGS",
                                            "MAKELEVEL",
                                            "MAKEOVERRIDES",
                                            "ARCH",
                                            "CROSS_COMPILE",
                                            "CC",
                                            "LD",
                                            "LLVM",
                                            "O",
                                            "M",
                                            "V",
                                            "W",
                                            "C",
                                            "KCFLAGS",
                                            "KBUILD_OUTPUT",
                                            "KBUILD_EXTMOD",
                                            "KCONFIG_CONFIG",
                                            "KERNELRELEASE"};

}  // namespace

fs::path find_program(std::string_view name) {
  const char* path = std::getenv("PATH");
  for (std::string_view left = path != nullptr ? path : ""; !left.empty();) {
    const std::string_view folder = left.substr(0, left.find(':'));
    left.remove_prefix(std::min(left.size(), folder.size() + 1));
    fs::path program = fs::path(folder) / name;
    if (::access(program.c_str(), X_OK) == 0) return program;
  }
  return {};
}

Result<int> Tools::run(const std::vector<std::string>& command, const Mirror& mirror,
                       const fs::path& directory) const {
  return run_to(options_.sink, command, mirror, directory);
}

Result<int> Tools::run_silently(const std::vector<std::string>& command, const Mirror& mirror,
                                const fs::path& directory, std::string& output) const {
  return run_to([&](std::string_view line) { output += line; }, command, mirror, directory);
}

void Tools::show(std::string_view lines) const {
  while (!lines.empty() && options_.sink) {
    const std::size_t length = std::min(lines.size(), lines.find('\n') + 1);
    options_.sink(lines.substr(0, length));
    lines.remove_prefix(length);
  }
}

Result<int> Tools::run_to(const Sink& sink, const std::vector<std::string>& command,
                          const Mirror& mirror, const fs::path& directory) const {
  Child::Options options{.argv = command,
                         .directory = directory,
                         .out = Child::Output::kPipe,
                         .err = Child::Output::kWithOut};
  if (options_.niceness != 0) {
    options.argv.insert(options.argv.begin(), {"nice", "-n", std::to_string(options_.niceness)});
  }
  for (const char* name : kOthersVariables) options.environment[name] = std::nullopt;
  auto started = Child::spawn(options);
  if (!started) {
    const int error = started.error().errno_value();
    return Failure(
        std::move(started.error())
            .with_hint(error == ENOENT && command[0] == "make" ? "apt-get install make" : ""));
  }
  Child child = std::move(*started);

  const auto take_line = [&](std::string line) {
    if (!is_trace_of_make(line) && sink) sink(mirror.as_user_sees(std::move(line)));
  };
  std::string partial;
  for (;;) {
    struct pollfd polls[2] = {{.fd = child.out().get(), .events = POLLIN, .revents = 0},
                              {.fd = options_.cancel_fd, .events = POLLIN, .revents = 0}};
    if (::poll(polls, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return fail(errno, "wait for '{}'", command[0]);
    }
    if (polls[1].revents != 0) {
      // Asked to end, make removes the targets that are half made; killed, it would leave them, and
      // take them for whole the next time.
      LKM_CHECK(child.stop(std::chrono::seconds(5)));
      return fail(ECANCELED, "build '{}'", mirror.source().string());
    }
    char buffer[8192];
    const ssize_t got = ::read(child.out().get(), buffer, sizeof buffer);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0) return fail(errno, "read the output of '{}'", command[0]);
    if (got == 0) break;
    partial.append(buffer, static_cast<std::size_t>(got));
    std::size_t begin = 0;
    for (std::size_t end; (end = partial.find('\n', begin)) != std::string::npos; begin = end + 1) {
      take_line(partial.substr(begin, end + 1 - begin));
    }
    partial.erase(0, begin);
  }
  if (!partial.empty()) take_line(partial + '\n');
  LKM_TRY(const ExitStatus status, child.wait());
  if (status.signal != 0) {
    return fail(ECHILD, "'{}' was ended by signal {}", command[0], status.signal);
  }
  return status.code;
}

}  // namespace lkm

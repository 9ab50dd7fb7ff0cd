// SPDX-License-Identifier: GPL-2.0
//
// Child: owner of a child process and of the process group that it leads.
//
//   LKM_TRY(auto child, Child::spawn({.argv = {"make", "-C", folder}, .out = Child::Output::kPipe,
//                                     .err = Child::Output::kWithOut}));
//   LKM_TRY(const std::string text, child.read_all());
//   LKM_TRY(const ExitStatus status, child.wait());
//
// The child has its own group, so that a signal reaches what it started too, and Ctrl-C on the
// terminal reaches it only by way of its owner. A Child that is dropped before wait() is killed
// with its group. It is known by a pidfd, which poll(2) reports as readable once it ended.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

/// How a process ended: by exit with `code`, or by `signal` (then code is 128 + signal, as in sh).
struct ExitStatus {
  int code = 0;
  int signal = 0;
  [[nodiscard]] bool success() const { return code == 0; }
};

class Child {
 public:
  enum class Output {
    kInherit,  ///< the caller's own
    kPipe,     ///< read it from out() or err()
    kNull,     ///< dropped
    kWithOut,  ///< for `err`: to where `out` goes
  };

  struct Options {
    std::vector<std::string> argv;    ///< argv[0] is looked up in $PATH when it has no slash
    std::filesystem::path directory;  ///< working directory; empty: the caller's
    /// Changes to the caller's environment; nullopt removes the variable.
    std::map<std::string, std::optional<std::string>> environment;
    Output out = Output::kInherit;
    Output err = Output::kInherit;
  };

  /// Starts the program with /dev/null as its standard input and default signal actions. Errors: as
  /// execve(2), naming the program; ENOENT when the program or the directory is not there.
  static Result<Child> spawn(const Options& options);

  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { reset(); }

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }
  /// Reading ends of the pipes, non-blocking; none unless kPipe was asked for.
  [[nodiscard]] const UniqueFd& out() const { return out_; }
  [[nodiscard]] const UniqueFd& err() const { return err_; }

  /// Reads out() to its end, waiting as long as that takes. Errors: as read(2).
  Result<std::string> read_all();
  /// Waits for the end and takes the exit status; may be called again. A child that fills a pipe
  /// which nobody reads never ends.
  Result<ExitStatus> wait();
  /// The same with a time limit; nullopt when the child still runs then.
  Result<std::optional<ExitStatus>> wait_for(std::chrono::milliseconds limit);
  /// Sends a signal to the whole group; nothing happens once it ended.
  void signal(int number);
  /// Asks the group to end (SIGTERM), and kills it when it has not after `grace`.
  Result<ExitStatus> stop(std::chrono::milliseconds grace);

 private:
  Child(pid_t pid, UniqueFd pidfd, UniqueFd out, UniqueFd err)
      : pid_(pid), pidfd_(std::move(pidfd)), out_(std::move(out)), err_(std::move(err)) {}
  void reset();

  pid_t pid_ = -1;  // of the leader, and so of the group; -1 when moved from
  UniqueFd pidfd_;
  UniqueFd out_;
  UniqueFd err_;
  std::optional<ExitStatus> status_;
};

}  // namespace lkm

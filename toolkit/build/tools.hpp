// SPDX-License-Identifier: GPL-2.0
//
// Tools: runs the programs that a build consists of, and passes on what they print.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/build/mirror.hpp"

namespace lkm {

/// The file that a program's name stands for, by $PATH; "" when there is none.
std::filesystem::path find_program(std::string_view name);

class Tools {
 public:
  /// Gets each line as it is printed, with its newline.
  using Sink = std::function<void(std::string_view line)>;
  struct Options {
    Sink sink;
    int cancel_fd = -1;  ///< readable: the build is to stop
    int niceness = 0;    ///< as of nice(1)
  };

  explicit Tools(Options options) : options_(std::move(options)) {}

  /// The exit status of a program, run in `directory` (default: the caller's). Its lines, with the
  /// user's paths in place of those in the copy `mirror`, go to the sink. Errors: ECANCELED; as
  /// execve(2); ECHILD when it was ended by a signal.
  Result<int> run(const std::vector<std::string>& command, const Mirror& mirror,
                  const std::filesystem::path& directory = {}) const;

  /// The same, with the lines into `output`: whether they are shown is decided later.
  Result<int> run_silently(const std::vector<std::string>& command, const Mirror& mirror,
                           const std::filesystem::path& directory, std::string& output) const;
  /// Hands lines to the sink.
  void show(std::string_view lines) const;

 private:
  Result<int> run_to(const Sink& sink, const std::vector<std::string>& command,
                     const Mirror& mirror, const std::filesystem::path& directory) const;

  Options options_;
};

}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
//
// Terminal: where the command writes. Results go to stdout, talk to stderr.
#pragma once

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm::cli {

using Json = nlohmann::json;

enum class Paint { kNone, kBold, kDim, kGood, kBad, kNotice };

/// Thrown when stdout takes no more: its reader went away (`lkm-run ls | head`), or the disk is full.
/// There is nobody to go on for, so the command unwinds, letting go of what it started, and ends.
struct OutputLost {
  int errno_value = 0;
};

class Terminal {
 public:
  enum class Color { kAuto, kAlways, kNever };
  /// kAuto: colours where the stream is a terminal, TERM is not "dumb" and NO_COLOR is not set
  /// (https://no-color.org).
  Terminal(Color color, bool json);

  /// True when results are JSON, one object a line.
  [[nodiscard]] bool json() const { return json_; }
  /// True when stderr is a terminal: progress may be rewritten in place.
  [[nodiscard]] bool interactive() const { return interactive_; }

  // Results throw OutputLost. Talk that nobody reads is dropped.

  /// Text of the result, as it is.
  void text(std::string_view text) const;
  /// A line of the result for people.
  void line(std::string_view text) const;
  /// An object of the result; "v":1 is added.
  void object(Json object) const;
  /// Columns, as wide as they need to be; the first row is the heading.
  void table(const std::vector<std::vector<std::string>>& rows) const;
  /// A line of talk.
  void note(std::string_view text) const;
  /// To be waited for beside what a command that has nothing to write waits for; then look() throws OutputLost if the
  /// reader went away.
  static pollfd watched() { return {.fd = STDOUT_FILENO, .events = 0, .revents = 0}; }
  static void look(const pollfd& output);
  /// What went wrong and the HINT; with --json also as {"error":{…}} on stdout.
  void error(const Error& error);
  /// A line that the next one replaces, where that is possible; elsewhere nothing.
  void transient(std::string_view text);

  /// Text in a colour, for stdout and for stderr.
  [[nodiscard]] std::string out(Paint paint, std::string_view text) const;
  [[nodiscard]] std::string err(Paint paint, std::string_view text) const;

 private:
  void wipe() const;

  bool json_;
  bool color_out_;
  bool color_err_;
  bool interactive_;
  mutable bool transient_shown_ = false;
};

}  // namespace lkm::cli

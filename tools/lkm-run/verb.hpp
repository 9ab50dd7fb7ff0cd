// SPDX-License-Identifier: GPL-2.0
//
// Verb: what there is to know about one verb of the command line. Parsing, both kinds of help, the
// man page and the shell completions are all made from it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "toolkit/base/result.hpp"
#include "tools/lkm-run/arguments.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

/// Exit codes of the command.
enum Exit {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,
  kBuildFailed = 3,
  kSwapFailed = 4,  ///< and rolled back: the old generation serves on
  kMissing = 5,     ///< something that the machine must have
  kInterrupted = 130,
};

struct Example {
  std::string_view command;
  std::string_view what;
};

/// What a shell may complete in the place of an operand.
enum class Operand { kNothing, kFolder, kFile };

struct Verb {
  std::string_view name;
  std::string_view summary;      ///< one line, no full stop
  std::string_view operands;     ///< as in usage: "NAME|DIR|FILE [PARAM=VALUE]..."
  std::string_view description;  ///< paragraphs, parted by an empty line
  std::vector<Option> options;
  std::vector<Example> examples;
  std::size_t least = 0;                 ///< operands that must be there
  std::size_t most = 0;                  ///< and that may be
  std::vector<std::string_view> words{};  ///< what the first operand can be, when that is known
  Operand complete = Operand::kNothing;
  bool command = false;  ///< the operands are a command line: what looks like an option after the first is its own
  /// The exit code, or an Error, which the caller prints and turns into kFailed.
  Result<int> (*run)(const Arguments&, Terminal&) = nullptr;
};

inline constexpr std::size_t kAny = static_cast<std::size_t>(-1);

/// All verbs, in the order in which help lists them.
std::span<const Verb* const> all_verbs();
const Verb* find_verb(std::string_view name);

/// Options of every verb.
const std::vector<Option>& global_options();

}  // namespace lkm::cli

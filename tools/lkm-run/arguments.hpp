// SPDX-License-Identifier: GPL-2.0
//
// Arguments of a verb: options in any order among the operands, "--" ends the options.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm::cli {

struct Verb;

struct Option {
  std::string_view name;   ///< "follow", given as --follow
  char letter = 0;         ///< 'f', given as -f; 0 for none
  std::string_view value;  ///< how help names its value; empty for a flag
  std::string_view help;
  std::vector<std::string_view> choices{};  ///< what the value can be, when that is known
  bool hidden = false;                      ///< for the command's own use
};

class Arguments {
 public:
  [[nodiscard]] bool has(std::string_view option) const { return options_.contains(option); }
  /// The value of an option; the last one wins.
  [[nodiscard]] std::string value(std::string_view option, std::string fallback = "") const {
    const auto found = options_.find(option);
    return found == options_.end() ? std::move(fallback) : found->second;
  }
  [[nodiscard]] const std::vector<std::string>& operands() const { return operands_; }
  [[nodiscard]] const std::string& operand(std::size_t index) const { return operands_[index]; }

 private:
  friend Result<Arguments> parse_arguments(const Verb& verb, std::span<const std::string> words);
  std::map<std::string, std::string, std::less<>> options_;
  std::vector<std::string> operands_;
};

/// Errors (without a code): what the verb does not take, with the nearest that it does as hint.
/// The number of operands is not judged when help is asked for.
Result<Arguments> parse_arguments(const Verb& verb, std::span<const std::string> words);

}  // namespace lkm::cli

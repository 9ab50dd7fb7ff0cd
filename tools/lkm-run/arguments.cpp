// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/arguments.hpp"

#include <algorithm>

#include "tools/lkm-run/suggest.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Failure refuse(const Verb& verb, std::string text, std::string hint = "") {
  if (hint.empty()) hint = fmt::format("lkm-run {} -h", verb.name);
  return Failure(Error({}, std::move(text)).with_hint(std::move(hint)));
}

std::vector<const Option*> options_of(const Verb& verb) {
  std::vector<const Option*> options;
  for (const Option& option : verb.options) options.push_back(&option);
  for (const Option& option : global_options()) options.push_back(&option);
  return options;
}

Result<const Option*> find_long(const Verb& verb, std::string_view name) {
  std::vector<std::string_view> names;
  for (const Option* option : options_of(verb)) {
    if (option->name == name) return option;
    if (!option->hidden) names.push_back(option->name);
  }
  const auto near = nearest(name, names);
  return refuse(verb, fmt::format("'{}' has no option --{}", verb.name, name),
                near ? fmt::format("did you mean --{}?", *near) : "");
}

Result<const Option*> find_letter(const Verb& verb, char letter) {
  for (const Option* option : options_of(verb)) {
    if (option->letter == letter) return option;
  }
  return refuse(verb, fmt::format("'{}' has no option -{}", verb.name, letter));
}

Result<void> check_choice(const Verb& verb, const Option& option, const std::string& value) {
  if (option.choices.empty() || std::ranges::count(option.choices, value) > 0) return {};
  return refuse(verb, fmt::format("--{} cannot be '{}'", option.name, value),
                fmt::format("use one of {}", fmt::join(option.choices, ", ")));
}

}  // namespace

Result<Arguments> parse_arguments(const Verb& verb, std::span<const std::string> words) {
  Arguments arguments;
  bool options_end = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (options_end || word.size() < 2 || word[0] != '-') {
      arguments.operands_.push_back(word);
      options_end = options_end || verb.command;
      continue;
    }
    if (word == "--") {
      options_end = true;
      continue;
    }
    // One word may hold several letters ("-fn x"); a long option is one "letter".
    std::string_view rest = std::string_view(word).substr(1);
    while (!rest.empty()) {
      const Option* option = nullptr;
      std::optional<std::string> value;
      if (rest[0] == '-') {
        const std::size_t equals = rest.find('=');
        if (equals != std::string_view::npos) value = rest.substr(equals + 1);
        LKM_TRY(option, find_long(verb, rest.substr(1, std::min(equals, rest.size()) - 1)));
        rest = {};
        if (value && option->value.empty()) {
          return refuse(verb, fmt::format("--{} takes no value", option->name));
        }
      } else {
        LKM_TRY(option, find_letter(verb, rest[0]));
        rest.remove_prefix(1);
        if (!option->value.empty() && !rest.empty()) {
          value = rest;
          rest = {};
        }
      }
      if (!option->value.empty() && !value) {
        if (i + 1 == words.size()) {
          return refuse(verb, fmt::format("--{} needs a value ({})", option->name, option->value));
        }
        value = words[++i];
      }
      LKM_CHECK(check_choice(verb, *option, value.value_or("")));
      arguments.options_[std::string(option->name)] = value.value_or("");
    }
  }
  if (arguments.has("help") || arguments.has("usage")) return arguments;

  const auto& operands = arguments.operands_;
  if (operands.size() < verb.least) {
    return refuse(verb, fmt::format("'{}' needs {}", verb.name, verb.operands));
  }
  if (operands.size() > verb.most) {
    return refuse(verb, fmt::format("'{}' has no use for '{}'", verb.name, operands[verb.most]));
  }
  if (!verb.words.empty() && !operands.empty() && std::ranges::count(verb.words, operands[0]) == 0) {
    const auto near = nearest(operands[0], verb.words);
    return refuse(verb, fmt::format("'{}' does not know '{}'", verb.name, operands[0]),
                  near ? fmt::format("did you mean '{} {}'?", verb.name, *near)
                       : fmt::format("use one of {}", fmt::join(verb.words, ", ")));
  }
  return arguments;
}

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
//
// What the words of `lkm-run lab` name: the scenario, and its modules as plugins.
#pragma once

#include <charconv>
#include <filesystem>
#include <string>
#include <vector>

#include "toolkit/lab/scenario.hpp"
#include "tools/lkm-run/arguments.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

/// "a,b" as its parts.
std::vector<std::string> split_list(const std::string& list);

/// The value of an option as a number; `target` stays as it is without the option.
template <typename T>
Result<void> read_number(const Arguments& arguments, const char* option, T& target) {
  if (!arguments.has(option)) return {};
  const std::string text = arguments.value(option);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), target);
  if (error == std::errc() && end == text.data() + text.size()) return {};
  return Failure(Error({}, fmt::format("--{}: '{}' is no number", option, text)).with_hint("lkm-run lab -h"));
}

/// The same for a quantity.
template <typename T>
Result<void> read_quantity(const Arguments& arguments, const char* option, T& target,
                           Result<T> (*parse)(std::string_view)) {
  if (!arguments.has(option)) return {};
  auto value = parse(arguments.value(option));
  if (!value) return Failure(std::move(value).error().while_doing(fmt::format("--{}", option)));
  target = *value;
  return {};
}

/// Errors without a code: what is wrong with the words, or with the scenario's file.
Result<lab::Scenario> scenario_of(const Arguments& arguments);

/// What Stack::load() takes for a module as the user names it; a folder is built. Errors: as ModuleBuild::run().
Result<std::vector<std::string>> lab_plugins_of(const std::string& source, const std::filesystem::path& image,
                                                Terminal& terminal);

}  // namespace lkm::cli

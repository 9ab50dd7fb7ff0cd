// SPDX-License-Identifier: GPL-2.0
//
// TomlTable: a table of a TOML file, read key by key, with the place of each mistake ("lab.toml:12:8: …").
#pragma once

#include <toml++/toml.h>

#include <algorithm>
#include <concepts>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm {

/// `shown` names the text in complaints.
inline Result<toml::table> parse_toml(std::string_view text, const std::string& shown) {
  try {
    return toml::parse(text, shown);
  } catch (const toml::parse_error& error) {
    return Failure(Error({}, fmt::format("{}:{}:{}: {}", shown, error.source().begin.line, error.source().begin.column,
                                         error.description())));
  }
}

/// Text as TOML has it.
inline std::string toml_quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// One table, key by key, each by the type of its target; then nothing may be left.
class TomlTable {
 public:
  TomlTable(const toml::table& table, std::string shown, std::string what)
      : table_(table), shown_(std::move(shown)), what_(std::move(what)) {}

  [[nodiscard]] std::string where() const { return at(table_.source()); }

  template <typename... Args>
  Failure refuse(const toml::source_region& place, fmt::format_string<Args...> format, Args&&... args) const {
    return Failure(Error({}, fmt::format("{}: {}", at(place), fmt::format(format, std::forward<Args>(args)...))));
  }

  Result<const toml::node*> find(std::string_view key) {
    known_.emplace_back(key);
    return table_.get(key);
  }
  Result<void> get(std::string_view key, std::string& target) {
    LKM_TRY(const toml::node* node, find(key));
    if (node == nullptr) return {};
    if (!node->is_string()) return refuse(node->source(), "'{}' must be text, in quotes", key);
    target = **node->as_string();
    return {};
  }
  Result<void> get(std::string_view key, bool& target) {
    LKM_TRY(const toml::node* node, find(key));
    if (node == nullptr) return {};
    if (!node->is_boolean()) return refuse(node->source(), "'{}' must be true or false", key);
    target = **node->as_boolean();
    return {};
  }
  template <std::unsigned_integral T>
  Result<void> get(std::string_view key, T& target) {
    LKM_TRY(const toml::node* node, find(key));
    if (node == nullptr) return {};
    const auto* number = node->as_integer();
    if (number == nullptr || **number < 0 || std::uint64_t(**number) > std::numeric_limits<T>::max())
      return refuse(node->source(), "'{}' must be a whole number, not negative", key);
    target = T(**number);
    return {};
  }
  Result<void> get(std::string_view key, double& target) {
    LKM_TRY(const toml::node* node, find(key));
    if (node == nullptr) return {};
    const auto number = node->value<double>();
    if (!number || !node->is_number()) return refuse(node->source(), "'{}' must be a number", key);
    target = *number;
    return {};
  }
  /// A quantity with its unit.
  template <typename T>
  Result<void> get(std::string_view key, T& target, Result<T> (*parse)(std::string_view)) {
    LKM_TRY(const toml::node* node, find(key));
    if (node == nullptr) return {};
    if (!node->is_string()) return refuse(node->source(), "'{}' must be text with a unit, in quotes", key);
    auto value = parse(**node->as_string());
    if (!value) return Failure(located(node->source(), std::move(value).error()));
    target = *value;
    return {};
  }
  template <typename T>
  Result<void> choose(std::string_view key, T& target, const std::vector<std::pair<std::string_view, T>>& choices) {
    LKM_TRY(const toml::node* node, find(key));
    std::string word;
    LKM_CHECK(get(key, word));
    if (node == nullptr) return {};
    std::string all;
    for (const auto& [name, value] : choices) {
      if (name == word) target = value;
      if (name == word) return {};
      all += fmt::format("{}{}", all.empty() ? "" : ", ", name);
    }
    return refuse(node->source(), "'{}' is no {}: {}", word, key, all);
  }
  Result<void> require(std::string_view key) const {
    if (table_.contains(key)) return {};
    return refuse(table_.source(), "{} needs '{}'", what_, key);
  }
  Result<void> done() const {
    for (const auto& [key, value] : table_) {
      if (std::ranges::find(known_, key.str()) != known_.end()) continue;
      std::set<std::string> sorted(known_.begin(), known_.end());
      return Failure(Error({}, fmt::format("{}: {} has no key '{}'", at(key.source()), what_, key.str()))
                         .with_hint(fmt::format("its keys are {}", fmt::join(sorted, ", "))));
    }
    return {};
  }

 private:
  [[nodiscard]] std::string at(const toml::source_region& place) const {
    return fmt::format("{}:{}:{}", shown_, place.begin.line, place.begin.column);
  }
  [[nodiscard]] Error located(const toml::source_region& place, Error error) const {
    return Error({}, fmt::format("{}: {}", at(place), error.what())).with_hint(error.hint());
  }

  const toml::table& table_;
  std::string shown_;
  std::string what_;
  std::vector<std::string> known_;
};

}  // namespace lkm

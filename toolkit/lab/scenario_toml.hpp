// SPDX-License-Identifier: GPL-2.0
//
// Scenarios as TOML files (docs/lab.md has the schema):
//
//   duration = "30s"
//   [[link]]
//   a = "s[1-4]"            # four links
//   b = "left"
//   [[link]]
//   a = "left"
//   b = "right"
//   rate = "50mbit"
//   delay = "20ms"
//   limit = "1bdp"
//   [[flow]]
//   from = "s[1-4]"         # four flows
//   to = "right"
//   cc = "cubic"
//
// Every mistake is told with its place: "lab.toml:7:8: rate '50'".
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "toolkit/lab/scenario.hpp"

namespace lkm::lab {

/// `shown` names the text in complaints. Paths of modules are made absolute, from `folder`. Errors without a code: not
/// TOML; an unknown key; a value of the wrong type, or without its unit; what check() says.
Result<Scenario> parse_scenario(std::string_view text, const std::string& shown, const std::filesystem::path& folder);
Result<Scenario> read_scenario(const std::filesystem::path& file);

/// TOML from which parse_scenario() makes the same scenario again.
std::string to_toml(const Scenario& scenario);

}  // namespace lkm::lab

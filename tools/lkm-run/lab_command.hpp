// SPDX-License-Identifier: GPL-2.0
//
// A run of the lab in another process: the words of its command, and the measures out of its answer.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "toolkit/base/child.hpp"
#include "tools/lkm-run/arguments.hpp"

namespace lkm::cli {

/// Options of `lkm-run lab` by name, those of one run: not where results go, nor how many run at once.
using LabOptions = std::map<std::string, std::string>;
LabOptions lab_options(const Arguments& arguments);

/// The words behind `lkm-run lab`. An option with an empty value is left out, unless it is a flag.
std::vector<std::string> lab_words(const std::string& scenario, const LabOptions& options);

/// Starts `lkm-run lab WORDS --json`; its answer is to be read from out().
Result<Child> start_lab(const std::vector<std::string>& words);

/// By name, as lab::measures_of() has them; nullopt when the answer is none.
using Measures = std::vector<std::pair<std::string, double>>;
std::optional<Measures> measures_in(const std::string& answer);

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
//
// `lkm-run lab bisect`: the first commit, or the first of several builds, with which a measure of a scenario is beyond a
// bound.
#pragma once

#include <string>

#include "tools/lkm-run/arguments.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

/// "mycc.goodput_bit_s >= 20e6": what is to hold of a measure.
struct Bound {
  std::string measure;
  std::string relation;  ///< <, <=, > or >=
  double limit = 0;

  [[nodiscard]] bool holds(double value) const;
};
Result<Bound> parse_bound(const std::string& text);

/// The exit code. Commits are checked out into a folder of its own: the user's stays as it is.
Result<int> lab_bisect(const Arguments& arguments, Terminal& terminal);

}  // namespace lkm::cli

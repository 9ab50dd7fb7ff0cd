// SPDX-License-Identifier: GPL-2.0
//
// What this machine must have for lkm-run to work.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lkm::cli {

struct Check {
  enum class State {
    kGood,
    kNote,     ///< works, but something is worth to be known
    kMissing,  ///< something needed is not there
  };
  std::string name;
  State state = State::kGood;
  std::string what;  ///< what was found
  std::string hint;  ///< the next command to type; empty when good
};

std::vector<Check> check_machine();

nlohmann::json to_json(const Check& check);

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
//
// Measures: the numbers of a summary by name, and what several runs say of one.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace lkm::lab {

/// Of to_json(Summary): "cubic.goodput_bit_s", "left-right.delay_ms.p95", "fairness". What a run has not is not there.
std::vector<std::pair<std::string, double>> measures_of(const nlohmann::json& summary);

/// A mean, and where the true one is with 95 % confidence: mean ± margin, by Student's t.
struct Estimate {
  std::size_t runs = 0;
  double mean = 0;
  double deviation = 0;  ///< of the sample
  double margin = 0;     ///< infinite for a single run
};
Estimate estimate(const std::vector<double>& values);

}  // namespace lkm::lab

// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/measures.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace lkm::lab {
namespace {

void add(std::vector<std::pair<std::string, double>>& all, const std::string& name, const nlohmann::json& value) {
  if (value.is_number()) all.emplace_back(name, value.get<double>());
  if (!value.is_object()) return;
  for (const auto& [key, inner] : value.items()) add(all, name + "." + key, inner);
}

/// The 97.5 % point of Student's distribution. Beyond the table by the first terms of its expansion about the normal's
/// (Abramowitz and Stegun, 26.7.5).
double student(std::size_t freedom) {
  static constexpr std::array kTable = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228};
  if (freedom == 0) return std::numeric_limits<double>::infinity();
  if (freedom <= kTable.size()) return kTable[freedom - 1];
  const double z = 1.959964, n = double(freedom);
  return z + (z * z * z + z) / (4 * n) + (5 * std::pow(z, 5) + 16 * z * z * z + 3 * z) / (96 * n * n);
}

}  // namespace

std::vector<std::pair<std::string, double>> measures_of(const nlohmann::json& summary) {
  std::vector<std::pair<std::string, double>> all;
  for (const auto& [list, name] : {std::pair{"flows", "flow"}, std::pair{"queues", "queue"}}) {
    for (const auto& one : summary.at(list)) add(all, one.at(name), one);
  }
  for (const auto& [key, value] : summary.items()) {
    if (value.is_number()) add(all, key, value);
  }
  return all;
}

Estimate estimate(const std::vector<double>& values) {
  Estimate out{.runs = values.size()};
  if (values.empty()) return out;
  const double n = double(values.size());
  out.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - out.mean) * (value - out.mean);
  if (values.size() > 1) out.deviation = std::sqrt(squares / (n - 1));
  out.margin = values.size() > 1 ? student(values.size() - 1) * out.deviation / std::sqrt(n)
                                 : std::numeric_limits<double>::infinity();
  return out;
}

}  // namespace lkm::lab

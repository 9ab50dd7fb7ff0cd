// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/boot_chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lkm::cli {
namespace {

double end_ms(const nlohmann::json& stage) {
  return static_cast<double>(stage.value("end_ns", std::int64_t{0})) / 1e6;
}

}  // namespace

std::chrono::nanoseconds boot_time(const nlohmann::json& stages) {
  return std::chrono::nanoseconds(stages.empty() ? 0 : stages.back().value("end_ns", std::int64_t{0}));
}

std::string boot_chart(const nlohmann::json& stages) {
  constexpr double kWidth = 40;
  if (stages.empty()) return "no boot stages";
  const double total = std::max(end_ms(stages.back()), 1e-6);
  std::string out;
  double start = 0;
  for (const auto& stage : stages) {
    const double end = end_ms(stage);
    const auto left = static_cast<std::size_t>(std::floor(start / total * kWidth));
    const auto right = static_cast<std::size_t>(std::ceil(end / total * kWidth));
    std::string bar(left, ' ');
    for (std::size_t i = left; i < std::max(right, left + 1); ++i) bar += "█";
    out += fmt::format("{}{:<20} {:8.3f} ms  {}", out.empty() ? "" : "\n",
                       stage.value("name", std::string("?")), end - start, bar);
    start = end;
  }
  return out + fmt::format("\n{:<20} {:8.3f} ms", "total", total);
}

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/swap_report.hpp"

#include "toolkit/net/units.hpp"

namespace lkm::cli {

std::string swap_summary(const nlohmann::json& report) {
  const unsigned sockets = report.value("sockets", 0u);
  return fmt::format("blackout {}, {} socket{} moved ({} connected)",
                     format_duration(std::chrono::nanoseconds(report.value("blackout_ns", std::int64_t{0}))),
                     sockets, sockets == 1 ? "" : "s", report.value("established", 0u));
}

}  // namespace lkm::cli

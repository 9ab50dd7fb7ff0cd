// SPDX-License-Identifier: GPL-2.0
//
// The report of a run: one HTML file that needs no network.
#pragma once

#include <string>

#include "toolkit/lab/run.hpp"
#include "toolkit/lab/summary.hpp"

namespace lkm::lab {

/// `command` is shown as the way to run it again.
std::string html_report(const RunResult& run, const Scenario& scenario, const Summary& summary,
                        const std::string& command);

}  // namespace lkm::lab

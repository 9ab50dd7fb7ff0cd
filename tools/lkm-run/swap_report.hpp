// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "toolkit/build/module_build.hpp"

namespace lkm::cli {

/// "blackout 85us, in place, all state kept" from the answer of the method swap.
std::string swap_summary(const nlohmann::json& report);
/// What else is to be said of it: why not in place, what did not run.
std::vector<std::string> swap_remarks(const nlohmann::json& report);

/// The steps of a build and of the load or swap after it, in their order, with what each took.
using TimeLine = std::vector<std::pair<std::string, std::chrono::nanoseconds>>;
TimeLine time_line(const std::vector<BuildStep>& build, const nlohmann::json& report);
/// "copy 1ms, compile 120ms, …"
std::string to_text(const TimeLine& line);
/// {"copy_ns":1000000,…}
nlohmann::json to_json(const TimeLine& line);

/// "built by the fast path", or "built by Kbuild: mycc.h changed".
std::string way_of(const BuildResult& built);

}  // namespace lkm::cli

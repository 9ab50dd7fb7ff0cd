// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace lkm::cli {

/// "blackout 85us, 3 sockets moved (2 connected)" from the answer of the method swap.
std::string swap_summary(const nlohmann::json& report);

}  // namespace lkm::cli

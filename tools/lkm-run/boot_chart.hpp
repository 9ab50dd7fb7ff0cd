// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

namespace lkm::cli {

/// From the array "boot_chart" of the method about: how long boot took.
std::chrono::nanoseconds boot_time(const nlohmann::json& stages);

/// A bar for each stage, where it lies in the boot, without a newline at the end.
std::string boot_chart(const nlohmann::json& stages);

}  // namespace lkm::cli

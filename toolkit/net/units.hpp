// SPDX-License-Identifier: GPL-2.0
//
// Quantities as a person types them: a number and a unit, both mandatory. "10" is refused, since
// nobody can tell whether it meant bits, bytes, seconds or milliseconds; "0" alone is clear.
//
//   LKM_TRY(auto delay, parse_duration("2.5ms"));   // std::chrono::nanoseconds{2'500'000}
//   LKM_TRY(auto rate, parse_rate("100mbit"));      // 100'000'000 bit/s
//
// Errors: EINVAL, naming the text, with the units that are understood as hint; ERANGE when the
// value does not fit. Units are case-insensitive but for sizes, where kB and KiB differ.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "toolkit/base/result.hpp"

namespace lkm {

/// "250ns", "50us", "10ms", "1.5s", "2min", "1h".
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

/// Bits per second, powers of 1000 as in tc(8): "800bit", "64kbit", "100mbit", "2.5gbit".
Result<std::uint64_t> parse_rate(std::string_view text);

/// A share from 0 to 1: "0.1%" is 0.001.
Result<double> parse_fraction(std::string_view text);

/// Bytes: "1500B", "64kB" (1000), "64KiB" (1024), "10MB", "10MiB", "1GB", "1GiB".
Result<std::uint64_t> parse_size(std::string_view text);

/// The shortest exact-looking form for people: "2.5ms", "98.3mbit", "0.1%", "64KiB".
std::string format_duration(std::chrono::nanoseconds duration);
std::string format_rate(double bits_per_second);
std::string format_fraction(double fraction);
std::string format_size(std::uint64_t bytes);

}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/units.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>

namespace lkm {
namespace {

struct Unit {
  std::string_view name;
  double factor;  // in the quantity's own unit
};

constexpr Unit kDurations[] = {{"ns", 1},  {"us", 1e3},   {"ms", 1e6},
                               {"s", 1e9}, {"min", 60e9}, {"h", 3600e9}};
constexpr Unit kRates[] = {{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}};
constexpr Unit kFractions[] = {{"%", 0.01}};
constexpr Unit kSizes[] = {{"B", 1},        {"kB", 1e3}, {"KiB", 0x1p10}, {"MB", 1e6},
                           {"MiB", 0x1p20}, {"GB", 1e9}, {"GiB", 0x1p30}};

bool equal(std::string_view a, std::string_view b, bool ignore_case) {
  const auto lower = [&](char c) { return ignore_case && c >= 'A' && c <= 'Z' ? char(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

Result<double> parse(std::string_view text, std::string_view quantity, std::span<const Unit> units,
                     double limit, bool ignore_case = true) {
  const auto refuse = [&]() {
    std::string names;
    for (const Unit& unit : units)
      names += fmt::format("{}{}", names.empty() ? "" : ", ", unit.name);
    return fail_hint(EINVAL, fmt::format("give a number and one of the units {}", names), "{} '{}'",
                     quantity, text);
  };
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc{} || !std::isfinite(number) || std::signbit(number)) return refuse();
  const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  if (suffix.empty() && number == 0) return 0.0;
  for (const Unit& unit : units) {
    if (!equal(suffix, unit.name, ignore_case)) continue;
    const double value = number * unit.factor;
    if (value > limit) return fail(ERANGE, "{} '{}'", quantity, text);
    return value;
  }
  return refuse();
}

// Writes `value` in the largest unit that leaves a number of at least one.
std::string format(double value, std::span<const Unit> units) {
  const Unit* best = &units.front();
  for (const Unit& unit : units)
    if (value >= unit.factor) best = &unit;
  return fmt::format("{:.4g}{}", value / best->factor, best->name);
}

constexpr double kMaxInteger = 0x1p62;  // far above any sensible value, exact as a double

}  // namespace

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  LKM_TRY(const double ns, parse(text, "duration", kDurations, kMaxInteger));
  return std::chrono::nanoseconds(std::llround(ns));
}

Result<std::uint64_t> parse_rate(std::string_view text) {
  LKM_TRY(const double bits, parse(text, "rate", kRates, kMaxInteger));
  return static_cast<std::uint64_t>(std::llround(bits));
}

Result<double> parse_fraction(std::string_view text) {
  return parse(text, "fraction", kFractions, 1.0);
}

Result<std::uint64_t> parse_size(std::string_view text) {
  LKM_TRY(const double bytes, parse(text, "size", kSizes, kMaxInteger, false));
  return static_cast<std::uint64_t>(std::llround(bytes));
}

std::string format_duration(std::chrono::nanoseconds duration) {
  const double ns = static_cast<double>(duration.count());
  // Seconds stay seconds up to two minutes: "90s" reads better than "1.5min".
  return format(ns, ns < 120e9 ? std::span<const Unit>(kDurations, 4) : std::span(kDurations));
}

std::string format_rate(double bits_per_second) { return format(bits_per_second, kRates); }

std::string format_fraction(double fraction) { return fmt::format("{:.4g}%", fraction * 100); }

std::string format_size(std::uint64_t bytes) {
  static constexpr Unit kBinary[] = {{"B", 1}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}};
  return format(static_cast<double>(bytes), kBinary);
}

}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
#include "toolkit/base/log.hpp"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>

namespace lkm::log {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"off", "error", "warning", "info", "debug"};

struct Setting {
  Level other = Level::kWarning;
  std::map<std::string, Level, std::less<>> modules;
};

Setting& setting() {
  static Setting the_setting;
  return the_setting;
}

std::optional<Level> level_of(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Level>(i);
  }
  return std::nullopt;
}

}  // namespace

Result<void> configure(std::string_view spec) {
  Setting next;
  while (!spec.empty()) {
    const std::string_view item = spec.substr(0, spec.find(','));
    spec.remove_prefix(std::min(spec.size(), item.size() + 1));
    const std::size_t equals = item.find('=');
    const bool bare = equals == std::string_view::npos;
    const auto level = level_of(bare ? item : item.substr(equals + 1));
    if (!level) {
      return fail_hint(EINVAL, fmt::format("levels are: {}", fmt::join(kNames, ", ")),
                       "log setting '{}'", item);
    }
    if (bare) {
      next.other = *level;
    } else {
      next.modules.insert_or_assign(std::string(item.substr(0, equals)), *level);
    }
  }
  setting() = std::move(next);
  return {};
}

Result<void> configure_from_environment() {
  const char* spec = std::getenv("LKM_RUN_LOG");
  return spec != nullptr ? configure(spec) : Result<void>();
}

bool enabled(std::string_view module, Level level) {
  const auto it = setting().modules.find(module);
  return level <= (it != setting().modules.end() ? it->second : setting().other);
}

void write(std::string_view module, Level level, std::string_view text) {
  const int saved = errno;
  struct timespec now {};
  struct tm local {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  ::localtime_r(&now.tv_sec, &local);
  const std::string line =
      fmt::format("{:02}:{:02}:{:02}.{:03} {} {}: {}\n", local.tm_hour, local.tm_min, local.tm_sec,
                  now.tv_nsec / 1'000'000, module, kNames[static_cast<std::size_t>(level)], text);
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
  errno = saved;
}

}  // namespace lkm::log

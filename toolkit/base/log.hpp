// SPDX-License-Identifier: GPL-2.0
//
// A small log on stderr, by module and level, for developers; what users read is printed by the
// command line itself. Libraries log at debug only.
//
//   log::debug("watch", "{} events, {} kept", seen, kept);
//
// What is shown is set by a spec: "debug", or "warning,watch=debug,build=info" where a bare level
// is that of all other modules. It comes from $LKM_RUN_LOG or an option of the command line.
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "toolkit/base/result.hpp"

namespace lkm::log {

enum class Level { kOff, kError, kWarning, kInfo, kDebug };

/// Applies a spec; the default is "warning". To be called before threads are started. Errors:
/// EINVAL for a word that is no level, with a hint that lists them; the old setting stays then.
Result<void> configure(std::string_view spec);
/// Applies $LKM_RUN_LOG, if it is set.
Result<void> configure_from_environment();

[[nodiscard]] bool enabled(std::string_view module, Level level);
/// Writes one line with a single write(2): "12:34:56.789 watch debug: text".
void write(std::string_view module, Level level, std::string_view text);

template <typename... Args>
void print(std::string_view module, Level level, fmt::format_string<Args...> format,
           Args&&... args) {
  if (enabled(module, level)) {
    write(module, level, fmt::format(format, std::forward<Args>(args)...));
  }
}

template <typename... Args>
void error(std::string_view module, fmt::format_string<Args...> format, Args&&... args) {
  print(module, Level::kError, format, std::forward<Args>(args)...);
}
template <typename... Args>
void warning(std::string_view module, fmt::format_string<Args...> format, Args&&... args) {
  print(module, Level::kWarning, format, std::forward<Args>(args)...);
}
template <typename... Args>
void info(std::string_view module, fmt::format_string<Args...> format, Args&&... args) {
  print(module, Level::kInfo, format, std::forward<Args>(args)...);
}
template <typename... Args>
void debug(std::string_view module, fmt::format_string<Args...> format, Args&&... args) {
  print(module, Level::kDebug, format, std::forward<Args>(args)...);
}

}  // namespace lkm::log

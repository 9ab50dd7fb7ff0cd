// SPDX-License-Identifier: GPL-2.0
//
// Result<T>: a value, or an Error that says what failed, on what, and why.
//
//   Result<UniqueFd> open_config(const std::string& path) {
//     const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
//     if (fd < 0) return fail(errno, "open '{}'", path);
//     return UniqueFd(fd);
//   }
//
//   Result<Config> load(const std::string& path) {
//     LKM_TRY(auto fd, open_config(path));   // returns the error upwards, or declares fd
//     LKM_CHECK(lock(fd.get()));             // same, for Result<void>
//     ...
//   }
//
// An Error may carry a hint: the next command to type. Only the command line prints errors.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <system_error>
#include <tl/expected.hpp>
#include <utility>

namespace lkm {

class Error {
 public:
  Error(std::error_code code, std::string what) : code_(code), what_(std::move(what)) {}

  [[nodiscard]] std::error_code code() const { return code_; }
  /// errno value, when the code is one.
  [[nodiscard]] int errno_value() const { return code_.value(); }
  /// What was tried, on which object: "open '/dev/net/tun'".
  [[nodiscard]] const std::string& what() const { return what_; }
  [[nodiscard]] const std::string& hint() const { return hint_; }
  /// "open '/dev/net/tun': Permission denied". Of several lines (kernel log below what failed) the first gets the
  /// errno's text.
  [[nodiscard]] std::string message() const {
    if (!code_) return what_;
    const auto first = std::min(what_.find('\n'), what_.size());
    return fmt::format("{}: {}{}", what_.substr(0, first), code_.message(), what_.substr(first));
  }

  /// Adds the next command to type.
  Error&& with_hint(std::string hint) && {
    hint_ = std::move(hint);
    return std::move(*this);
  }
  /// Puts what the caller was doing in front.
  Error&& while_doing(std::string_view doing) && {
    what_ = fmt::format("{}: {}", doing, what_);
    return std::move(*this);
  }

 private:
  std::error_code code_;
  std::string what_;
  std::string hint_;
};

template <typename T>
using Result = tl::expected<T, Error>;

using Failure = tl::unexpected<Error>;

/// An Error from an errno value. The text names the object; the errno's own text is added to it.
template <typename... Args>
[[nodiscard]] Failure fail(int errno_value, fmt::format_string<Args...> format, Args&&... args) {
  return Failure(Error(std::error_code(errno_value, std::generic_category()),
                       fmt::format(format, std::forward<Args>(args)...)));
}

/// The same with a hint: the next thing to type.
template <typename... Args>
[[nodiscard]] Failure fail_hint(int errno_value, std::string hint,
                                fmt::format_string<Args...> format, Args&&... args) {
  return Failure(Error(std::error_code(errno_value, std::generic_category()),
                       fmt::format(format, std::forward<Args>(args)...))
                     .with_hint(std::move(hint)));
}

}  // namespace lkm

#define LKM_CONCAT_(a, b) a##b
#define LKM_CONCAT(a, b) LKM_CONCAT_(a, b)
#define LKM_TRY_(tmp, decl, expr)                          \
  auto tmp = (expr);                                       \
  if (!tmp) return ::lkm::Failure(std::move(tmp).error()); \
  decl = std::move(*tmp)

/// LKM_TRY(auto x, f()): declares x from the value of f(), or returns f()'s error.
#define LKM_TRY(decl, expr) LKM_TRY_(LKM_CONCAT(lkm_try_, __COUNTER__), decl, expr)

/// LKM_CHECK(f()): returns f()'s error, if it has one.
#define LKM_CHECK(expr)                                                                           \
  do {                                                                                            \
    if (auto lkm_check = (expr); !lkm_check) return ::lkm::Failure(std::move(lkm_check).error()); \
  } while (0)

// SPDX-License-Identifier: GPL-2.0
//
// Links as JSON, for the control protocol and for reports. A rate, duration or fraction that comes
// in is text with its unit ("100mbit", "10ms", "0.1%"); what goes out is a number whose key names
// the unit.
#pragma once

#include <nlohmann/json.hpp>

#include "toolkit/base/result.hpp"
#include "toolkit/net/links.hpp"

namespace lkm {

/// {"a":"client","b":"server","rate":"100mbit","delay":"10ms","jitter":"1ms","loss":"0.1%",
/// "queue":100,"mtu":1500}; "a" and "b" are required. EINVAL names a member that is unknown, of the
/// wrong type or without its unit.
Result<LinkSpec> link_spec_from_json(const nlohmann::json& object);

nlohmann::json to_json(const Link& link);

/// One member after the other, each by the type of its target; then nothing may be left.
///
///   JsonReader reader(object, "link");
///   LKM_CHECK(reader.get("a", spec.a));
///   LKM_CHECK(reader.get("delay", spec.delay, parse_duration));
///   LKM_CHECK(reader.done());
class JsonReader {
 public:
  JsonReader(const nlohmann::json& object, std::string what)
      : object_(object), what_(std::move(what)) {}

  /// An absent member leaves the target as it is.
  Result<void> get(const char* name, std::string& target);
  Result<void> get(const char* name, std::uint64_t& target, std::uint64_t largest = UINT64_MAX);
  /// A quantity with its unit.
  template <typename T>
  Result<void> get(const char* name, T& target, Result<T> (*parse)(std::string_view)) {
    std::string text;
    LKM_CHECK(get(name, text));
    if (!has(name)) return {};
    LKM_TRY(target, parse(text));
    return {};
  }
  /// EINVAL when it is absent.
  Result<void> require(const char* name);
  /// EINVAL when there is a member that was not asked for.
  Result<void> done();

 private:
  [[nodiscard]] bool has(const char* name) const {
    return object_.is_object() && object_.contains(name);
  }
  const nlohmann::json& object_;
  std::string what_;
  std::vector<std::string> known_;
};

}  // namespace lkm

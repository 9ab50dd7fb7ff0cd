// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/json.hpp"

#include <algorithm>

#include "toolkit/net/units.hpp"

namespace lkm {

Result<void> JsonReader::get(const char* name, std::string& target) {
  known_.emplace_back(name);
  if (!has(name)) return {};
  if (!object_[name].is_string()) return fail(EINVAL, "{}: '{}' must be text", what_, name);
  target = object_[name].get<std::string>();
  return {};
}

Result<void> JsonReader::get(const char* name, std::uint64_t& target, std::uint64_t largest) {
  known_.emplace_back(name);
  if (!has(name)) return {};
  const nlohmann::json& value = object_[name];
  const bool whole =
      value.is_number_unsigned() || (value.is_number_integer() && value.get<std::int64_t>() >= 0);
  if (!whole || value.get<std::uint64_t>() > largest)
    return fail(EINVAL, "{}: '{}' must be a whole number from 0 to {}", what_, name, largest);
  target = value.get<std::uint64_t>();
  return {};
}

Result<void> JsonReader::require(const char* name) {
  if (has(name)) return {};
  return fail(EINVAL, "{}: '{}' is missing", what_, name);
}

Result<void> JsonReader::done() {
  if (!object_.is_object()) return fail(EINVAL, "{} must be a JSON object", what_);
  for (const auto& [name, value] : object_.items())
    if (std::ranges::count(known_, name) == 0)
      return fail(EINVAL, "{} has no '{}'; it has {}", what_, name, fmt::join(known_, ", "));
  return {};
}

Result<LinkSpec> link_spec_from_json(const nlohmann::json& object) {
  LinkSpec spec;
  std::uint64_t queue = spec.queue;
  std::uint64_t mtu = spec.mtu;
  JsonReader reader(object, "link");
  LKM_CHECK(reader.require("a"));
  LKM_CHECK(reader.require("b"));
  LKM_CHECK(reader.get("a", spec.a));
  LKM_CHECK(reader.get("b", spec.b));
  LKM_CHECK(reader.get("rate", spec.rate, parse_rate));
  LKM_CHECK(reader.get("delay", spec.delay, parse_duration));
  LKM_CHECK(reader.get("jitter", spec.jitter, parse_duration));
  LKM_CHECK(reader.get("loss", spec.loss, parse_fraction));
  LKM_CHECK(reader.get("queue", queue, UINT32_MAX));
  LKM_CHECK(reader.get("mtu", mtu, UINT16_MAX));
  LKM_CHECK(reader.done());
  spec.queue = static_cast<std::uint32_t>(queue);
  spec.mtu = static_cast<unsigned>(mtu);
  return spec;
}

nlohmann::json to_json(const Link& link) {
  const LinkSpec& spec = link.spec;
  const auto end = [&](const std::string& netns, const IpPrefix& v4, const IpPrefix& v6) {
    return nlohmann::json{{"netns", netns}, {"v4", v4.str()}, {"v6", v6.str()}};
  };
  return {{"id", link.id},
          {"device", link.device},
          {"a", end(spec.a, link.a_v4, link.a_v6)},
          {"b", end(spec.b, link.b_v4, link.b_v6)},
          {"rate_bit_s", spec.rate},
          {"delay_ns", spec.delay.count()},
          {"jitter_ns", spec.jitter.count()},
          {"loss", spec.loss},
          {"queue_packets", link.queue},
          {"mtu", spec.mtu}};
}

}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
#include "toolkit/flow/json.hpp"

#include <array>
#include <utility>

#include "toolkit/net/json.hpp"
#include "toolkit/net/units.hpp"

namespace lkm {
namespace {

template <typename T, std::size_t N>
using Words = std::array<std::pair<std::string_view, T>, N>;

constexpr Words<FlowKind, 2> kKinds{{{"bulk", FlowKind::kBulk}, {"requests", FlowKind::kRequests}}};
constexpr Words<Transport, 4> kTransports{{{"tcp", Transport::kTcp},
                                           {"mptcp", Transport::kMptcp},
                                           {"sctp", Transport::kSctp},
                                           {"telex", Transport::kTelex}}};
constexpr Words<IpFamily, 2> kFamilies{{{"v4", IpFamily::kV4}, {"v6", IpFamily::kV6}}};
constexpr Words<FlowState, 3> kStates{
    {{"running", FlowState::kRunning}, {"done", FlowState::kDone}, {"failed", FlowState::kFailed}}};

template <typename T, std::size_t N>
std::string_view word(const Words<T, N>& words, T value) {
  for (const auto& [name, meaning] : words)
    if (meaning == value) return name;
  return "?";
}

template <typename T, std::size_t N>
Result<void> get(JsonReader& reader, const char* name, const Words<T, N>& words, T& target) {
  std::string text(word(words, target));
  LKM_CHECK(reader.get(name, text));
  std::string choices;
  for (const auto& [known, meaning] : words) {
    if (text == known) {
      target = meaning;
      return {};
    }
    choices += fmt::format("{}{}", choices.empty() ? "" : ", ", known);
  }
  return fail(EINVAL, "flow: '{}' is '{}', it can be {}", name, text, choices);
}

nlohmann::json to_json(const TcpState& tcp) {
  return {{"state", tcp.state},
          {"cwnd", tcp.cwnd},
          {"ssthresh", tcp.ssthresh},
          {"mss", tcp.mss},
          {"rtt_us", tcp.rtt.count()},
          {"rtt_variation_us", tcp.rtt_variation.count()},
          {"min_rtt_us", tcp.min_rtt.count()},
          {"retransmits", tcp.retransmits},
          {"pacing_rate_bit_s", tcp.pacing_rate},
          {"delivery_rate_bit_s", tcp.delivery_rate}};
}

}  // namespace

Result<FlowSpec> flow_spec_from_json(const nlohmann::json& object) {
  FlowSpec spec;
  Route& route = spec.route;
  std::string address;
  std::uint64_t port = 0;
  JsonReader reader(object, "flow");
  LKM_CHECK(get(reader, "kind", kKinds, spec.kind));
  LKM_CHECK(reader.get("client", route.client));
  LKM_CHECK(reader.get("server", route.server));
  LKM_CHECK(get(reader, "transport", kTransports, route.transport));
  LKM_CHECK(get(reader, "family", kFamilies, route.family));
  LKM_CHECK(reader.get("address", address));
  LKM_CHECK(reader.get("port", port, UINT16_MAX));
  LKM_CHECK(reader.get("control", route.control));
  LKM_CHECK(reader.get("bytes", spec.bytes, parse_size));
  LKM_CHECK(reader.get("requests", spec.requests));
  LKM_CHECK(reader.get("duration", spec.duration, parse_duration));
  LKM_CHECK(reader.get("request_bytes", spec.request_bytes, parse_size));
  LKM_CHECK(reader.get("response_bytes", spec.response_bytes, parse_size));
  LKM_CHECK(reader.get("interval", spec.interval, parse_duration));
  LKM_CHECK(reader.get("seed", spec.seed));
  LKM_CHECK(reader.done());
  route.port = static_cast<std::uint16_t>(port);
  if (!address.empty()) {
    LKM_TRY(route.address, IpPrefix::parse(address));
    route.family = route.address->family;
  }
  return spec;
}

nlohmann::json to_json(const FlowReport& report) {
  const Route& route = report.spec.route;
  nlohmann::json out = {{"id", report.id},
                        {"kind", word(kKinds, report.spec.kind)},
                        {"state", word(kStates, report.state)},
                        {"error", report.error},
                        {"client", route.client},
                        {"server", route.server},
                        {"server_address", report.server},
                        {"client_pid", report.client_pid},
                        {"server_pid", report.server_pid},
                        {"transport", word(kTransports, route.transport)},
                        {"client_control", report.client_control},
                        {"server_control", report.server_control},
                        {"bytes_sent", report.bytes_sent},
                        {"bytes_received", report.bytes_received},
                        {"bytes_verified", report.bytes_verified},
                        {"checksum_sent", fmt::format("{:016x}", report.checksum_sent)},
                        {"checksum_received", fmt::format("{:016x}", report.checksum_received)},
                        {"requests", report.requests},
                        {"elapsed_ns", report.elapsed.count()},
                        {"rate_bit_s", report.rate},
                        {"gaps",
                         {{"count", report.gaps.count},
                          {"p50_ns", report.gaps.p50.count()},
                          {"p99_ns", report.gaps.p99.count()},
                          {"max_ns", report.gaps.max.count()},
                          {"max_at_ns", report.gaps.max_at.count()}}}};
  if (report.mismatch_at) out["mismatch_at"] = *report.mismatch_at;
  if (report.tcp) out["tcp"] = to_json(*report.tcp);
  return out;
}

}  // namespace lkm

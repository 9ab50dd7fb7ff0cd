// SPDX-License-Identifier: GPL-2.0
//
// Any text as a quantity, an address, or the JSON of a link or a flow: taken or refused. What was
// taken keeps its promises, and an address can be written and read again.
#include <cstdint>
#include <string_view>

#include "toolkit/base/assert.hpp"
#include "toolkit/flow/json.hpp"
#include "toolkit/net/json.hpp"
#include "toolkit/net/units.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lkm;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto duration = parse_duration(text)) LKM_ASSERT(duration->count() >= 0);
  if (const auto fraction = parse_fraction(text)) LKM_ASSERT(*fraction >= 0 && *fraction <= 1);
  (void)parse_rate(text);
  (void)parse_size(text);
  if (const auto address = IpPrefix::parse(text)) {
    LKM_ASSERT(IpPrefix::parse(address->str()) == *address);
    LKM_ASSERT(address->contains(*address));
  }
  const auto object = nlohmann::json::parse(text, nullptr, false);
  if (object.is_discarded()) return 0;
  if (const auto link = link_spec_from_json(object))
    LKM_ASSERT(link->rate == 0 || queue_of(*link) > 0);
  (void)flow_spec_from_json(object);
  return 0;
}

// SPDX-License-Identifier: GPL-2.0
//
// Any bytes on the control socket, either way: a line is taken or refused, and what was taken can be
// written and read again.
#include <cstdint>
#include <string_view>

#include "toolkit/base/assert.hpp"
#include "toolkit/control/kernel_log.hpp"
#include "toolkit/control/protocol.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lkm::control;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  LineReader lines;
  lines.feed(bytes);
  for (;;) {
    const auto line = lines.next();
    if (!line || !*line) break;
    if (const auto request = parse_request(**line)) {
      std::string again = encode_request(*request);
      LKM_ASSERT(again.back() == '\n' && again.find('\n') == again.size() - 1);
      again.pop_back();
      LKM_ASSERT(parse_request(again).has_value());
      (void)string_param(request->params, "what");
      (void)integer_param(request->params, "count", 0);
    }
    if (const auto reply = parse_reply(**line); reply && reply->error) {
      LKM_ASSERT(parse_reply(encode_error(reply->id, *reply->error)).has_value());
    }
  }
  (void)parse_log_record(bytes);
  return 0;
}

// SPDX-License-Identifier: GPL-2.0
//
// What the kernel's ring buffer gives out by trace_pipe_raw of tracefs: pages of events, each with its time
// (kernel/trace/ring_buffer.c, struct buffer_data_page and enum ring_buffer_type of include/linux/ring_buffer.h).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "toolkit/base/result.hpp"

namespace lkm::lab {

/// Calls `each` with the time and the bytes of every event of a page. False when the page is none: what came before the
/// mistake has been told.
bool for_each_event(std::span<const std::byte> page,
                    const std::function<void(std::uint64_t at_ns, std::span<const std::byte> event)>& each);

/// Whether the kernel had no room for some between this page and the one before.
bool events_missed(std::span<const std::byte> page);

/// Where a field is in an event, out of the text of events/SYSTEM/EVENT/format.
struct EventField {
  std::size_t offset = 0, size = 0;

  /// ENOENT when the event has no such field, or one that is larger than a word.
  static Result<EventField> of(std::string_view format, std::string_view name);
  /// Unsigned; 0 when the event ends before it.
  [[nodiscard]] std::uint64_t in(std::span<const std::byte> event) const;
};

/// "ID: 1234" of the same text: the first two bytes of each such event.
Result<std::uint16_t> event_id(std::string_view format);

}  // namespace lkm::lab

// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/trace_buffer.hpp"

#include <charconv>
#include <cstring>

namespace lkm::lab {
namespace {

constexpr std::size_t kPageHeader = 16;             // its time, and how much of it is used
constexpr std::uint64_t kUsed = (1U << 30) - 1;     // of the second word
constexpr std::uint64_t kMissed = 1U << 31;         // likewise
constexpr unsigned kDeltaBits = 27;                 // of an event's first word, above five of its type
constexpr unsigned kLargestWords = 28;              // types up to this one are a length in words
enum Type : unsigned { kLengthFollows = 0, kPadding = 29, kTimeExtend = 30, kTimeStamp = 31 };

template <typename T>
T value_at(std::span<const std::byte> bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

/// The number behind `key` at or after `from`.
template <typename T>
bool number_after(std::string_view text, std::string_view key, std::size_t from, T& value) {
  const auto at = text.find(key, from);
  if (at == std::string_view::npos) return false;
  const char* begin = text.data() + at + key.size();
  return std::from_chars(begin, text.data() + text.size(), value).ec == std::errc();
}

}  // namespace

bool for_each_event(std::span<const std::byte> page,
                    const std::function<void(std::uint64_t, std::span<const std::byte>)>& each) {
  if (page.size() < kPageHeader) return false;
  auto now = value_at<std::uint64_t>(page, 0);
  const auto used = value_at<std::uint64_t>(page, 8) & kUsed;
  if (used > page.size() - kPageHeader) return false;
  const auto data = page.subspan(kPageHeader, used);
  for (std::size_t at = 0; at + 4 <= data.size();) {
    const auto head = value_at<std::uint32_t>(data, at);
    const unsigned type = head & 31;
    const std::uint64_t delta = head >> 5;
    std::size_t from = at + 4, size = std::size_t(type) * 4;
    if (type == kPadding && delta == 0) return true;  // the rest of the page
    if (type == kLengthFollows || type > kLargestWords) {
      if (data.size() - from < 4) return false;
      const auto word = value_at<std::uint32_t>(data, from);
      if (type == kTimeExtend) now += (std::uint64_t(word) << kDeltaBits) + delta;
      // An absolute time has no room for its five highest bits; no clock of a stack comes that far.
      if (type == kTimeStamp) now = (std::uint64_t(word) << kDeltaBits) + delta;
      if (type == kTimeExtend || type == kTimeStamp) {
        at = from + 4;
        continue;
      }
      if (word < 4) return false;  // it counts itself
      size = word;
      if (type == kLengthFollows) {
        from += 4;
        size -= 4;
      }
    }
    if (size > data.size() - from) return false;
    now += delta;
    if (type != kPadding) each(now, data.subspan(from, size));
    at = from + (size + 3) / 4 * 4;
  }
  return true;
}

bool events_missed(std::span<const std::byte> page) {
  return page.size() >= kPageHeader && (value_at<std::uint64_t>(page, 8) & kMissed) != 0;
}

Result<EventField> EventField::of(std::string_view format, std::string_view name) {
  EventField field;
  const auto at = format.find(std::string(" ").append(name).append(";"));
  if (at == std::string_view::npos || !number_after(format, "offset:", at, field.offset) ||
      !number_after(format, "size:", at, field.size) || field.size == 0 || field.size > sizeof(std::uint64_t))
    return fail(ENOENT, "field '{}' of an event", name);
  return field;
}

std::uint64_t EventField::in(std::span<const std::byte> event) const {
  std::uint64_t value = 0;
  if (offset + size <= event.size()) std::memcpy(&value, event.data() + offset, size);
  return value;
}

Result<std::uint16_t> event_id(std::string_view format) {
  std::uint16_t id = 0;
  if (!number_after(format, "ID: ", 0, id)) return fail(ENOENT, "ID of an event");
  return id;
}

}  // namespace lkm::lab

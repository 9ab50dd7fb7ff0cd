// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/trace_buffer.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "toolkit/lab/times.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

/// A page as the kernel writes it, word by word.
std::vector<std::byte> page_of(std::uint64_t at_ns, const std::vector<std::uint32_t>& words, std::uint64_t flags = 0) {
  std::vector<std::byte> page(16 + words.size() * 4);
  const std::uint64_t used = words.size() * 4 | flags;
  std::memcpy(page.data(), &at_ns, 8);
  std::memcpy(page.data() + 8, &used, 8);
  std::memcpy(page.data() + 16, words.data(), words.size() * 4);
  return page;
}

constexpr std::uint32_t head(unsigned type, std::uint32_t delta) { return type | delta << 5; }

struct Seen {
  std::uint64_t at_ns;
  std::size_t size;
  std::uint32_t first;
};
std::pair<bool, std::vector<Seen>> events_of(const std::vector<std::byte>& page) {
  std::vector<Seen> seen;
  const bool whole = for_each_event(page, [&](std::uint64_t at, std::span<const std::byte> event) {
    std::uint32_t first = 0;
    std::memcpy(&first, event.data(), std::min<std::size_t>(event.size(), 4));
    seen.push_back({at, event.size(), first});
  });
  return {whole, seen};
}

TEST(TraceBuffer, ReadsEventsAndTheirTimes) {
  const auto [whole, seen] = events_of(page_of(1000, {head(2, 5), 77, 0,             // two words, 5 ns later
                                                      head(30, 1), 2,                // 2^28 + 1 ns later
                                                      head(0, 3), 12, 88, 0,         // a length that counts itself
                                                      head(29, 9), 8, 0,             // discarded
                                                      head(1, 1), 99, head(29, 0)}));  // and the rest is empty
  EXPECT_TRUE(whole);
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].at_ns, 1005u);
  EXPECT_EQ(seen[0].size, 8u);
  EXPECT_EQ(seen[0].first, 77u);
  EXPECT_EQ(seen[1].at_ns, 1005u + (1u << 28) + 1 + 3);
  EXPECT_EQ(seen[1].size, 8u);
  EXPECT_EQ(seen[1].first, 88u);
  EXPECT_EQ(seen[2].at_ns, seen[1].at_ns + 9 + 1);
  EXPECT_EQ(seen[2].first, 99u);
}

TEST(TraceBuffer, RefusesWhatIsNoPage) {
  EXPECT_FALSE(events_of({}).first);
  auto page = page_of(0, {head(4, 1), 1});  // four words, of which one is there
  EXPECT_FALSE(events_of(page).first);
  page = page_of(0, {head(1, 1), 7});
  page.resize(page.size() - 1);
  EXPECT_FALSE(events_of(page).first);
  EXPECT_FALSE(events_of(page_of(0, {head(0, 1), 3})).first);
  EXPECT_FALSE(events_of(page_of(0, {head(0, 1)})).first);
}

TEST(TraceBuffer, KnowsThatEventsAreMissing) {
  EXPECT_FALSE(events_missed(page_of(0, {head(1, 1), 7})));
  const auto page = page_of(0, {head(1, 1), 7}, 1U << 31);
  EXPECT_TRUE(events_missed(page));
  EXPECT_EQ(events_of(page).second.size(), 1u);
}

TEST(TraceBuffer, FindsFieldsByTheEventsDescription) {
  const std::string format =
      "name: qdisc_enqueue\nID: 1234\nformat:\n"
      "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
      "\tfield:void * skbaddr;\toffset:24;\tsize:8;\tsigned:0;\n\tfield:u32 handle;\toffset:36;\tsize:4;\tsigned:0;\n";
  EXPECT_EQ(*event_id(format), 1234);
  const auto handle = EventField::of(format, "handle");
  ASSERT_TRUE(handle);
  EXPECT_EQ(handle->offset, 36u);
  std::vector<std::byte> event(40);
  event[37] = std::byte{2};
  EXPECT_EQ(handle->in(event), 512u);
  event.resize(38);
  EXPECT_EQ(handle->in(event), 0u);
  EXPECT_FALSE(EventField::of(format, "nonesuch"));
}

TEST(TimesCounted, HaveTheirQuantiles) {
  Times times;
  EXPECT_EQ(times.quantile(0.5), 0ns);
  for (int i = 1; i <= 1000; ++i) times.add(i * 1us);
  times.add(-5ns);
  EXPECT_EQ(times.count, 1001u);
  EXPECT_EQ(times.quantile(0.0001), 0ns);
  for (const double share : {0.1, 0.5, 0.95, 0.99, 1.0})
    EXPECT_NEAR(double(times.quantile(share).count()), share * 1e6, share * 1e6 / 900) << share;
  Times exact;
  for (int i = 0; i < 2000; ++i) exact.add(i * 1ns);
  EXPECT_EQ(exact.quantile(0.5), 999ns);
  EXPECT_EQ(exact.quantile(1), 1999ns);
}

}  // namespace
}  // namespace lkm::lab

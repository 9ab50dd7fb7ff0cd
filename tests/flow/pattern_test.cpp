// SPDX-License-Identifier: GPL-2.0
#include "toolkit/flow/pattern.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace lkm {
namespace {

std::vector<std::byte> bytes(const Pattern& pattern, std::uint64_t offset, std::size_t count) {
  std::vector<std::byte> out(count);
  pattern.fill(offset, out);
  return out;
}

TEST(Pattern, IsTheSameHoweverItIsCut) {
  const Pattern pattern(7);
  const auto whole = bytes(pattern, 0, 200'000);
  for (std::size_t piece : {1u, 3u, 8u, 1000u, 65'535u, 65'537u}) {
    std::vector<std::byte> pieces(whole.size());
    for (std::size_t at = 0; at < pieces.size(); at += piece)
      pattern.fill(at, std::span(pieces).subspan(at, std::min(piece, pieces.size() - at)));
    EXPECT_TRUE(pieces == whole) << "pieces of " << piece;
  }
}

TEST(Pattern, AcceptsItselfAtAnyOffset) {
  const Pattern pattern(7);
  for (std::uint64_t offset : {0ull, 1ull, 65'533ull, 1ull << 40})
    EXPECT_FALSE(pattern.mismatch(offset, bytes(pattern, offset, 10'001))) << offset;
}

TEST(Pattern, FindsTheFirstWrongByte) {
  const Pattern pattern(7);
  auto data = bytes(pattern, 5, 20'000);
  data[12'345] ^= std::byte{1};
  data[15'000] ^= std::byte{1};
  EXPECT_EQ(pattern.mismatch(5, data), 12'345u);
}

TEST(Pattern, FindsAPieceThatIsOutOfPlace) {
  const Pattern pattern(7);
  constexpr std::uint64_t kBlock = 65'536;
  EXPECT_TRUE(pattern.mismatch(kBlock, bytes(pattern, 0, 1448)));       // a block repeated
  EXPECT_TRUE(pattern.mismatch(1448, bytes(pattern, 2 * 1448, 1448)));  // a packet lost
  EXPECT_TRUE(pattern.mismatch(0, std::vector<std::byte>(8)));          // zeroes
  EXPECT_TRUE(pattern.mismatch(0, bytes(Pattern(8), 0, 8)));            // another stream
}

}  // namespace
}  // namespace lkm

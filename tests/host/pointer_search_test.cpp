// SPDX-License-Identifier: GPL-2.0
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "libos-runtime/host/pointer_search.hpp"

namespace lkm {
namespace {

/// Some memory of which parts are blocks.
struct Memory {
  alignas(8) std::array<std::uintptr_t, 64> words{};

  [[nodiscard]] std::uintptr_t address(std::size_t word) const { return reinterpret_cast<std::uintptr_t>(&words[word]); }
  [[nodiscard]] PointerSearch::Block block(std::size_t word, std::size_t n) const {
    return {.at = address(word), .size = n * sizeof(std::uintptr_t)};
  }
  [[nodiscard]] std::vector<bool> search(std::vector<PointerSearch::Block> blocks) const {
    PointerSearch search(std::move(blocks));
    const auto* bytes = reinterpret_cast<const std::byte*>(words.data());
    search.over(bytes, bytes + sizeof(words));
    std::vector<bool> found;
    for (const auto& block : search.finish()) found.push_back(block.pointed_to);
    return found;
  }
};

TEST(APointerSearch, FindsPointersToTheBeginAndToTheMiddleOfABlock) {
  Memory memory;
  memory.words[0] = memory.address(10);
  memory.words[1] = memory.address(20) + 13;
  EXPECT_EQ(memory.search({memory.block(10, 4), memory.block(20, 4), memory.block(30, 4)}),
            (std::vector<bool>{true, true, false}));
}

TEST(APointerSearch, DoesNotCountWordsThatAreExempt) {
  static Memory memory;
  memory.words[0] = memory.words[1] = memory.address(10);
  memory.words[2] = memory.address(20);
  PointerSearch search({memory.block(10, 4), memory.block(20, 4)},
                       [](const void* word) noexcept { return word == &memory.words[2] ? 1 : 0; });
  const auto* bytes = reinterpret_cast<const std::byte*>(memory.words.data());
  search.over(bytes, bytes + sizeof(memory.words));
  EXPECT_TRUE(search.finish()[0].pointed_to);
  EXPECT_FALSE(search.finish()[1].pointed_to);
}

TEST(APointerSearch, DoesNotCountTheWordBehindABlock) {
  Memory memory;
  memory.words[0] = memory.address(14);
  memory.words[1] = memory.address(10) - 1;
  EXPECT_EQ(memory.search({memory.block(10, 4)}), std::vector<bool>{false});
}

TEST(APointerSearch, FollowsAChainFromAPointerOutside) {
  Memory memory;
  memory.words[0] = memory.address(30);
  memory.words[30] = memory.address(20);
  memory.words[21] = memory.address(10);
  EXPECT_EQ(memory.search({memory.block(10, 4), memory.block(20, 4), memory.block(30, 4), memory.block(40, 4)}),
            (std::vector<bool>{true, true, true, false}));
}

TEST(APointerSearch, DoesNotCountWhatLiesInABlockThatNothingPointsTo) {
  Memory memory;
  memory.words[10] = memory.address(20);
  memory.words[20] = memory.address(10);
  memory.words[30] = memory.address(30);
  EXPECT_EQ(memory.search({memory.block(10, 4), memory.block(20, 4), memory.block(30, 4)}),
            (std::vector<bool>{false, false, false}));
}

TEST(APointerSearch, OfNoBlocksFindsNothing) { EXPECT_TRUE(Memory().search({}).empty()); }

}  // namespace
}  // namespace lkm

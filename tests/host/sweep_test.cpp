// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/sweep.hpp"

#include <gtest/gtest.h>

#include <array>

#include "libos-runtime/host/sanitizer.hpp"

namespace lkm {
namespace {

TEST(ASweep, GivesWordsTheNewAddressAlsoBetweenTheVariablesOfACallStack) {
  constexpr std::uintptr_t kOld = 0x10000, kSize = 0x1000, kNew = 0x50000;
  std::array<std::uintptr_t, 16> words{};
  words[3] = kOld + 0x40;  // the function
  words[7] = kOld + 0x41;  // somewhere in it
  words[9] = kOld + kSize;
#ifdef LKM_ASAN
  __asan_poison_memory_region(words.data(), sizeof(words));  // as those between variables are
#endif
  Sweep sweep({{.low = kOld, .size = kSize, .replacements = {{kOld + 0x40, kNew}}}});
  sweep.begin();
  sweep.over(words);
  sweep.finish();
#ifdef LKM_ASAN
  __asan_unpoison_memory_region(words.data(), sizeof(words));
#endif
  EXPECT_EQ(words[3], kNew);
  EXPECT_EQ(words[7], kOld + 0x41);
  EXPECT_EQ(words[9], kOld + kSize);
  EXPECT_FALSE(sweep.may_go(0));
}

}  // namespace
}  // namespace lkm

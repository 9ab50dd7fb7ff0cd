// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/links.hpp"

#include <gtest/gtest.h>

namespace lkm::fuse {
namespace {

TEST(ConfineLink, LeavesALinkThatStaysInsideAsItIs) {
  EXPECT_EQ(confine_link("self/net", 1), "self/net");
  EXPECT_EQ(confine_link("../../devices/virtual/net/lo", 3), "../../devices/virtual/net/lo");
  EXPECT_EQ(confine_link("./a//b/../c", 1), "./a//b/../c");
}

TEST(ConfineLink, LeavesWhatIsNoPath) {
  EXPECT_EQ(confine_link("net:[4026531840]", 3), "net:[4026531840]");
  EXPECT_EQ(confine_link("anon_inode:[eventpoll]", 3), "anon_inode:[eventpoll]");
}

TEST(ConfineLink, LeadsAnAbsoluteTargetToTheSamePlaceInTheMount) {
  EXPECT_EQ(confine_link("/", 2), "../..");
  EXPECT_EQ(confine_link("/proc/1", 2), "../../proc/1");
  EXPECT_EQ(confine_link("/dev/null", 3), "../../../dev/null");
  EXPECT_EQ(confine_link("/proc", 0), "proc");
  EXPECT_EQ(confine_link("/", 0), ".");
}

TEST(ConfineLink, KeepsARelativeTargetFromClimbingOut) {
  EXPECT_EQ(confine_link("../../../etc/passwd", 2), "../../etc/passwd");
  EXPECT_EQ(confine_link("a/../../../../b", 1), "../b");
  EXPECT_EQ(confine_link("..", 0), ".");
}

TEST(ConfineLink, KeepsAnAbsoluteTargetFromClimbingOut) {
  EXPECT_EQ(confine_link("/../etc", 1), "../etc");
  EXPECT_EQ(confine_link("/proc/../../etc/passwd", 2), "../../etc/passwd");
}

TEST(ConfineLink, AnEmptyTextStaysEmpty) { EXPECT_EQ(confine_link("", 3), ""); }

}  // namespace
}  // namespace lkm::fuse

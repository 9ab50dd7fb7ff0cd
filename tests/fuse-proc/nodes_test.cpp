// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/nodes.hpp"

#include <gtest/gtest.h>

namespace lkm::fuse {
namespace {

constexpr Identity kRootIdentity = {1, 1, S_IFDIR};

Identity directory(std::uint64_t inode) { return {2, inode, S_IFDIR}; }
Identity file(std::uint64_t inode) { return {2, inode, S_IFREG}; }

struct Nodes : ::testing::Test {
  NodeTable table{3, kRootIdentity};

  NodeTable::Id look_up(NodeTable::Id parent, const char* name, Identity identity, int fd = -1) {
    return table.look_up(parent, name, identity, fd, taken).id;
  }
  bool taken = false;
};

TEST_F(Nodes, TheRootIsThereAndIsNeverForgotten) {
  ASSERT_NE(table.find(NodeTable::kRoot), nullptr);
  EXPECT_EQ(table.find(NodeTable::kRoot)->directory, 3);
  EXPECT_TRUE(table.forget(NodeTable::kRoot, 1000).empty());
  EXPECT_NE(table.find(NodeTable::kRoot), nullptr);
}

TEST_F(Nodes, TheSameObjectUnderTheSameNameKeepsItsNumber) {
  const auto proc = look_up(NodeTable::kRoot, "proc", directory(1), 10);
  EXPECT_TRUE(taken);
  EXPECT_EQ(look_up(NodeTable::kRoot, "proc", directory(1), 11), proc);
  EXPECT_FALSE(taken) << "descriptor 11 is left to the caller to close";
  EXPECT_EQ(table.find(proc)->directory, 10);
  EXPECT_EQ(table.find(proc)->depth, 1u);
}

TEST_F(Nodes, ANodeLivesUntilAllLookUpsAreForgotten) {
  const auto proc = look_up(NodeTable::kRoot, "proc", directory(1), 10);
  look_up(NodeTable::kRoot, "proc", directory(1), 11);
  EXPECT_TRUE(table.forget(proc, 1).empty());
  EXPECT_NE(table.find(proc), nullptr);
  EXPECT_EQ(table.forget(proc, 1), std::vector<int>{10});
  EXPECT_EQ(table.find(proc), nullptr);
  EXPECT_EQ(table.size(), 1u);
}

TEST_F(Nodes, AParentThatIsForgottenFirstWaitsForItsChildren) {
  const auto proc = look_up(NodeTable::kRoot, "proc", directory(1), 10);
  const auto net = look_up(proc, "net", directory(2), 11);
  const auto tcp = look_up(net, "tcp", file(3));
  EXPECT_TRUE(table.forget(proc, 1).empty());
  EXPECT_TRUE(table.forget(net, 1).empty());
  ASSERT_NE(table.find(tcp), nullptr);
  EXPECT_EQ(table.find(tcp)->parent->directory, 11);
  EXPECT_EQ(table.forget(tcp, 1), (std::vector<int>{11, 10}));
  EXPECT_EQ(table.size(), 1u);
}

TEST_F(Nodes, AnotherObjectUnderAnOldNameGetsANewNumberAndTheOldOneStaysItself) {
  const auto first = look_up(NodeTable::kRoot, "sys", directory(7), 10);
  const auto second = look_up(NodeTable::kRoot, "sys", directory(8), 11);
  EXPECT_TRUE(taken);
  EXPECT_NE(first, second);
  EXPECT_EQ(table.find(first)->directory, 10);
  EXPECT_EQ(table.forget(first, 1), std::vector<int>{10});
  EXPECT_EQ(look_up(NodeTable::kRoot, "sys", directory(8), 12), second)
      << "forgetting the old object must not unname the new one";
}

TEST_F(Nodes, AFileThatBecameALinkIsAnotherObject) {
  const auto first = look_up(NodeTable::kRoot, "x", file(7));
  EXPECT_NE(look_up(NodeTable::kRoot, "x", {2, 7, S_IFLNK}), first);
}

TEST_F(Nodes, ForgettingMoreThanWasCountedOrTheUnknownDoesNoHarm) {
  const auto proc = look_up(NodeTable::kRoot, "proc", directory(1), 10);
  EXPECT_EQ(table.forget(proc, 99), std::vector<int>{10});
  EXPECT_TRUE(table.forget(proc, 1).empty());
  EXPECT_TRUE(table.forget(12345, 1).empty());
}

TEST(InodeNumbers, AreTheSameForTheSameObjectAndDifferBetweenFileSystems) {
  InodeNumbers numbers;
  const auto proc_root = numbers.number(20, 1);
  const auto sys_root = numbers.number(21, 1);
  EXPECT_NE(proc_root, sys_root);
  EXPECT_EQ(numbers.number(20, 1), proc_root);
  EXPECT_NE(numbers.number(20, 2), proc_root);
}

}  // namespace
}  // namespace lkm::fuse

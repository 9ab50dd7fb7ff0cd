// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/lab_history.hpp"

#include <gtest/gtest.h>

#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm::cli {
namespace {

namespace fs = std::filesystem;

class AHistory : public ::testing::Test {
 protected:
  AHistory() : scratch_(std::move(TempDir::make()).value()), history_(scratch_.path(), "/src/mycc", "dumbbell") {}

  void run(const LabHistory& history, const std::string& name, int second) {
    fs::create_directories(history.folder(name));
    ASSERT_TRUE(replace_file(history.folder(name) / "report.json", "{}"));
    ASSERT_TRUE(history.add(name, LabHistory::Time(std::chrono::seconds(second))));
  }
  static std::vector<std::string> names(const LabHistory& history) {
    std::vector<std::string> all;
    for (const auto& one : history.runs()) all.push_back(one.name);
    return all;
  }

  TempDir scratch_;
  LabHistory history_;
};

TEST_F(AHistory, HasTheRunsOfItsSourceAndScenarioByTime) {
  run(history_, "mycc@2", 200);
  run(history_, "mycc@1", 100);
  run({scratch_.path(), "/src/mycc", "incast"}, "mycc@3", 150);
  run({scratch_.path(), "/other/mycc", "dumbbell"}, "mycc@4", 160);
  EXPECT_EQ(names(history_), (std::vector<std::string>{"mycc@1", "mycc@2"}));
  EXPECT_EQ(history_.runs()[1].saved, LabHistory::Time(std::chrono::seconds(200)));
  fs::remove(history_.folder("mycc@1") / "report.json");
  ASSERT_TRUE(replace_file(history_.folder("mycc@2") / "watch.json", "{\"v\":1,"));
  EXPECT_TRUE(names(history_).empty());
}

TEST_F(AHistory, KeepsTheRunsThatWereSavedLast) {
  fs::create_directories(scratch_.path() / "mycc@0");  // of a run that was killed
  for (int i = 1; i <= int(LabHistory::kKept) + 3; ++i) run(history_, "mycc@" + std::to_string(i), i);
  const auto left = names(history_);
  ASSERT_EQ(left.size(), LabHistory::kKept);
  EXPECT_EQ(left.front(), "mycc@4");
  EXPECT_FALSE(fs::exists(scratch_.path() / "mycc@0"));
  EXPECT_FALSE(fs::exists(scratch_.path() / "mycc@3"));
  run(history_, "mycc@4", 1000);  // built again
  EXPECT_EQ(names(history_).back(), "mycc@4");
}

}  // namespace
}  // namespace lkm::cli

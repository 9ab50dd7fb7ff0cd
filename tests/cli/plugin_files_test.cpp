// SPDX-License-Identifier: GPL-2.0
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "tools/lkm-run/module_source.hpp"

namespace lkm::cli {
namespace {

TEST(OldPluginFiles, GoUnlessAModuleOrAWatchNeedsThem) {
  const TempDir dir = TempDir::make().value();
  ::setenv("XDG_RUNTIME_DIR", dir.path().c_str(), 1);
  const auto folder = control::StateFolder::of("lab").value();
  std::filesystem::create_directories(folder.plugins());
  const auto file = [&](unsigned generation) {
    return folder.plugins() / fmt::format("mycc@{}-5f2a91c40b7e.so", generation);
  };
  for (unsigned generation = 1; generation <= 13; ++generation) {
    ASSERT_TRUE(replace_file(file(generation), "", 0644));
  }

  drop_old_plugins(folder, Json::array({{{"path", file(2).string()}}}), {{"mycc", "", file(4)}});

  std::set<unsigned> left;
  for (unsigned generation = 1; generation <= 13; ++generation) {
    if (std::filesystem::exists(file(generation))) left.insert(generation);
  }
  EXPECT_EQ(left, (std::set<unsigned>{2, 4, 6, 7, 8, 9, 10, 11, 12, 13}));
}

}  // namespace
}  // namespace lkm::cli

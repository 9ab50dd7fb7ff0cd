// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/plugin_store.hpp"

#include <gtest/gtest.h>

#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm {
namespace {

class PluginStore : public testing::Test {
 protected:
  Result<StoredPlugin> store(const std::string& name, const std::string& build_id) {
    EXPECT_TRUE(replace_file(dir_.path() / "so", "content of " + build_id));
    return store_plugin(dir_.path() / "so", name, build_id, folder_);
  }
  TempDir dir_ = std::move(*TempDir::make());
  std::filesystem::path folder_ = dir_.path() / "state/plugins";
};

TEST_F(PluginStore, GivesEachBuildItsOwnPathAndNumber) {
  const auto first = store("mycc", "aaaaaaaaaaaaaaaa");
  const auto second = store("mycc", "bbbbbbbbbbbbbbbb");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->path, folder_ / "mycc@1-aaaaaaaaaaaa.so");
  EXPECT_EQ(second->path, folder_ / "mycc@2-bbbbbbbbbbbb.so");
  EXPECT_EQ(second->generation, 2u);
  EXPECT_EQ(*read_file(first->path), "content of aaaaaaaaaaaaaaaa");
}

TEST_F(PluginStore, GivesTheSameBuildTheSamePathAgain) {
  ASSERT_TRUE(store("mycc", "aaaaaaaaaaaaaaaa"));
  ASSERT_TRUE(store("mycc", "bbbbbbbbbbbbbbbb"));
  const auto again = store("mycc", "aaaaaaaaaaaaaaaa");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->path, folder_ / "mycc@1-aaaaaaaaaaaa.so");
  EXPECT_FALSE(again->is_new);
}

TEST_F(PluginStore, CountsNamesApartEvenIfOneBeginsWithTheOther) {
  ASSERT_TRUE(store("mycc", "aaaaaaaaaaaaaaaa"));
  EXPECT_EQ(store("mycc_two", "bbbbbbbbbbbbbbbb")->generation, 1u);
}

TEST_F(PluginStore, CountsPastTenAndIgnoresWhatIsNotItsOwn) {
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(store("mycc", fmt::format("{:012x}0000", i)));
  }
  std::filesystem::create_directory(folder_ / "mycc@x-garbage.so");
  std::filesystem::create_directory(folder_ / "mycc@99999999999999999999-garbage.so");
  EXPECT_EQ(store("mycc", "bbbbbbbbbbbbbbbb")->generation, 13u);
}

TEST_F(PluginStore, LeavesNothingBesideThePlugins) {
  ASSERT_TRUE(store("mycc", "aaaaaaaaaaaaaaaa"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(PluginStore, NamesTheFileThatIsMissing) {
  const auto stored = store_plugin(dir_.path() / "missing.so", "mycc", "aa", folder_);
  ASSERT_FALSE(stored);
  EXPECT_NE(stored.error().message().find("missing.so"), std::string::npos);
}

}  // namespace
}  // namespace lkm

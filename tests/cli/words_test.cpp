// SPDX-License-Identifier: GPL-2.0
#include <gtest/gtest.h>

#include "tools/lkm-run/arguments.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/suggest.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<Arguments> parse(std::string_view verb, const std::vector<std::string>& words) {
  return parse_arguments(*find_verb(verb), words);
}

TEST(EditDistance, CountsTypingMistakes) {
  EXPECT_EQ(edit_distance("swap", "swap"), 0u);
  EXPECT_EQ(edit_distance("swp", "swap"), 1u);
  EXPECT_EQ(edit_distance("sawp", "swap"), 1u);
  EXPECT_EQ(edit_distance("swab", "swap"), 1u);
  EXPECT_EQ(edit_distance("", "swap"), 4u);
  EXPECT_EQ(edit_distance("up", "down"), 4u);
}

TEST(Nearest, IsWhatWasMeantOrNothing) {
  const std::vector<std::string_view> words = {"load", "unload", "watch", "ls"};
  EXPECT_EQ(nearest("laod", words), "load");
  EXPECT_EQ(nearest("unlaod", words), "unload");
  EXPECT_EQ(nearest("wach", words), "watch");
  EXPECT_FALSE(nearest("frobnicate", words));
  EXPECT_FALSE(nearest("", std::vector<std::string_view>{}));
}

TEST(Arguments, MayComeInAnyOrder) {
  const auto arguments = parse("sysctl", {"a.b", "-w", "c=d", "--netns=x", "-n", "lab"});
  ASSERT_TRUE(arguments) << arguments.error().message();
  EXPECT_EQ(arguments->operands(), (std::vector<std::string>{"a.b", "c=d"}));
  EXPECT_TRUE(arguments->has("write"));
  EXPECT_EQ(arguments->value("netns"), "x");
  EXPECT_EQ(arguments->value("name"), "lab");
}

TEST(Arguments, LettersMayBeJoinedAndHoldAValue) {
  const auto arguments = parse("up", {"-fm64MiB"});
  ASSERT_TRUE(arguments);
  EXPECT_TRUE(arguments->has("foreground"));
  EXPECT_EQ(arguments->value("memory"), "64MiB");
}

TEST(Arguments, TwoDashesEndTheOptions) {
  const auto arguments = parse("unload", {"--", "--json"});
  ASSERT_TRUE(arguments);
  EXPECT_FALSE(arguments->has("json"));
  EXPECT_EQ(arguments->operand(0), "--json");
}

TEST(Arguments, RefuseWhatTheVerbDoesNotTake) {
  const auto unknown = parse("log", {"--folow"});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().hint(), "did you mean --follow?");
  EXPECT_FALSE(parse("log", {"-x"}));
  EXPECT_FALSE(parse("log", {"--follow=yes"}));
  EXPECT_FALSE(parse("log", {"file"}));
  EXPECT_FALSE(parse("log", {"--name"}));
  EXPECT_FALSE(parse("ls", {"--color=sometimes"}));
  EXPECT_FALSE(parse("load", {}));
  EXPECT_FALSE(parse("completion", {"tcsh"}));
  EXPECT_EQ(parse("netns", {"ad", "x"}).error().hint(), "did you mean 'netns add'?");
}

TEST(Arguments, AskForHelpWithoutTheOperandsThatAreDue) {
  EXPECT_TRUE(parse("load", {"-h"}));
  EXPECT_TRUE(parse("new", {"--help"}));
}

TEST(ModuleParameters, AreWrittenAsTheKernelReadsThem) {
  EXPECT_EQ(module_parameters({"mycc", "alpha=3", "name=a b", "empty="}, 1).value(),
            "alpha=3 name=\"a b\" empty=");
  EXPECT_EQ(module_parameters({"mycc"}, 1).value(), "");
  EXPECT_FALSE(module_parameters({"alpha"}, 0));
  EXPECT_FALSE(module_parameters({"=3"}, 0));
  EXPECT_FALSE(module_parameters({"al pha=3"}, 0));
  EXPECT_FALSE(module_parameters({"a=\"x"}, 0));
}

}  // namespace
}  // namespace lkm::cli

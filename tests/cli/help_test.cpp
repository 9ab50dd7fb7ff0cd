// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/help.hpp"

#include <gtest/gtest.h>

#include <set>

#include "toolkit/base/child.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm::cli {
namespace {

bool holds(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST(Verbs, AreCompleteAndUnlike) {
  std::set<std::string_view> names;
  for (const Verb* verb : all_verbs()) {
    SCOPED_TRACE(verb->name);
    EXPECT_TRUE(names.insert(verb->name).second);
    EXPECT_FALSE(verb->summary.empty());
    EXPECT_FALSE(verb->summary.ends_with('.'));
    EXPECT_FALSE(verb->description.empty());
    EXPECT_FALSE(verb->examples.empty());
    EXPECT_LE(verb->least, verb->most);
    EXPECT_TRUE(verb->run);
    std::set<char> letters;
    std::set<std::string_view> options;
    for (const auto* list : {&verb->options, &global_options()}) {
      for (const Option& option : *list) {
        EXPECT_TRUE(options.insert(option.name).second) << option.name;
        EXPECT_TRUE(!option.letter || letters.insert(option.letter).second) << option.letter;
      }
    }
    // An example names a verb that exists.
    for (const Example& example : verb->examples) EXPECT_TRUE(holds(std::string(example.command), "lkm-run"));
  }
}

TEST(Help, FitsATerminalAndNamesAllThereIs) {
  for (const Verb* verb : all_verbs()) {
    EXPECT_TRUE(holds(short_help(), verb->summary)) << verb->name;
    const std::string text = long_help(*verb);
    EXPECT_TRUE(holds(text, "EXAMPLES"));
    for (const Option& option : verb->options) {
      EXPECT_EQ(holds(text, fmt::format("--{}", option.name)), !option.hidden) << option.name;
    }
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      EXPECT_LE(end - at, 100u) << text.substr(at, end - at);
      at = end + 1;
    }
  }
  EXPECT_TRUE(holds(long_help(), "EXIT STATUS"));
}

TEST(ManPage, HasEveryVerbAndOption) {
  const std::string page = man_page();
  EXPECT_TRUE(page.starts_with(".TH LKM\\-RUN 1"));
  for (const Verb* verb : all_verbs()) {
    EXPECT_TRUE(holds(page, fmt::format(".SS \"lkm\\-run {}", verb->name))) << verb->name;
  }
  EXPECT_TRUE(holds(page, "\\-\\-boot\\-chart"));
  EXPECT_FALSE(holds(page, "detached"));
}

// Each script is at least one that its shell can read.
void expect_shell_reads(const std::string& shell, const std::vector<std::string>& options) {
  const auto dir = TempDir::make().value();
  const auto file = dir.path() / "completion";
  ASSERT_TRUE(replace_file(file, completion_script(shell)));
  std::vector<std::string> argv = {shell};
  argv.insert(argv.end(), options.begin(), options.end());
  argv.push_back(file);
  auto child = Child::spawn({.argv = argv});
  if (!child && child.error().errno_value() == ENOENT) GTEST_SKIP() << shell << " is not installed";
  ASSERT_TRUE(child);
  EXPECT_TRUE(child->wait()->success());
}

TEST(Completion, IsReadableToBash) { expect_shell_reads("bash", {"-n"}); }
TEST(Completion, IsReadableToZsh) { expect_shell_reads("zsh", {"-n"}); }
TEST(Completion, IsReadableToFish) { expect_shell_reads("fish", {"-n"}); }

TEST(Completion, HasEveryVerbInEveryShell) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = completion_script(shell);
    for (const Verb* verb : all_verbs()) {
      EXPECT_TRUE(holds(script, verb->name)) << shell << " " << verb->name;
    }
    EXPECT_FALSE(holds(script, "detached"));
  }
}

TEST(Completion, CompletesAVerbAndItsOptionsInBash) {
  const auto dir = TempDir::make().value();
  const auto file = dir.path() / "completion";
  ASSERT_TRUE(replace_file(file, completion_script("bash")));
  const auto complete = [&](const std::string& words, int place) {
    auto child = Child::spawn(
        {.argv = {"bash", "-c",
                  fmt::format("complete() {{ :; }}; . {}; COMP_WORDS=({}); COMP_CWORD={}; _lkm_run; "
                              "echo \"${{COMPREPLY[*]}}\"",
                              file.string(), words, place)},
         .out = Child::Output::kPipe});
    return child->read_all().value();
  };
  EXPECT_EQ(complete("lkm-run wa", 1), "watch\n");
  EXPECT_EQ(complete("lkm-run up --boot", 2), "--boot-chart\n");
  EXPECT_EQ(complete("lkm-run up --time v", 3), "virtual\n");
  EXPECT_EQ(complete("lkm-run completion z", 2), "zsh\n");
}

}  // namespace
}  // namespace lkm::cli

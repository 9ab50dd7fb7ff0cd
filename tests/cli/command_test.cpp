// SPDX-License-Identifier: GPL-2.0
//
// The program as a user runs it, without a stack.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "toolkit/base/child.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm {
namespace {

struct Output {
  int code = 0;
  std::string out;
  std::string err;
};

class Command : public testing::Test {
 protected:
  /// `before`: lines for the shell that then becomes the command.
  Output lkm_run(const std::vector<std::string>& words, const std::string& before = ":") {
    std::vector<std::string> argv = {"bash", "-c", before + "; exec \"$0\" \"$@\" 2>err", LKM_RUN_PROGRAM};
    argv.insert(argv.end(), words.begin(), words.end());
    auto child = Child::spawn({.argv = argv,
                               .directory = dir_.path(),
                               .environment = {{"XDG_RUNTIME_DIR", dir_.path()}, {"LKM_RUN_IMAGE", std::nullopt}},
                               .out = Child::Output::kPipe});
    Output output;
    output.out = child->read_all().value();
    output.code = child->wait()->code;
    output.err = read_file(dir_.path() / "err").value();
    return output;
  }

  TempDir dir_ = TempDir::make().value();
};

TEST_F(Command, NamesAnUnknownVerbAndSuggestsTheNearest) {
  const Output output = lkm_run({"wacth"});
  EXPECT_EQ(output.code, 2);
  EXPECT_EQ(output.out, "");
  EXPECT_EQ(output.err, "lkm-run: no verb 'wacth'\nHINT: did you mean 'lkm-run watch'?\n");
}

TEST_F(Command, WithoutAVerbIsAMistakeOfUsage) {
  EXPECT_EQ(lkm_run({}).code, 2);
  EXPECT_EQ(lkm_run({"--json"}).code, 2);
}

TEST_F(Command, HelpsOnStdout) {
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"-h"}, {"--help"}, {"help"}, {"help", "up"}, {"up", "-h"}, {"up", "--help"}, {"--version"}}) {
    const Output output = lkm_run(words);
    EXPECT_EQ(output.code, 0) << words[0];
    EXPECT_NE(output.out, "");
    EXPECT_EQ(output.err, "");
  }
}

TEST_F(Command, TakesGlobalOptionsBeforeTheVerb) {
  const Output output = lkm_run({"--name", "lab", "mount"});
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.err, "lkm-run: no stack named 'lab' is up\nHINT: lkm-run up --name lab\n");
}

TEST_F(Command, TellsErrorsAsJsonToo) {
  const Output output = lkm_run({"ls", "--json"});
  EXPECT_EQ(output.code, 0);
  EXPECT_EQ(output.out, "");
  const Output error = lkm_run({"mount", "--json"});
  const auto json = nlohmann::json::parse(error.out);
  EXPECT_EQ(json["v"], 1);
  EXPECT_EQ(json["error"]["hint"], "lkm-run up");
}

TEST_F(Command, RefusesADurationWithoutAUnit) {
  const Output output = lkm_run({"flow", "--duration", "5"});
  EXPECT_EQ(output.code, 2);
  EXPECT_NE(output.err.find("duration '5'"), std::string::npos) << output.err;
  EXPECT_EQ(lkm_run({"link", "add", "a", "b", "--delay=10"}).code, 2);
  EXPECT_EQ(lkm_run({"up", "--memory", "64"}).code, 2);
}

TEST_F(Command, EndsQuietlyWhenNobodyReadsItsResult) {
  std::filesystem::create_directories(dir_.path() / "lkm-run" / "old");
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"ls"}, {"ls", "--json"}, {"--help"}, {"help", "--man"}, {"completion", "bash"}, {"mount", "--json"}}) {
    // The reader of this pipe is gone before the command begins.
    const Output output = lkm_run(words, "exec 5> >(:); wait $!; exec >&5");
    EXPECT_EQ(output.code, 1) << words[0];
    EXPECT_EQ(output.err, "") << words[0];
  }
}

TEST_F(Command, TellsThatItsResultCouldNotBeWritten) {
  const Output output = lkm_run({"--version"}, "exec >/dev/full");
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.err, "lkm-run: write to stdout: No space left on device\n");
}

TEST_F(Command, RefusesABadStackName) {
  EXPECT_EQ(lkm_run({"down", "--name", "../x"}).code, 1);
}

TEST_F(Command, RefusesAFolderThatIsNoImage) {
  const Output output = lkm_run({"up", "--no-fuse", "--image", "."});
  EXPECT_EQ(output.code, 1);
  EXPECT_NE(output.err.find("no image in"), std::string::npos) << output.err;
}

TEST_F(Command, CleansAStackThatWasKilled) {
  std::filesystem::create_directories(dir_.path() / "lkm-run" / "old" / "plugins");
  EXPECT_NE(lkm_run({"ls"}).out.find("old: dead"), std::string::npos);
  EXPECT_EQ(lkm_run({"down", "--all"}).code, 0);
  EXPECT_FALSE(std::filesystem::exists(dir_.path() / "lkm-run" / "old"));
}

TEST_F(Command, WritesAModuleAndRefusesToDoItTwice) {
  EXPECT_EQ(lkm_run({"new", "cc", "mycc"}).code, 0);
  EXPECT_TRUE(std::filesystem::exists(dir_.path() / "mycc" / "mycc.c"));
  EXPECT_EQ(lkm_run({"new", "cc", "mycc"}).code, 1);
  EXPECT_EQ(lkm_run({"new", "cc", "my-cc"}).code, 2);
}

TEST_F(Command, DoctorNamesEachCheckAsJson) {
  const Output output = lkm_run({"doctor", "--json"});
  EXPECT_TRUE(output.code == 0 || output.code == 5) << output.code;
  std::istringstream lines(output.out);
  int checks = 0;
  bool missing = false;
  for (std::string line; std::getline(lines, line); ++checks) {
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json["v"], 1);
    missing |= json["check"]["state"] == "missing";
    EXPECT_EQ(json["check"]["state"] == "good", json["check"]["hint"] == "") << line;
  }
  EXPECT_GT(checks, 5);
  EXPECT_EQ(output.code == 5, missing);
}

}  // namespace
}  // namespace lkm

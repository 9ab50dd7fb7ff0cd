// SPDX-License-Identifier: GPL-2.0
#include "tests/lab/lab_test.hpp"

#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <regex>
#include <stdexcept>

#include "toolkit/build/module_build.hpp"
#include "toolkit/lab/results.hpp"
#include "toolkit/lab/scenario_toml.hpp"

namespace lkm::lab {
namespace {

/// A fork has its parent's address space: what this process maps from now on goes elsewhere, as in a new program.
void move_memory() {
  std::uint32_t pages = 0;
  ASSERT_EQ(::getrandom(&pages, sizeof pages, 0), ssize_t(sizeof pages));
  ASSERT_NE(::mmap(nullptr, (std::size_t(pages) % 100'000 + 1) << 12, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            MAP_FAILED);
}

}  // namespace

void LabTest::SetUp() {
  const char* image = std::getenv("LKM_RUN_IMAGE");
  if (image == nullptr) GTEST_SKIP() << "LKM_RUN_IMAGE is not set; Kbuild/kernel prints it";
  options_.image = image;
}

RunResult LabTest::run(const Scenario& scenario, Clock clock) {
  std::string log;
  options_.clock = clock;
  options_.console = [&](std::string_view text) { log += text; };
  auto result = lab::run(scenario, options_);
  EXPECT_FALSE(std::regex_search(log, std::regex("WARNING:|BUG:|Oops|Call Trace"))) << log;
  // GoogleTest fails the test with it: there is nothing to go on with.
  if (!result) throw std::runtime_error(result.error().message() + "\n" + result.error().hint());
  for (const FlowSeries& flow : result->flows) EXPECT_EQ(flow.error, "") << flow.name;
  for (const EventResult& event : result->events) EXPECT_EQ(event.error, "") << event.what;
  return std::move(*result);
}

std::string LabTest::samples(const Scenario& scenario, Clock clock) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    move_memory();
    const RunResult result = run(scenario, clock);
    std::string text = samples_jsonl(result) + to_json(summarise(result)).dump();
    for (const auto& [link, file] : result.captures) text += file;
    for (std::string_view rest = text; !rest.empty();) {
      const auto n = ::write(ends[1], rest.data(), rest.size());
      if (n <= 0) break;
      rest.remove_prefix(std::size_t(n));
    }
    ::_exit(HasFailure() ? 1 : 0);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[1 << 16];
  for (long n = 0; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, std::size_t(n));
  ::close(ends[0]);
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  return text;
}

std::string LabTest::built(const std::filesystem::path& source, const std::filesystem::path& scratch) {
  auto build = ModuleBuild::open({.folder = source,
                                  .kernel = options_.image,
                                  .work = scratch / "work",
                                  .plugins = scratch / "plugins",
                                  .linker = std::filesystem::path(LKM_RUN_SOURCE_DIR) / "Kbuild" / "plugin",
                                  .compile_commands = false});
  if (!build) throw std::runtime_error(build.error().message());
  const auto result = build->run();
  if (!result) throw std::runtime_error(result.error().message() + build->output());
  return result->modules.at(0).plugin;
}

std::vector<Packet> packets_of(const std::string& capture) {
  const auto word = [&](std::size_t at) {
    std::uint32_t value = 0;
    std::memcpy(&value, capture.data() + at, sizeof value);
    return value;
  };
  std::vector<Packet> packets;
  if (capture.size() < 24 || word(0) != 0xa1b23c4du) {
    ADD_FAILURE() << "this is no capture";
    return packets;
  }
  std::size_t at = 24;
  for (; at + 16 <= capture.size(); at += 16 + word(at + 8))
    packets.push_back({std::chrono::seconds(word(at)) + nanoseconds(word(at + 4)), word(at + 12)});
  EXPECT_EQ(at, capture.size());
  return packets;
}

void for_each_frame(const std::string& capture, const std::function<void(std::string_view)>& each) {
  std::uint32_t kept = 0;
  for (std::size_t at = 24; at + 16 <= capture.size(); at += 16 + kept) {
    std::memcpy(&kept, capture.data() + at + 8, sizeof kept);
    each(std::string_view(capture).substr(at + 16, kept));
  }
}

Scenario ready(const std::string& name) {
  auto scenario = read_scenario(std::filesystem::path(LKM_RUN_SOURCE_DIR) / "examples" / "lab" / (name + ".toml"));
  if (scenario) return *scenario;
  ADD_FAILURE() << scenario.error().message();
  return {};
}

}  // namespace lkm::lab

// SPDX-License-Identifier: GPL-2.0
#include "tests/host/host_test.hpp"

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "toolkit/base/file.hpp"
#include "toolkit/build/module_build.hpp"
#include "toolkit/flow/flow.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// Copies a module's folder; a file that is the same keeps its time, so that make has nothing to
/// do.
void copy_sources(const fs::path& from, const fs::path& to, int variant) {
  fs::create_directories(to);
  for (const auto& entry : fs::directory_iterator(from)) {
    std::string text = read_file(entry.path()).value();
    if (variant != 0 && entry.path().extension() == ".c") {
      text = fmt::format("#define VARIANT {}\n{}", variant, text);
    }
    const fs::path target = to / entry.path().filename();
    const auto before = read_file(target);
    if (before && *before == text) continue;
    ASSERT_TRUE(replace_file(target, text));
  }
}

}  // namespace

void HostTest::SetUp() {
  const char* image = std::getenv("LKM_RUN_IMAGE");
  if (image == nullptr) GTEST_SKIP() << "LKM_RUN_IMAGE is not set; Kbuild/kernel prints it";
  const fs::path folder(image);
  options_.library = folder / "libos.so";
  options_.module_path = {folder / "modules"};
  options_.console = [this](std::string_view text) { log_ += text; };
  auto scratch = TempDir::make();
  ASSERT_TRUE(scratch) << scratch.error().message();
  scratch_ = std::move(*scratch);
}

Result<int> HostTest::try_run(const std::function<void(Stack&)>& body) {
  return Stack::run(options_, [&](Stack& stack) {
    body(stack);
    return 0;
  });
}

void HostTest::run(const std::function<void(Stack&)>& body) {
  const auto ended = try_run(body);
  EXPECT_TRUE(ended) << ended.error().message();
  if (HasFailure()) std::fputs(log_.c_str(), stderr);
}

void HostTest::embed(const std::function<void(Stack&)>& body) {
  auto stack = Stack::boot(options_);
  ASSERT_TRUE(stack) << stack.error().message();
  body(**stack);
  stack->reset();
  if (HasFailure()) std::fputs(log_.c_str(), stderr);
}

std::string HostTest::plugin(const std::string& name, int variant) {
  const std::string folder = name == "dependent" ? "faulty" : name;
  const fs::path work = fs::path(HOST_TEST_WORK) / fmt::format("{}-{}", folder, variant);
  const fs::path source = work / "source";
  copy_sources(fs::path(HOST_TEST_SOURCE) / "modules" / folder, source, variant);
  auto build = ModuleBuild::open({.folder = source,
                                  .kernel = std::getenv("LKM_RUN_IMAGE"),
                                  .work = work / "build",
                                  .plugins = work / "plugins",
                                  .linker = KBUILD_PLUGIN,
                                  .compile_commands = false});
  if (!build) {
    ADD_FAILURE() << build.error().message();
    return {};
  }
  const auto result = build->run();
  if (!result) {
    ADD_FAILURE() << result.error().message() << "\n" << build->output();
    return {};
  }
  return std::ranges::find(result->modules, name, &BuiltModule::name)->plugin.string();
}

std::string HostTest::written(const std::string& name, std::string_view content) {
  const fs::path path = scratch_->path() / name;
  EXPECT_TRUE(replace_file(path, content));
  return path.string();
}

std::string HostTest::patched(const std::string& file, std::string_view from, std::string_view to) {
  EXPECT_EQ(from.size(), to.size());
  std::string bytes = read_file(file).value();
  std::size_t places = 0;
  for (std::size_t at = 0; (at = bytes.find(from, at)) != std::string::npos; at += to.size()) {
    bytes.replace(at, from.size(), to);
    ++places;
  }
  EXPECT_GT(places, 0u) << from << " is not in " << file;
  return written(fs::path(file).filename().string(), bytes);
}

void expect_serves(Stack& stack, const std::string& control) {
  FlowSpec spec{.bytes = 100'000};
  spec.route.control = control;
  auto flow = Flow::start(stack, spec);
  ASSERT_TRUE(flow) << flow.error().message();
  ASSERT_TRUE((*flow)->wait(stack.now() + 20s)) << "the flow does not end";
  const auto report = (*flow)->report();
  EXPECT_EQ(report.state, FlowState::kDone) << report.error;
  EXPECT_EQ(report.bytes_verified, 100'000u);
}

std::shared_ptr<Flow> start_flow(Stack& stack, const std::string& control, const std::string& netns) {
  FlowSpec spec;
  spec.route = {.client = netns, .server = netns, .control = control};
  auto flow = Flow::start(stack, spec);
  EXPECT_TRUE(flow) << flow.error().message();
  return flow ? *flow : nullptr;
}

void expect_intact(Stack& stack, Flow& flow, const std::string& control) {
  flow.stop();
  EXPECT_TRUE(flow.wait(stack.now() + 20s));
  const auto report = flow.report();
  EXPECT_EQ(report.state, FlowState::kDone) << report.error;
  EXPECT_GT(report.bytes_verified, 0u);
  EXPECT_EQ(report.bytes_verified, report.bytes_sent);
  EXPECT_EQ(report.client_control, control);
}

std::string module_line(Stack& stack, const std::string& name) {
  std::istringstream lines(stack.read_file("/proc/modules").value());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + " ")) return line;
  }
  return {};
}

}  // namespace lkm

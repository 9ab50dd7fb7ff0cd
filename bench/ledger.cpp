// SPDX-License-Identifier: GPL-2.0
//
// What the ledger costs: the same build of a congestion control, linked so that its calls into the kernel are looked
// at, and so that they are not.
#include <algorithm>

#include "bench/edited_module.hpp"
#include "bench/parts.hpp"
#include "bench/traffic.hpp"
#include "toolkit/base/child.hpp"

namespace lkm::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBytes = std::size_t{1} << 30;

struct Pair {
  fs::path with, without;
};

Result<Pair> build(const Options& options, const fs::path& sources, const fs::path& work) {
  LKM_TRY(ModuleBuild build, ModuleBuild::open({.folder = sources,
                                                .kernel = options.image,
                                                .work = work / "work",
                                                .plugins = work / "plugins",
                                                .linker = options.source / "Kbuild" / "plugin",
                                                .compile_commands = false}));
  LKM_TRY(const BuildResult built, build.run());
  const BuiltModule& module = built.modules.front();
  const fs::path without = work / "without" / (module.name + ".so");
  std::error_code error;
  fs::create_directory(without.parent_path(), error);
  LKM_TRY(Child linker, Child::spawn({.argv = {(options.source / "Kbuild" / "plugin").string(), module.ko.string(),
                                               without.string(), "--image", options.image.string(), "--no-ledger"},
                                      .out = Child::Output::kNull}));
  LKM_TRY(const ExitStatus status, linker.wait());
  if (!status.success()) return fail(EIO, "Kbuild/plugin --no-ledger exits with {}", status.code);
  return Pair{module.plugin, without};
}

Result<double> rate(Stack& stack, const fs::path& plugin, const std::string& control) {
  LKM_CHECK(stack.load(plugin.string()));
  LKM_TRY(const double rate,
          bulk_gbit_s(StackCalls{stack}, StackFibers{stack}, Buffers::k256KiB, kBytes, control.c_str()));
  // The last references of its sockets go with RCU.
  auto unloaded = stack.unload(control);
  for (int i = 0; i < 1000 && !unloaded; ++i) {
    stack.sleep_for(std::chrono::milliseconds(10));
    unloaded = stack.unload(control);
  }
  LKM_CHECK(unloaded);
  return rate;
}

Result<Row> compare(Stack& stack, const Pair& plugins, const std::string& control, std::size_t rounds) {
  std::vector<double> with, without;
  for (std::size_t round = 0; round < rounds; ++round) {
    LKM_TRY(const double theirs, rate(stack, plugins.without, control));
    LKM_TRY(const double ours, rate(stack, plugins.with, control));
    without.push_back(theirs);
    with.push_back(ours);
  }
  return Row{.name = fmt::format("bulk TCP by {}, its calls in the ledger", control),
             .unit = "Gbit/s",
             .ours = median(with),
             .peer = "the same build, linked without it",
             .theirs = median(without),
             .floor = Floor{Floor::Of::kRatioAtLeast, 0.95}};
}

}  // namespace

Result<Rows> ledger_part(const Options& options) {
  LKM_TRY(TempDir folder, TempDir::make("lkm-bench-"));
  Rows rows;
  std::vector<std::pair<std::string, Pair>> pairs;
  for (const auto& [control, parent] : {std::pair("aimd", "modules"), std::pair("busycc", "bench/modules")}) {
    const fs::path sources = folder.path() / control;
    std::error_code error;
    fs::create_directories(folder.path() / (std::string(control) + "-build"), error);
    fs::copy(options.source / parent / control, sources, fs::copy_options::recursive, error);
    if (error) return fail(error.value(), "copy {}/{}", parent, control);
    LKM_TRY(Pair pair, build(options, sources, folder.path() / (std::string(control) + "-build")));
    pairs.emplace_back(control, std::move(pair));
  }
  return with_stack(options, [&](Stack& stack) -> Result<Rows> {
    for (const auto& [control, plugins] : pairs) {
      LKM_TRY(Row row, compare(stack, plugins, control, options.rounds));
      rows.push_back(std::move(row));
    }
    return rows;
  });
}

}  // namespace lkm::bench

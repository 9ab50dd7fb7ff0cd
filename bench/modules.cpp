// SPDX-License-Identifier: GPL-2.0
//
// Loading, unloading and swapping modules, and the whole way from a saved source to the swap.
#include <poll.h>
#include <sched.h>
#include <sys/utsname.h>

#include <cstring>
#include <fstream>

#include "bench/parts.hpp"
#include "bench/traffic.hpp"
#include "toolkit/base/child.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/build/module_build.hpp"
#include "toolkit/flow/flow.hpp"
#include "toolkit/net/links.hpp"
#include "toolkit/watch/watcher.hpp"

namespace lkm::bench {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr std::size_t kLoads = 200;
constexpr std::size_t kFlows = 100;
constexpr std::size_t kSwaps = 20;

double milliseconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

// A copy of modules/aimd that is edited and built again and again.
class EditedModule {
 public:
  static Result<EditedModule> make(const Options& options, bool fast = false) {
    LKM_TRY(TempDir folder, TempDir::make("lkm-bench-"));
    const fs::path sources = folder.path() / "aimd";
    std::error_code error;
    fs::copy(options.source / "modules" / "aimd", sources, fs::copy_options::recursive, error);
    if (error) return fail(error.value(), "copy modules/aimd to '{}'", sources.string());
    LKM_TRY(ModuleBuild build, ModuleBuild::open({.folder = sources,
                                                  .kernel = options.image,
                                                  .work = folder.path() / "work",
                                                  .plugins = folder.path() / "plugins",
                                                  .linker = options.source / "Kbuild" / "plugin",
                                                  .compile_commands = false,
                                                  .fast = fast}));
    return EditedModule(std::move(folder), std::move(build));
  }

  /// Saves the source with a difference that reaches the object file.
  Result<void> save() {
    std::ofstream file(source(), std::ios::app);
    file << fmt::format("MODULE_INFO(bench_edit, \"{}\");\n", ++edits_);
    file.close();
    if (!file) return fail(EIO, "write '{}'", source().string());
    return {};
  }
  Result<fs::path> build() {
    LKM_TRY(built_, build_.run());
    return built_.modules.front().plugin;
  }
  /// What lkm-run watch does in the background after a build: the header for the next one, or
  /// Kbuild's word on this one, which must be that it is the same.
  Result<void> settle() {
    if (!built_.fast) {
      LKM_TRY(const bool prepared, build_.prepare());
      if (!prepared) return fail(EIO, "the module cannot take the fast path");
      return {};
    }
    LKM_TRY(const Verdict verdict, build_.judge(built_));
    if (verdict.kind != Verdict::Kind::kAgrees) return fail(EIO, "Kbuild does not agree");
    return {};
  }
  [[nodiscard]] bool fast() const { return built_.fast; }
  [[nodiscard]] fs::path sources() const { return folder_.path() / "aimd"; }

 private:
  EditedModule(TempDir folder, ModuleBuild build)
      : folder_(std::move(folder)), build_(std::move(build)) {}
  [[nodiscard]] fs::path source() const { return sources() / "aimd.c"; }

  TempDir folder_;
  ModuleBuild build_;
  BuildResult built_;
  unsigned edits_ = 0;
};

Result<Rows> measure_loads(Stack& stack) {
  std::vector<double> loads;
  std::vector<double> unloads;
  for (std::size_t i = 0; i < kLoads; ++i) {
    const auto start = steady_clock::now();
    LKM_CHECK(stack.load("tcp_vegas"));
    const auto loaded = steady_clock::now();
    LKM_CHECK(stack.unload("tcp_vegas"));
    loads.push_back(milliseconds(loaded - start));
    unloads.push_back(milliseconds(steady_clock::now() - loaded));
  }
  return Rows{{.name = "load of a congestion control (tcp_vegas)",
               .unit = "ms",
               .ours = median(loads),
               .floor = Floor{Floor::Of::kOursAtMost, 0.3}},
              {.name = "unload of it", .unit = "ms", .ours = median(unloads)}};
}

// Live flows over an emulated link, and a module that all of them use. Each flow must end intact.
Result<Rows> measure_swaps(Stack& stack, const std::vector<fs::path>& generations) {
  LKM_CHECK(stack.load(generations.front()));
  Links links(stack);
  const LinkSpec path{.a = "client", .b = "server", .rate = 1'000'000'000, .delay = 5ms};
  LKM_CHECK(links.add(path));
  std::vector<std::shared_ptr<Flow>> flows;
  for (std::size_t i = 0; i < kFlows; ++i) {
    LKM_TRY(auto flow,
            Flow::start(stack, {.route = {.client = path.a, .server = path.b, .control = "aimd"},
                                .seed = i}));
    flows.push_back(std::move(flow));
  }
  Rows rows;
  std::size_t build = 0;
  for (const StatePolicy policy : {StatePolicy::kKeep, StatePolicy::kReinit}) {
    const bool keep = policy == StatePolicy::kKeep;
    std::vector<double> blackouts;
    for (std::size_t i = 0; i < kSwaps; ++i) {
      stack.sleep_for(50ms);  // under way, not in step with the swap
      build = build % (generations.size() - 1) + 1;
      LKM_TRY(const SwapReport report, stack.swap(generations[build], {.state = policy, .parameters = ""}));
      if (keep && report.method != SwapMethod::kRenewed)
        return fail(EIO, "a swap was not in place: {}", report.not_in_place);
      if (!keep && report.established < 2 * kFlows)
        return fail(EIO, "a swap moved {} established sockets of {}", report.established, 2 * kFlows);
      blackouts.push_back(milliseconds(report.blackout));
    }
    const std::string way = keep ? "in place" : "sockets moved";
    rows.push_back({.name = fmt::format("blackout of a swap, {} live flows on it, {}", kFlows, way),
                    .unit = "ms",
                    .ours = median(blackouts),
                    .floor = Floor{Floor::Of::kOursAtMost, 1}});
    rows.push_back({.name = fmt::format("longest of {} such blackouts", kSwaps),
                    .unit = "ms",
                    .ours = *std::max_element(blackouts.begin(), blackouts.end())});
  }
  for (const auto& flow : flows) flow->stop();
  for (const auto& flow : flows) {
    flow->wait(stack.now() + 20s);
    const FlowReport report = flow->report();
    if (report.state != FlowState::kDone)
      return fail(EIO, "a flow lost bytes over the swaps: {}", report.error);
  }
  return rows;
}

// The folder to build against on the host: what a developer without the library would use.
std::optional<fs::path> host_kernel_headers() {
  utsname host{};
  ::uname(&host);
  std::vector<fs::path> candidates{fs::path("/lib/modules") / host.release / "build"};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/lib/modules", error))
    candidates.push_back(entry.path() / "build");
  for (const fs::path& folder : candidates)
    if (fs::exists(folder / "Makefile")) return folder;
  return std::nullopt;
}

Result<double> make_seconds(const fs::path& headers, const fs::path& sources) {
  const auto start = steady_clock::now();
  LKM_TRY(
      Child make,
      Child::spawn({.argv = {"make", "-C", headers.string(), "M=" + sources.string(), "modules"},
                    .out = Child::Output::kNull,
                    .err = Child::Output::kNull}));
  LKM_TRY(const ExitStatus status, make.wait());
  if (!status.success())
    return fail(EIO, "make in '{}' exits with {}", sources.string(), status.code);
  return seconds_since(start);
}

}  // namespace

Result<Rows> modules_part(const Options& options) {
  LKM_TRY(EditedModule module, EditedModule::make(options));
  std::vector<fs::path> generations;
  for (int i = 0; i < 4; ++i) {
    LKM_CHECK(module.save());
    LKM_TRY(fs::path plugin, module.build());
    generations.push_back(std::move(plugin));
  }
  return with_stack(options, [&](Stack& stack) -> Result<Rows> {
    LKM_TRY(Rows rows, measure_loads(stack));
    LKM_TRY(Rows swaps, measure_swaps(stack, generations));
    rows.insert(rows.end(), swaps.begin(), swaps.end());
    return rows;
  });
}

Result<Rows> rebuild_part(const Options& options) {
  // A compiler beside a stack is what two CPUs are for.
  cpu_set_t every;
  std::memset(&every, 0xff, sizeof every);
  if (::sched_setaffinity(0, sizeof every, &every) != 0) return fail(errno, "use all CPUs");

  LKM_TRY(EditedModule fast, EditedModule::make(options, true));
  LKM_TRY(EditedModule kbuild, EditedModule::make(options));
  LKM_TRY(EditedModule peer, EditedModule::make(options));
  const auto headers = host_kernel_headers();
  LKM_TRY(const fs::path first, fast.build());
  LKM_CHECK(fast.settle());
  LKM_CHECK(kbuild.build());
  if (headers) LKM_CHECK(make_seconds(*headers, peer.sources()));
  return with_stack(options, [&](Stack& stack) -> Result<Rows> {
    LKM_CHECK(stack.load(first));
    // As lkm-run watch does it, from the save on.
    const auto save_to_live = [&](EditedModule& module) -> Result<double> {
      LKM_TRY(Watcher watcher, Watcher::open(module.sources()));
      const auto start = steady_clock::now();
      LKM_CHECK(module.save());
      for (;;) {
        LKM_CHECK(stack.wait_fd(watcher.fd(), POLLIN));
        LKM_TRY(const auto change, watcher.next());
        if (change) break;
      }
      LKM_TRY(const fs::path plugin, module.build());
      LKM_CHECK(stack.swap(plugin));
      return seconds_since(start);
    };
    std::vector<double> replayed;
    std::vector<double> built;
    std::vector<double> theirs;
    for (std::size_t round = 0; round < options.rounds; ++round) {
      LKM_TRY(const double took, save_to_live(fast));
      if (!fast.fast()) return fail(EIO, "an edit of one source did not take the fast path");
      replayed.push_back(took);
      LKM_CHECK(fast.settle());
      LKM_TRY(const double full, save_to_live(kbuild));
      built.push_back(full);
      if (!headers) continue;
      LKM_CHECK(peer.save());
      LKM_TRY(const double make, make_seconds(*headers, peer.sources()));
      theirs.push_back(make);
    }
    Row row{.name = "save to live of a congestion control, debounce and swap included",
            .unit = "s",
            .ours = median(replayed),
            .peer = "the same with a full Kbuild",
            .theirs = median(built),
            .floor = Floor{Floor::Of::kRatioAtMost, 1.0 / 3}};
    Row full{.name = "save to live with a full Kbuild", .unit = "s", .ours = median(built)};
    if (!theirs.empty()) {
      full.peer = "make modules for the host's kernel, without rmmod and insmod";
      full.theirs = median(theirs);
    }
    return Rows{std::move(row), std::move(full)};
  });
}

}  // namespace lkm::bench

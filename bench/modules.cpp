// SPDX-License-Identifier: GPL-2.0
//
// Loading and unloading modules, and the whole way from a saved source to the swap.
#include <poll.h>
#include <sched.h>
#include <sys/utsname.h>

#include <cstring>

#include "bench/edited_module.hpp"
#include "bench/parts.hpp"
#include "bench/traffic.hpp"
#include "toolkit/base/child.hpp"
#include "toolkit/watch/watcher.hpp"

namespace lkm::bench {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr std::size_t kLoads = 200;

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
  return with_stack(options, measure_loads);
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

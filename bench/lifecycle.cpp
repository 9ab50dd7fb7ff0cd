// SPDX-License-Identifier: GPL-2.0
//
// Booting, and doing nothing.
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "bench/parts.hpp"

namespace lkm::bench {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

double milliseconds(steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  double size = 0;
  double resident = 0;
  statm >> size >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 0x1p20;
}

}  // namespace

Result<Rows> with_stack(const Options& options, const std::function<Result<Rows>(Stack&)>& body) {
  Result<Rows> rows = Rows{};
  LKM_CHECK(Stack::run(
      {.library = options.image / "libos.so", .module_path = {options.image / "modules"}},
      [&](Stack& stack) {
        rows = body(stack);
        return 0;
      }));
  return rows;
}

Result<Rows> boot_part(const Options& options) {
  const auto start = steady_clock::now();
  return with_stack(options, [&](Stack&) -> Result<Rows> {
    return Rows{{.name = "boot, from the call to the first fiber",
                 .unit = "ms",
                 .ours = milliseconds(steady_clock::now() - start),
                 .floor = Floor{Floor::Of::kOursAtMost, 15}}};
  });
}

Result<Rows> idle_part(const Options& options) {
  return with_stack(options, [](Stack& stack) -> Result<Rows> {
    constexpr auto kSettle = 1s;  // what boot left to be done later
    constexpr auto kWatch = 3s;
    stack.sleep_for(kSettle);
    const double before = cpu_seconds();
    const auto start = steady_clock::now();
    stack.sleep_for(kWatch);
    const double wall = milliseconds(steady_clock::now() - start) / 1e3;
    const double share = (cpu_seconds() - before) / wall;
    return Rows{{.name = "resident memory of an idle stack",
                 .unit = "MiB",
                 .ours = resident_mib(),
                 .floor = Floor{Floor::Of::kOursAtMost, 32}},
                {.name = "CPU time of an idle stack",
                 .unit = "%",
                 .ours = share * 100,
                 .floor = Floor{Floor::Of::kOursAtMost, 0.1}}};
  });
}

}  // namespace lkm::bench

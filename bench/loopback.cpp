// SPDX-License-Identifier: GPL-2.0
//
// System calls and loopback traffic of the library, by fibers and by threads of the program,
// against the host's kernel with two threads. All on the one CPU that this process is bound to.
#include "bench/parts.hpp"
#include "bench/traffic.hpp"

namespace lkm::bench {
namespace {

Rows rows(const char* mode, const Measured& measured, std::optional<Floor> ping_floor,
          Floor bulk_floor) {
  const std::string peer = "the host's kernel, two threads on the same CPU, cubic";
  return {{.name = fmt::format("getppid(), {}", mode),
           .unit = "ns",
           .ours = measured.syscall_ns.ours,
           .peer = "the host's kernel",
           .theirs = measured.syscall_ns.theirs},
          {.name = fmt::format("ping-pong of 1 byte, {}", mode),
           .unit = "us",
           .ours = measured.ping_us.ours,
           .peer = peer,
           .theirs = measured.ping_us.theirs,
           .floor = ping_floor},
          // The floor holds for buffers of one size: what autotuning makes of them depends on the kernel's
          // version (tcp_rmem) and on how soon the reader runs.
          {.name = fmt::format("bulk TCP, 64 KiB writes, 256 KiB buffers, {}", mode),
           .unit = "Gbit/s",
           .ours = measured.bulk_gbit_s.ours,
           .peer = peer,
           .theirs = measured.bulk_gbit_s.theirs,
           .floor = bulk_floor},
          {.name = fmt::format("bulk TCP, 64 KiB writes, buffers autotuned, {}", mode),
           .unit = "Gbit/s",
           .ours = measured.autotuned_gbit_s.ours,
           .peer = peer,
           .theirs = measured.autotuned_gbit_s.theirs}};
}

}  // namespace

Result<Rows> fibers_part(const Options& options) {
  return with_stack(options, [&](Stack& stack) -> Result<Rows> {
    LKM_TRY(const Measured measured,
            compare(StackCalls{stack}, StackFibers{stack}, options.rounds));
    return rows("fibers", measured, Floor{Floor::Of::kRatioAtMost, 0.5},
                Floor{Floor::Of::kRatioAtLeast, 2.5});
  });
}

Result<Rows> threads_part(const Options& options) {
  LKM_TRY(const auto stack, Stack::boot({.library = options.image / "libos.so"}));
  LKM_TRY(const Measured measured, compare(StackCalls{*stack}, HostThreads{}, options.rounds));
  return rows("two threads", measured, std::nullopt, Floor{Floor::Of::kRatioAtLeast, 1.5});
}

}  // namespace lkm::bench

// SPDX-License-Identifier: GPL-2.0
//
// The library with both ends as fibers, against the host's kernel with two threads; both on the one
// CPU that this process is bound to, and in turns, so that a change of the machine's mood hits
// both.
#include "bench/parts.hpp"
#include "bench/traffic.hpp"

namespace lkm::bench {
namespace {

constexpr long kSyscalls = 1'000'000;
constexpr long kPings = 20'000;
constexpr std::size_t kBulk = std::size_t{1} << 30;

}  // namespace

Result<Rows> fibers_part(const Options& options) {
  return with_stack(options, [&](Stack& stack) -> Result<Rows> {
    const StackCalls library{stack};
    const StackFibers fibers{stack};
    const HostCalls host;
    const HostThreads threads;
    std::vector<double> syscall[2], ping[2], bulk[2];
    for (std::size_t round = 0; round < options.rounds; ++round) {
      syscall[0].push_back(syscall_ns(library, kSyscalls));
      syscall[1].push_back(syscall_ns(host, kSyscalls));
      LKM_TRY(const double library_ping, ping_pong_us(library, fibers, kPings));
      LKM_TRY(const double host_ping, ping_pong_us(host, threads, kPings));
      ping[0].push_back(library_ping);
      ping[1].push_back(host_ping);
      LKM_TRY(const double library_bulk, bulk_gbit_s(library, fibers, kBulk));
      LKM_TRY(const double host_bulk, bulk_gbit_s(host, threads, kBulk));
      bulk[0].push_back(library_bulk);
      bulk[1].push_back(host_bulk);
    }
    const std::string peer = "the host's kernel, two threads on the same CPU, cubic";
    return Rows{{.name = "getppid()",
                 .unit = "ns",
                 .ours = median(syscall[0]),
                 .peer = "the host's kernel",
                 .theirs = median(syscall[1])},
                {.name = "ping-pong of 1 byte, TCP loopback, fibers",
                 .unit = "us",
                 .ours = median(ping[0]),
                 .peer = peer,
                 .theirs = median(ping[1]),
                 .floor = Floor{Floor::Of::kRatioAtMost, 0.5}},
                {.name = "bulk by 64 KiB writes, TCP loopback, fibers",
                 .unit = "Gbit/s",
                 .ours = median(bulk[0]),
                 .peer = peer,
                 .theirs = median(bulk[1]),
                 .floor = Floor{Floor::Of::kRatioAtLeast, 2.5}}};
  });
}

}  // namespace lkm::bench

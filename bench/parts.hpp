// SPDX-License-Identifier: GPL-2.0
//
// The parts of the benchmark. Each runs in a process of its own, since a process can boot one
// stack.
#pragma once

#include <filesystem>
#include <vector>

#include "bench/row.hpp"
#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/result.hpp"

namespace lkm::bench {

struct Options {
  std::filesystem::path image;   ///< what Kbuild/kernel prints
  std::filesystem::path source;  ///< top of this tree: modules/aimd and Kbuild/plugin are used
  std::size_t rounds = 7;        ///< of each measurement; the median counts
};

using Rows = std::vector<Row>;

Result<Rows> boot_part(const Options& options);     ///< time to boot, once per call
Result<Rows> idle_part(const Options& options);     ///< memory and CPU time of a stack with no work
Result<Rows> fibers_part(const Options& options);   ///< ends are fibers, against the host
Result<Rows> threads_part(const Options& options);  ///< embedded mode, against the same
Result<Rows> modules_part(const Options& options);  ///< load and unload
Result<Rows> swaps_part(const Options& options);    ///< swaps under live flows; takes minutes
Result<Rows> reshape_part(const Options& options);  ///< swaps that change the structure of live sockets
Result<Rows> snapshot_part(const Options& options);  ///< copies of a stack, by the memory that it has touched
Result<Rows> growth_part(const Options& options);   ///< what is left of ten thousand swaps; takes minutes
Result<Rows> ledger_part(const Options& options);   ///< the cost of the ledger, under traffic
Result<Rows> rebuild_part(const Options& options);  ///< from a saved source to the swapped module
/// A dumbbell in virtual time, at 10, 100 and 1000 Mbit/s, and with 100 flows at 100 Mbit/s; once per call.
Result<Rows> lab_10_part(const Options& options);
Result<Rows> lab_100_part(const Options& options);
Result<Rows> lab_1000_part(const Options& options);
Result<Rows> lab_flows_part(const Options& options);
Result<Rows> lab_growth_part(const Options& options);  ///< time for a packet among 1 to 1000 flows
Result<Rows> lab_save_part(const Options& options);    ///< from a saved source to the plot in a browser

Result<Rows> programs_part(const Options& options);  ///< lkm-run exec, against the same programs on the host
Result<Rows> embedded_part(const Options& options);  ///< exec --embed
Result<Rows> wires_part(const Options& options);     ///< frames through the memory of a memif, against a socket
int ping_pong_of_threads();                         ///< a program that this part runs: microseconds
int bulk_of_threads();                              ///< another: Gbit/s
int ping_pong();                                    ///< a program that this part runs

/// A stack of this image with the default options, running `body`.
Result<Rows> with_stack(const Options& options, const std::function<Result<Rows>(Stack&)>& body);

}  // namespace lkm::bench

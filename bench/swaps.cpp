// SPDX-License-Identifier: GPL-2.0
//
// What a swap costs those who are connected: the pause, what others see of it, and what is left of
// ten thousand.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "bench/edited_module.hpp"
#include "bench/parts.hpp"
#include "modules/telex/telex_user.h"
#include "toolkit/base/file.hpp"
#include "toolkit/flow/flow.hpp"
#include "toolkit/net/links.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::bench {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::size_t kSwaps = 1000;
constexpr std::size_t kTurns = 50;
constexpr std::size_t kManySwaps = 10'000;
constexpr std::size_t kSubjects = 500;  // flows on the control, with a socket at each end
constexpr std::size_t kBystanders = 100;

using FlowList = std::vector<std::shared_ptr<Flow>>;

double quantile(std::vector<double> values, double q) {
  const auto at = std::size_t(std::ceil(q * double(values.size()))) - 1;
  std::nth_element(values.begin(), values.begin() + std::ptrdiff_t(at), values.end());
  return values[at];
}

/// Builds of one module that take turns.
class Generations {
 public:
  static Result<Generations> make(const Options& options) {
    LKM_TRY(EditedModule module, EditedModule::make(options));
    std::vector<fs::path> plugins;
    for (int i = 0; i < 4; ++i) {
      LKM_CHECK(module.save());
      LKM_TRY(fs::path plugin, module.build());
      plugins.push_back(std::move(plugin));
    }
    return Generations(std::move(module), std::move(plugins));
  }
  [[nodiscard]] const fs::path& first() const { return plugins_.front(); }
  const fs::path& next() { return plugins_[turn_ = turn_ % (plugins_.size() - 1) + 1]; }

 private:
  Generations(EditedModule module, std::vector<fs::path> plugins)
      : module_(std::move(module)), plugins_(std::move(plugins)) {}

  EditedModule module_;
  std::vector<fs::path> plugins_;
  std::size_t turn_ = 0;
};

Result<FlowList> start(Stack& stack, std::size_t count, const FlowSpec& like) {
  FlowList flows;
  for (std::size_t i = 0; i < count; ++i) {
    FlowSpec spec = like;
    spec.seed = i;
    LKM_TRY(auto flow, Flow::start(stack, spec));
    flows.push_back(std::move(flow));
  }
  return flows;
}

/// Ends them. Each must end intact. The longest gap that any of them saw, in ms.
Result<double> finish(Stack& stack, const FlowList& flows) {
  double longest = 0;
  for (const auto& flow : flows) flow->stop();
  for (const auto& flow : flows) {
    flow->wait(stack.now() + 60s);
    const FlowReport report = flow->report();
    if (report.state != FlowState::kDone) {
      return fail(EIO, "a flow on {} lost bytes: {}", report.client_control, report.error);
    }
    longest = std::max(longest, milliseconds(report.gaps.max));
  }
  return longest;
}

/// A thousand swaps of each kind under flows on the module, beside flows on cubic over another
/// link: requests of 64 bytes, whose round trips take 2 ms and what the stack's pauses add. The longest
/// round trip is that of one moment, also of the host's: so the swaps come in turns with as long a time
/// without them, and the medians of the turns' longest are compared.
Result<Rows> swap_under(Stack& stack, Generations& builds, std::size_t flows, StatePolicy policy) {
  Links links(stack);
  const std::string tag = fmt::format("{}{}", flows, policy == StatePolicy::kKeep ? "k" : "r");
  // A rate that leaves the CPU idle at times, or the bystanders would measure who runs first.
  const LinkSpec path{.a = "client" + tag, .b = "server" + tag, .rate = 200'000'000, .delay = 5ms};
  const LinkSpec aside{.a = "left" + tag, .b = "right" + tag, .rate = 1'000'000'000, .delay = 1ms};
  LKM_CHECK(links.add(path));
  LKM_CHECK(links.add(aside));
  // Requests: streams would fill the queue, and each further connection would have to wait for its
  // turn there.
  LKM_TRY(const FlowList subjects,
          start(stack, flows,
                {.kind = FlowKind::kRequests,
                 .route = {.client = path.a, .server = path.b, .control = "aimd"},
                 .interval = 50ms}));
  const FlowSpec bystander{.kind = FlowKind::kRequests,
                           .route = {.client = aside.a, .server = aside.b, .control = "cubic"},
                           .interval = 2ms};

  const auto longest_while = [&](auto body) -> Result<double> {
    LKM_TRY(const FlowList bystanders, start(stack, kBystanders, bystander));
    LKM_CHECK(body());
    return finish(stack, bystanders);
  };
  std::vector<double> blackouts;
  std::vector<double> transfers;
  const auto swap = [&]() -> Result<void> {
    LKM_TRY(const SwapReport report,
            stack.swap(builds.next(), {.state = policy, .parameters = ""}));
    const bool in_place = report.method == SwapMethod::kRenewed;
    if (in_place != (policy == StatePolicy::kKeep)) {
      return fail(EIO, "a swap went another way: {}", report.not_in_place);
    }
    if (!in_place && report.established < 2 * flows) {
      return fail(EIO, "a swap moved {} sockets of {}", report.established, 2 * flows);
    }
    blackouts.push_back(milliseconds(report.blackout));
    if (!in_place) transfers.push_back(milliseconds(report.transfer) * 1000 / report.sockets);
    return {};
  };
  std::vector<double> gaps;
  std::vector<double> gaps_without;
  for (std::size_t turn = 0; turn < kTurns; ++turn) {
    StackTime turn_took{};
    LKM_TRY(const double with, longest_while([&]() -> Result<void> {
              const auto since = stack.now();
              for (std::size_t i = 0; i < kSwaps / kTurns; ++i) {
                stack.sleep_for(10ms);  // under way, not in step with the swap
                LKM_CHECK(swap());
              }
              turn_took = stack.now() - since;
              return {};
            }));
    LKM_TRY(const double without, longest_while([&]() -> Result<void> {
              stack.sleep_for(turn_took);
              return {};
            }));
    gaps_without.push_back(without);
    gaps.push_back(with);
  }
  LKM_CHECK(finish(stack, subjects));

  const std::string what = fmt::format("{} swaps, {} live sockets, {}", kSwaps, 2 * flows,
                                       policy == StatePolicy::kKeep ? "in place" : "sockets moved");
  Rows rows{{.name = "blackout of " + what + ", median", .unit = "ms", .ours = median(blackouts)},
            {.name = "the same, 99th percentile",
             .unit = "ms",
             .ours = quantile(blackouts, 0.99),
             .floor = Floor{Floor::Of::kOursAtMost, 1}},
            {.name = "the same, longest", .unit = "ms", .ours = quantile(blackouts, 1)},
            {.name = fmt::format("longest round trip of {} bystanders meanwhile", kBystanders),
             .unit = "ms",
             .ours = median(gaps),
             .peer = "the same flows without swaps",
             .theirs = median(gaps_without),
             .floor = Floor{Floor::Of::kRatioAtMost, 1.25}}};
  if (!transfers.empty()) {
    rows.push_back({.name = "moving a socket", .unit = "us", .ours = median(transfers)});
  }
  return rows;
}

struct Footprint {
  double resident_mib = 0;
  std::size_t descriptors = 0;
  std::size_t mappings = 0;
};

Result<Footprint> footprint() {
  LKM_TRY(const std::string statm, read_file("/proc/self/statm"));
  LKM_TRY(const std::string maps, read_file("/proc/self/maps"));
  Footprint now;
  now.resident_mib =
      double(std::stoull(statm.substr(statm.find(' ')))) * double(::getpagesize()) / (1 << 20);
  now.mappings = std::size_t(std::ranges::count(maps, '\n'));
  now.descriptors = std::size_t(std::distance(fs::directory_iterator("/proc/self/fd"), {}));
  return now;
}

Result<Rows> swap_many_times(Stack& stack, Generations& builds) {
  Links links(stack);
  const LinkSpec path{.a = "one", .b = "two", .rate = 100'000'000, .delay = 1ms};
  LKM_CHECK(links.add(path));
  LKM_TRY(const FlowList flows,
          start(stack, 4, {.route = {.client = path.a, .server = path.b, .control = "aimd"}}));
  const auto swap = [&](std::size_t times) -> Result<void> {
    for (std::size_t i = 0; i < times; ++i) {
      LKM_CHECK(stack.swap(builds.next()));
      stack.yield();
    }
    return {};
  };
  LKM_CHECK(swap(kManySwaps / 100));
  LKM_TRY(const Footprint before, footprint());
  LKM_CHECK(swap(kManySwaps));
  LKM_TRY(const Footprint after, footprint());
  LKM_CHECK(finish(stack, flows));

  const auto row = [](std::string what, std::string unit, double now, double then, double limit) {
    return Row{.name = fmt::format("{} after {} swaps", what, kManySwaps),
               .unit = std::move(unit),
               .ours = now,
               .peer = fmt::format("after the first {}", kManySwaps / 100),
               .theirs = then,
               .floor = Floor{Floor::Of::kRatioAtMost, limit}};
  };
  return Rows{row("resident memory", "MiB", after.resident_mib, before.resident_mib, 1.1),
              row("open descriptors", "", double(after.descriptors), double(before.descriptors), 1),
              row("memory mappings", "", double(after.mappings), double(before.mappings), 1.1)};
}

}  // namespace

Result<Rows> swaps_part(const Options& options) {
  LKM_TRY(Generations builds, Generations::make(options));
  return with_stack(options, [&](Stack& stack) -> Result<Rows> {
    LKM_CHECK(stack.load(builds.first()));
    Rows rows;
    for (const StatePolicy policy : {StatePolicy::kKeep, StatePolicy::kReinit}) {
      LKM_TRY(const Rows these, swap_under(stack, builds, kSubjects, policy));
      rows.insert(rows.end(), these.begin(), these.end());
    }
    return rows;
  });
}

Result<Rows> reshape_part(const Options& options) {
  constexpr std::size_t kReshapes = 50;
  LKM_TRY(EditedModule telex, EditedModule::make(options, false, "telex"));
  LKM_TRY(const fs::path plain, telex.build());
  LKM_CHECK(telex.replace("telex.h", "\tu32\tsnd_una;", "\tu64\textra;\n\tu32\tsnd_una;"));
  LKM_TRY(const fs::path larger, telex.build());
  return with_stack(options, [&](Stack& stack) -> Result<Rows> {
    LKM_CHECK(stack.load(plain));
    Links links(stack);
    const LinkSpec path{.a = "one", .b = "two", .rate = 100'000'000, .delay = 1ms};
    LKM_CHECK(links.add(path));
    LKM_TRY(const FlowList flows,
            start(stack, 4,
                  {.route = {.client = path.a, .server = path.b, .transport = Transport::kTelex}}));
    Rows rows;
    std::vector<StackFd> sockets;
    for (const std::size_t count : {10, 1000}) {
      while (sockets.size() < count) {
        LKM_TRY(StackFd socket, socket_in(stack, path.a, AF_INET, SOCK_SEQPACKET, IPPROTO_TELEX));
        sockets.push_back(std::move(socket));
      }
      std::vector<double> blackouts;
      for (std::size_t i = 0; i < kReshapes; ++i) {
        stack.sleep_for(10ms);
        LKM_TRY(const SwapReport report, stack.swap(i % 2 == 0 ? larger : plain));
        if (report.method != SwapMethod::kRenewed || report.state_remarks.empty()) {
          return fail(EIO, "a swap went another way: {}", report.not_in_place);
        }
        blackouts.push_back(milliseconds(report.blackout));
      }
      const std::string what = fmt::format("blackout of a swap that rearranges {} sockets", count);
      rows.push_back({.name = what + ", median", .unit = "ms", .ours = median(blackouts)});
      rows.push_back({.name = "the same, longest", .unit = "ms", .ours = quantile(blackouts, 1)});
    }
    LKM_CHECK(finish(stack, flows));
    return rows;
  });
}

Result<Rows> snapshot_part(const Options& options) {
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  constexpr std::size_t kCopies = 21;
  LKM_TRY(Generations builds, Generations::make(options));
  Rows rows;
  const auto body = [&](Stack& stack) -> Result<void> {
    LKM_CHECK(stack.load(builds.first()));
    Links links(stack);
    const LinkSpec path{.a = "one", .b = "two", .rate = 100'000'000, .delay = 1ms};
    LKM_CHECK(links.add(path));
    LKM_TRY(const FlowList flows,
            start(stack, 4, {.route = {.client = path.a, .server = path.b, .control = "aimd"}}));
    const long file = stack.syscall(SYS_open, "/touched", O_WRONLY | O_CREAT, 0600);
    if (file < 0) return fail(int(-file), "open a file of the stack");
    const std::vector<char> page(kMiB, 'x');
    std::size_t touched = 0;
    for (const std::size_t wanted : {0, 64, 256, 512}) {
      for (; touched < wanted; ++touched) {
        if (stack.syscall(SYS_write, file, page.data(), page.size()) != long(page.size()))
          return fail(EIO, "write");
      }
      std::vector<double> copies;
      for (std::size_t i = 0; i < kCopies; ++i) {
        LKM_TRY(const SwapReport report,
                stack.swap(builds.next(), {.snapshot = true, .probation = 1ms, .parameters = ""}));
        copies.push_back(milliseconds(report.snapshot));
        stack.sleep_for(20ms);
      }
      Row row{.name = fmt::format("snapshot of a stack that has touched {} MiB besides, median",
                                  wanted),
              .unit = "ms",
              .ours = median(copies)};
      if (wanted <= 64)
        row.floor = Floor{Floor::Of::kOursAtMost, 10};  // more than a stack has by default
      rows.push_back(std::move(row));
    }
    stack.syscall(SYS_close, file);
    LKM_CHECK(finish(stack, flows));
    return {};
  };
  Result<void> done;
  LKM_CHECK(Stack::run({.library = options.image / "libos.so",
                        .module_path = {options.image / "modules"},
                        .memory = std::size_t{1} << 30},
                       [&](Stack& stack) {
                         done = body(stack);
                         return 0;
                       }));
  LKM_CHECK(done);
  return rows;
}

Result<Rows> growth_part(const Options& options) {
  LKM_TRY(Generations builds, Generations::make(options));
  return with_stack(options, [&](Stack& stack) -> Result<Rows> {
    LKM_CHECK(stack.load(builds.first()));
    return swap_many_times(stack, builds);
  });
}

}  // namespace lkm::bench

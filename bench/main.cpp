// SPDX-License-Identifier: GPL-2.0
//
// lkm-bench: measures a stack against what else this machine has, and checks the floors.
#include <getopt.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "bench/parts.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::bench {
namespace {

constexpr const char* kHelp =
    "Usage: lkm-bench --image DIR --source DIR [OPTION]...\n"
    "Measures the library kernel against the host's, in turns and on one CPU (rebuild, lab-save: on all).\n"
    "\n"
    "  --image DIR    the library kernel, as Kbuild/kernel prints it\n"
    "  --source DIR   top of the source tree\n"
    "  --part NAME    only this one: boot, idle, fibers, threads, modules, swaps, reshape,\n"
    "                 snapshot, growth, ledger, rebuild, programs, embedded, wires, lab-10, lab-100, lab-1000,\n"
    "                 lab-flows, lab-growth, lab-save\n"
    "  --rounds N     of each measurement; the median counts (default 7)\n"
    "  --cpu N        bind to this CPU (default: the first allowed one)\n"
    "  --json         one object a line\n"
    "  --check        exit 1 when a floor is missed\n"
    "  -h, --help     this text\n";

struct Part {
  const char* name;
  Result<Rows> (*run)(const Options&);
  bool repeat;  // a round is a process
};

constexpr Part kParts[] = {{"boot", boot_part, true},          {"idle", idle_part, false},
                           {"fibers", fibers_part, false},     {"threads", threads_part, false},
                           {"modules", modules_part, false},   {"swaps", swaps_part, false},
                           {"reshape", reshape_part, false},   {"snapshot", snapshot_part, false},
                             {"growth", growth_part, false},
                           {"ledger", ledger_part, false},     {"rebuild", rebuild_part, false},
                           {"programs", programs_part, false}, {"embedded", embedded_part, false},
                           {"wires", wires_part, false},       {"lab-10", lab_10_part, true},
                           {"lab-100", lab_100_part, true},    {"lab-1000", lab_1000_part, true},
                           {"lab-flows", lab_flows_part, true}, {"lab-growth", lab_growth_part, false},
                           {"lab-save", lab_save_part, false}};

Result<void> bind_to(int cpu) {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return fail(errno, "CPUs of this process");
  if (cpu < 0)
    for (cpu = 0; cpu < CPU_SETSIZE && !CPU_ISSET(cpu, &set); ++cpu) {
    }
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) return fail(errno, "bind to CPU {}", cpu);
  return {};
}

std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

// Runs the part in a child, which sends its rows, or its error as text, through a pipe.
Result<Rows> run_apart(const Part& part, const Options& options) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno, "pipe");
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return fail(errno, "fork");
  if (child == 0) {
    nlohmann::json out = nlohmann::json::array();
    const auto rows = part.run(options);
    if (rows)
      for (const Row& row : *rows) out.push_back(to_json(row));
    else
      out = rows.error().message();
    const std::string text = out.dump();
    std::size_t done = 0;
    while (done < text.size()) {
      const ssize_t count = ::write(writer.get(), text.data() + done, text.size() - done);
      if (count <= 0) break;
      done += static_cast<std::size_t>(count);
    }
    ::_exit(rows ? 0 : 1);
  }
  writer.reset();
  const std::string text = read_all(reader.get());
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status))
    return fail(EIO, "part '{}' ended by signal {}", part.name, WTERMSIG(status));
  const auto out = nlohmann::json::parse(text, nullptr, false);
  if (out.is_string()) return fail(EIO, "part '{}': {}", part.name, out.get<std::string>());
  if (!out.is_array()) return fail(EIO, "part '{}' said '{}'", part.name, text);
  Rows rows;
  for (const auto& object : out) {
    LKM_TRY(Row row, row_from_json(object));
    rows.push_back(std::move(row));
  }
  return rows;
}

// Of a part whose round is a process the fastest counts: the work is always the same, and what else
// the machine does can only add to it.
Result<Rows> run(const Part& part, const Options& options) {
  LKM_TRY(Rows best, run_apart(part, options));
  for (std::size_t round = 1; part.repeat && round < options.rounds; ++round) {
    LKM_TRY(Rows rows, run_apart(part, options));
    if (rows.front().ours < best.front().ours) best = std::move(rows);
  }
  return best;
}

int usage(const std::string& problem) {
  std::fprintf(stderr, "lkm-bench: %s\nHINT: lkm-bench --help\n", problem.c_str());
  return 2;
}

int main_(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--ping-pong") return ping_pong();
  if (argc == 2 && std::string_view(argv[1]) == "--ping-pong-of-threads") return ping_pong_of_threads();
  if (argc == 2 && std::string_view(argv[1]) == "--bulk-of-threads") return bulk_of_threads();
  const option kOptions[] = {{"image", required_argument, nullptr, 'i'},
                             {"source", required_argument, nullptr, 's'},
                             {"part", required_argument, nullptr, 'p'},
                             {"rounds", required_argument, nullptr, 'r'},
                             {"cpu", required_argument, nullptr, 'c'},
                             {"json", no_argument, nullptr, 'j'},
                             {"check", no_argument, nullptr, 'k'},
                             {"help", no_argument, nullptr, 'h'},
                             {}};
  Options options;
  std::string only;
  int cpu = -1;
  bool json = false;
  bool check = false;
  const auto number = [](const char* text, auto& out) {
    const char* end = text + std::string_view(text).size();
    const auto [rest, error] = std::from_chars(text, end, out);
    return error == std::errc{} && rest == end;
  };
  for (int letter = 0; (letter = ::getopt_long(argc, argv, "h", kOptions, nullptr)) != -1;) {
    switch (letter) {
      case 'i':
        options.image = optarg;
        break;
      case 's':
        options.source = optarg;
        break;
      case 'p':
        only = optarg;
        break;
      case 'r':
        if (!number(optarg, options.rounds) || options.rounds == 0)
          return usage("--rounds is a number from 1");
        break;
      case 'c':
        if (!number(optarg, cpu) || cpu < 0) return usage("--cpu is a number from 0");
        break;
      case 'j':
        json = true;
        break;
      case 'k':
        check = true;
        break;
      case 'h':
        std::fputs(kHelp, stdout);
        return 0;
      default:
        return 2;
    }
  }
  if (optind < argc) return usage(fmt::format("unexpected '{}'", argv[optind]));
  if (options.image.empty() || options.source.empty())
    return usage("--image and --source are needed");
  if (auto bound = bind_to(cpu); !bound) return usage(bound.error().message());

  Rows all;
  bool failed = false;
  bool known = only.empty();
  for (const Part& part : kParts) {
    if (!only.empty() && only != part.name) continue;
    known = true;
    std::fprintf(stderr, "%s ...\n", part.name);
    const auto rows = run(part, options);
    if (!rows) {
      std::fprintf(stderr, "lkm-bench: %s\n", rows.error().message().c_str());
      failed = true;
      continue;
    }
    all.insert(all.end(), rows->begin(), rows->end());
  }
  if (!known) return usage(fmt::format("no part '{}'", only));
  if (json)
    for (const Row& row : all) std::printf("%s\n", to_json(row).dump().c_str());
  else
    std::fputs(table(all).c_str(), stdout);
  for (const Row& row : all) failed |= check && row.missed();
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace lkm::bench

int main(int argc, char** argv) { return lkm::bench::main_(argc, argv); }

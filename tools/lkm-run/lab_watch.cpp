// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/lab_watch.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "toolkit/base/child.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/net/units.hpp"
#include "tools/lkm-run/image.hpp"
#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

namespace fs = std::filesystem;
using WallClock = std::chrono::system_clock;

/// A measure beside what it was: "12.3 (+0.4)".
std::string beside(double now, const Json* before, const char* member, double factor, int digits) {
  std::string text = fmt::format("{:.{}f}", now * factor, digits);
  if (before == nullptr) return text;
  const double change = (now - before->value(member, 0.0)) * factor;
  const std::string shown = fmt::format("{:+.{}f}", change, digits);
  // What rounds to nothing is no change.
  return shown.find_first_of("123456789") == std::string::npos ? text + " (=)" : fmt::format("{} ({})", text, shown);
}

const Json* named(const Json* all, const char* key, const std::string& name) {
  if (all == nullptr) return nullptr;
  for (const Json& one : *all) {
    if (one.value(key, "") == name) return &one;
  }
  return nullptr;
}

}  // namespace

Result<LabWatch> LabWatch::open(const fs::path& folder, const std::string& scenario, bool page, Terminal& terminal,
                                Interrupt& interrupt) {
  LKM_TRY(auto watcher, Watcher::open(folder));
  LKM_TRY(const auto image, present_image());
  LKM_TRY(const auto home, home_folder());
  LKM_TRY(auto build, ModuleBuild::open({.folder = folder,
                                         .kernel = image,
                                         .work = cache_folder() / "builds",
                                         .plugins = cache_folder() / "plugins",
                                         .linker = home / "Kbuild" / "plugin",
                                         .fast = true}));
  std::vector<std::string> words;
  std::istringstream in(scenario);
  for (std::string word; in >> word;) words.push_back(word);
  if (words.empty()) return Failure(Error({}, "--lab names no scenario").with_hint("lkm-run lab --help"));
  const std::string name = watcher.folder().filename();
  const bool named = std::ranges::any_of(words, [](const std::string& word) { return word.starts_with("--cc"); });
  if (words[0] == "dumbbell" && !named) words.insert(words.end(), {"--cc", name});
  const LabHistory history(cache_folder() / "lab" / name, watcher.folder(), fmt::format("{}", fmt::join(words, " ")));
  LabWatch watch(std::move(watcher), std::move(build), std::move(words), name, history, terminal, interrupt);
  if (page) {
    LKM_TRY(watch.page_, LabPage::open(fmt::format("{}: {}", name, scenario)));
    for (const LabHistory::Run& run : history.runs()) {
      LKM_TRY(std::string data, read_file(run.folder / "report.json"));
      watch.page_->recall(run.name, run.saved, std::move(data));
    }
    if (terminal.json()) terminal.object({{"page", watch.page_->url()}});
    if (!terminal.json()) terminal.line(watch.page_->url());
    watch.page_->show_in_browser();
  }
  return watch;
}

Result<int> LabWatch::run() {
  LKM_TRY(bool on, apply(WallClock::now()));
  terminal_.note(terminal_.err(Paint::kDim, "watching; Ctrl-C ends it"));
  while (on) {
    std::array<pollfd, 4> fds = {pollfd{interrupt_.fd(), POLLIN, 0}, pollfd{watcher_.fd(), POLLIN, 0},
                                 pollfd{judge_->fd(), POLLIN, 0}, Terminal::watched()};
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return fail(errno, "wait for a save");
    if (fds[0].revents) break;
    Terminal::look(fds[3]);
    if (fds[1].revents) {
      auto change = watcher_.next();
      if (!change) terminal_.error(change.error());
      if (change && *change && (*change)->kind != ChangeSet::Kind::kGone) {
        LKM_TRY(on, apply(WallClock::now()));
      }
    } else if (fds[2].revents) {
      LKM_TRY(on, hear());
    }
  }
  return kInterrupted;
}

Result<bool> LabWatch::apply(WallClock::time_point saved) {
  judge_->drop();
  terminal_.transient(fmt::format("building {}", name_));
  if (page_) page_->busy(fmt::format("building {}", name_));
  said_.clear();
  const auto note = [&](std::string_view line) {
    terminal_.note(line.substr(0, line.size() - 1));
    said_ += line;
  };
  const auto built = build_.run(note, interrupt_.fd());
  if (!built) {
    if (built.error().code() == std::errc::operation_canceled) return false;
    terminal_.error(built.error());
    fail_page(built.error().message());
    return true;
  }
  LKM_TRY(const bool on, try_out(*built, saved));
  if (on) judge_->ask(build_, *built);
  return on;
}

Result<bool> LabWatch::try_out(const BuildResult& built, WallClock::time_point saved) {
  const BuiltModule& module = built.modules.back();
  bool interrupted = false;
  const std::string name = fmt::format("{}@{}", module.name, module.generation);
  const fs::path output = history_.folder(name);
  LKM_TRY(const auto result, lab(module, output, interrupted));
  if (interrupted) return false;
  if (!result) {
    fail_page(fmt::format("the lab with {} failed: the terminal says why", name));
    return true;
  }
  if (page_) {
    LKM_TRY(std::string data, read_file(output / "report.json"));
    const std::chrono::nanoseconds took = WallClock::now() - saved;
    page_->add(name, saved, std::move(data), fmt::format("{}: {} after the save", name, format_duration(took)));
  }
  LKM_CHECK(history_.add(name, saved));
  show(*result, module, WallClock::now() - saved);
  before_ = (*result)["summary"];
  before_name_ = name;
  return true;
}

Result<std::optional<Json>> LabWatch::lab(const BuiltModule& module, const fs::path& output, bool& interrupted) {
  std::vector<std::string> argv = {"/proc/self/exe", "lab"};
  argv.insert(argv.end(), words_.begin(), words_.end());
  argv.insert(argv.end(), {"--module", module.plugin.string(), "--output", output.string(), "--json"});
  const std::string doing = fmt::format("{}@{} runs in the lab", module.name, module.generation);
  terminal_.transient(doing);
  if (page_) page_->busy(doing);
  LKM_TRY(auto child, Child::spawn({.argv = argv, .out = Child::Output::kPipe}));
  const auto text = interrupt_.read_all(child);
  interrupted = !text && text.error().code() == std::errc::operation_canceled;
  if (interrupted) return std::nullopt;  // and the child ends with its owner
  LKM_CHECK(text);
  LKM_TRY(const ExitStatus status, child.wait());
  const Json line = Json::parse(*text, nullptr, false);
  if (line.is_object() && line.contains("lab")) return line["lab"];
  const std::string how = status.signal ? fmt::format("died of signal {}", status.signal)
                                        : fmt::format("ended with {}", status.code);
  terminal_.error(Error({}, fmt::format("the lab with {}@{} {}", module.name, module.generation, how)));
  return std::nullopt;
}

void LabWatch::fail_page(const std::string& status) {
  if (page_) page_->failed(status, said_);
}

void LabWatch::show(const Json& lab, const BuiltModule& module, std::chrono::nanoseconds took) {
  const std::string report = lab.value("report", "");
  if (terminal_.json()) {
    Json object = lab;
    object["generation"] = module.generation;
    object["took_ns"] = took.count();
    if (before_) object["before"] = *before_;
    terminal_.object({{"lab", std::move(object)}});
    return;
  }
  const Json& summary = lab["summary"];
  const Json* flows = before_ ? &(*before_)["flows"] : nullptr;
  const Json* queues = before_ ? &(*before_)["queues"] : nullptr;
  terminal_.line(fmt::format("{}@{}: {} after the save{}", module.name, module.generation, format_duration(took),
                             before_ ? fmt::format("; in brackets, against {}", before_name_) : ""));
  std::vector<std::vector<std::string>> rows = {{"FLOW", "GOODPUT Mbit/s", "RETRANSMITTED %", "RTT ms", "CWND"}};
  for (const Json& flow : summary["flows"]) {
    const Json* was = named(flows, "flow", flow["flow"]);
    rows.push_back({flow["flow"], beside(flow["goodput_bit_s"], was, "goodput_bit_s", 1e-6, 2),
                    beside(flow["retransmitted"], was, "retransmitted", 100, 3),
                    beside(flow["srtt_ms"], was, "srtt_ms", 1, 1),
                    beside(flow["cwnd_segments"], was, "cwnd_segments", 1, 1)});
  }
  terminal_.table(rows);
  rows = {{"QUEUE", "USED %", "DELAY P50 ms", "P95", "P99", "DROPPED"}};
  for (const Json& queue : summary["queues"]) {
    const Json* was = named(queues, "queue", queue["queue"]);
    const Json* delay = was ? &(*was)["delay_ms"] : nullptr;
    rows.push_back({queue["queue"], beside(queue["utilisation"], was, "utilisation", 100, 1),
                    beside(queue["delay_ms"]["p50"], delay, "p50", 1, 2),
                    beside(queue["delay_ms"]["p95"], delay, "p95", 1, 2),
                    beside(queue["delay_ms"]["p99"], delay, "p99", 1, 2),
                    beside(queue["dropped"], was, "dropped", 1, 0)});
  }
  terminal_.table(rows);
  if (summary.contains("fairness"))
    terminal_.line(fmt::format("fairness {}", beside(summary["fairness"], before_ ? &*before_ : nullptr, "fairness", 1, 3)));
  if (!report.empty()) terminal_.line(report);
}

/// Kbuild's word on the build that was tried out.
Result<bool> LabWatch::hear() {
  const auto news = judge_->take();
  if (!news.verdict) return true;
  const auto& verdict = *news.verdict;
  if (!verdict) {
    if (verdict.error().code() != std::errc::operation_canceled) terminal_.error(verdict.error());
    return true;
  }
  if (verdict->kind != Verdict::Kind::kDisagrees && verdict->kind != Verdict::Kind::kRefuses) return true;
  terminal_.error(verdict_error(*verdict, name_));
  if (page_) page_->failed(verdict_error(*verdict, name_).message(), verdict->output);
  if (verdict->kind == Verdict::Kind::kRefuses) return true;
  return try_out(verdict->kbuild, WallClock::now());
}

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/watch_session.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "toolkit/net/units.hpp"
#include "tools/lkm-run/folded_output.hpp"
#include "tools/lkm-run/ledger_table.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/swap_report.hpp"

namespace lkm::cli {
namespace {

using WallClock = WatchSession::WallClock;

// Builds that roll_back() can return to; their plugin files stay.
constexpr std::size_t kRanKept = 10;
// Of a failed check that is folded.
constexpr std::size_t kCheckLines = 10;

// When what is about to be built was saved: the newest time of the changed files. That of a file which
// came with an old time (mv of a backup) or is gone is of no use; then it is now.
WallClock::time_point saved_at(const std::filesystem::path& folder, const ChangeSet& change) {
  const auto now = WallClock::now();
  auto newest = WallClock::time_point::min();
  for (const auto& path : change.paths) {
    struct stat info {};
    if (::stat((folder / path).c_str(), &info) != 0) continue;
    const auto time = std::chrono::seconds(info.st_mtim.tv_sec) +
                      std::chrono::nanoseconds(info.st_mtim.tv_nsec);
    newest = std::max(newest, WallClock::time_point(
                                  std::chrono::duration_cast<WallClock::duration>(time)));
  }
  const bool plausible = newest <= now && now - newest < std::chrono::seconds(10);
  return plausible ? newest : now;
}

std::string clock_time(WallClock::time_point point) {
  const std::time_t seconds = WallClock::to_time_t(point);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  return fmt::format("{:02}:{:02}:{:02}", local.tm_hour, local.tm_min, local.tm_sec);
}

bool same_build(const Plugin& a, const Plugin& b) {
  return a.name == b.name && a.build_id == b.build_id;
}
bool same_builds(const std::vector<Plugin>& a, const std::vector<Plugin>& b) {
  return std::ranges::equal(a, b, same_build);
}

// The module of that name that is in use, in the answer of the method modules.
const Json* live_module(const Json& modules, const std::string& name) {
  for (const Json& module : modules["modules"]) {
    if (module.value("name", "") == name && module.value("state", "") == "live") return &module;
  }
  return nullptr;
}

std::string_view plural(std::size_t count) { return count == 1 ? "" : "s"; }

}  // namespace

Result<WatchSession> WatchSession::open(const std::filesystem::path& path, control::StateFolder stack,
                                        WatchSettings& settings, Terminal& terminal,
                                        Interrupt& interrupt) {
  LKM_TRY(Watcher watcher, Watcher::open(path));
  return WatchSession(std::move(watcher), std::move(stack), settings, terminal, interrupt);
}

void WatchSession::add_to(std::vector<pollfd>& fds) const {
  const int all[kFds] = {watcher_.fd(), judge_->fd(), check_ ? check_->output_fd() : -1,
                         check_ ? check_->end_fd() : -1, incidents_ ? incidents_->fd() : -1};
  for (const int fd : all) fds.push_back({.fd = fd, .events = POLLIN, .revents = 0});
}

void WatchSession::take(const pollfd* fds) {
  // A save comes first; what Kbuild or a check says of the build before it is dropped then. What else was
  // there to read comes again, unless it is gone.
  if (fds[0].revents) return look();
  if (fds[1].revents) return hear();
  if (fds[2].revents) check_->read();
  if (fds[3].revents) return end_check();
  if (fds[4].revents) take_incidents();
}

void WatchSession::look() {
  const auto change = watcher_.next();
  if (!change) return terminal_.error(change.error());
  if (!*change) return;
  if ((*change)->kind == ChangeSet::Kind::kGone) {
    judge_->drop();
    return terminal_.note(fmt::format("{} is gone; waiting for its return", watcher_.folder().string()));
  }
  apply(saved_at(watcher_.folder(), **change));
}

void WatchSession::hear() {
  const auto news = judge_->take();
  if (news.prepared && terminal_.json()) {
    terminal_.object({{"prepared", {{"folder", watcher_.folder().string()}}}});
  } else if (news.prepared && !std::exchange(told_prepared_, true)) {
    terminal_.note(terminal_.err(
        Paint::kDim, fmt::format("{}: prepared for the fast path", watcher_.folder().filename().string())));
  }
  if (!news.verdict) return;
  const Result<Verdict>& verdict = *news.verdict;
  if (!verdict) return terminal_.error(verdict.error());
  if (const auto heard = try_hear(*verdict); !heard) {
    terminal_.error(heard.error());
    name_survivor();
  }
}

void WatchSession::apply(WallClock::time_point saved) {
  if (check_) {
    check_.reset();
    terminal_.note(terminal_.err(Paint::kDim, fmt::format("{}: saved again, no verdict of its check", serving_)));
  }
  if (const auto applied = try_apply(saved); !applied) {
    if (applied.error().code() == std::errc::operation_canceled) return;
    told_ = applied.error().message();
    terminal_.error(applied.error());
    name_survivor();
  }
}

void WatchSession::follow_incidents(control::Client& client) {
  if (incidents_) return;
  // From now on.
  std::uint64_t known = 0;
  const auto count = [&](const Json& event) {
    if (const auto at = event.find("incident"); at != event.end()) known = at->value("number", known);
  };
  if (!client.call("incidents", Json::object(), count)) return;
  auto connected = control::Client::connect(stack_);
  if (!connected || !connected->start("incidents", {{"follow", true}, {"after", known}})) return;
  incidents_.emplace(std::move(*connected));
}

void WatchSession::take_incidents() {
  const auto tell = [&](const Json& event) {
    const auto at = event.find("incident");
    if (at == event.end()) return;
    const auto ours = names();
    if (std::ranges::find(ours, at->value("module", "")) == ours.end()) return;
    if (terminal_.json()) return terminal_.object({{"incident", *at}});
    const std::string what = at->value("what", "");
    if (told_.find(what) != std::string::npos) return;  // that was the answer to its swap
    check_.reset();
    const std::string when = clock_time(WallClock::now());
    terminal_.error(Error({}, fmt::format("{} {}: {}", when, at->value("module", ""), what)));
    terminal_.note(fmt::format("  {}; {}", at->value("done", ""), at->value("runs", "")));
  };
  const auto polled = incidents_->poll(tell);
  if (!polled || *polled) incidents_.reset();
}

Result<void> WatchSession::try_apply(WallClock::time_point saved) {
  judge_->drop();
  const std::string folder = watcher_.folder().filename();
  // A connection for each save: the stack may have been ended and started again in between.
  LKM_TRY(auto client, control::Client::connect(stack_));
  LKM_TRY(const auto place, place_of(stack_, client));
  LKM_TRY(auto build, builder(watcher_.folder(), place, Speed::kFast));
  terminal_.transient(fmt::format("{} {}: building", clock_time(saved), folder));
  const auto built = build.run(
      [&](std::string_view line) {
        if (!settings_.fold) terminal_.note(line.substr(0, line.size() - 1));
      },
      interrupt_.fd());
  if (built || built.error().code() != std::errc::operation_canceled) {
    if (settings_.fold) show_output(build.output());
  }
  if (!built) return Failure(built.error());
  if (built->fast) replayed_ = plugins_of(*built);
  const auto installed = install_all(client, plugins_of(*built), {saved, WallClock::now(), *built}, Before::kStays);
  // Kbuild has its say also on what did not load: perhaps that is why.
  judge_->ask(std::move(build), *built);
  if (!built->fast) by_kbuild_ = plugins_of(*built);
  return installed;
}

Result<void> WatchSession::try_hear(const Verdict& verdict) {
  if (verdict.kind == Verdict::Kind::kOutdated) return {};  // the watcher reports that save
  if (terminal_.json()) {
    terminal_.object({{"judged", {{"serving", serving_}, {"agrees", verdict.kind == Verdict::Kind::kAgrees}}}});
  }
  if (verdict.kind == Verdict::Kind::kAgrees) {
    by_kbuild_ = plugins_of(verdict.kbuild);
    return {};
  }
  show_output(verdict.output);
  terminal_.error(verdict_error(verdict, watcher_.folder().filename()));
  BuildResult kbuild = verdict.kbuild;
  kbuild.why_full = "its word counts";
  if (verdict.kind == Verdict::Kind::kDisagrees) by_kbuild_ = plugins_of(kbuild);
  if (by_kbuild_.empty()) {
    name_survivor();
    return {};
  }
  check_.reset();
  LKM_TRY(auto client, control::Client::connect(stack_));
  return install_all(client, by_kbuild_, {WallClock::now(), WallClock::now(), kbuild}, Before::kRefused);
}

void WatchSession::show_output(const std::string& output) {
  if (output.empty()) return;
  if (!settings_.fold) return terminal_.note(output.substr(0, output.size() - 1));
  const FoldedOutput folded = fold(output);
  terminal_.note(folded.shown);
  settings_.output = output;
  if (folded.hidden == 0) return;
  terminal_.note(terminal_.err(Paint::kDim, fmt::format("{} more line{}: press e", folded.hidden,
                                                        plural(folded.hidden))));
}

Result<void> WatchSession::install_all(control::Client& client, const std::vector<Plugin>& plugins,
                                       const Save& save, Before before) {
  told_.clear();
  follow_incidents(client);
  LKM_CHECK(note_what_runs(client, plugins));
  bool went = false;
  for (const Plugin& plugin : plugins) {
    const bool last = &plugin == &plugins.back();
    LKM_TRY(const bool installed, install(client, plugin, last ? settings_.parameters : "", save));
    went |= installed;
  }
  if (!went) return {};
  went_at_ = std::chrono::steady_clock::now();
  if (before == Before::kRefused && !ran_.empty() && same_builds(ran_.back().plugins, replayed_)) {
    ran_.pop_back();
  }
  if (ran_.empty() || !same_builds(ran_.back().plugins, plugins)) ran_.push_back({plugins, serving_});
  if (ran_.size() > kRanKept) ran_.erase(ran_.begin());
  LKM_TRY(const Json now, client.call("modules"));
  drop_files(now);
  start_check();
  return {};
}

// Builds of these modules that somebody else has put there are to be gone back to, too.
Result<void> WatchSession::note_what_runs(control::Client& client, const std::vector<Plugin>& plugins) {
  LKM_TRY(const Json modules, client.call("modules"));
  Ran now;
  for (const Plugin& plugin : plugins) {
    const Json* module = live_module(modules, plugin.name);
    if (!module) continue;
    now.plugins.push_back({plugin.name, module->value("build_id", ""), module->value("path", "")});
    now.name = generation_name(*module);
  }
  if (now.plugins.empty() || (!ran_.empty() && same_builds(ran_.back().plugins, now.plugins))) return {};
  ran_.push_back(std::move(now));
  return {};
}

Result<std::optional<WatchSession::Went>> WatchSession::put(control::Client& client, const Plugin& plugin,
                                                            const std::string& parameters) {
  LKM_TRY(const Json modules, client.call("modules"));
  const Json* loaded = live_module(modules, plugin.name);
  if (!loaded) {
    LKM_TRY(Json report, call(client, terminal_, "load",
                              {{"what", plugin.path.string()},
                               {"parameters", parameters},
                               {"snapshot", settings_.snapshot}}));
    serving_ = generation_name(report["module"]);
    builds_mapped_.reset();
    return Went{true, std::move(report)};
  }
  serving_ = generation_name(*loaded);
  if (loaded->value("build_id", "") == plugin.build_id) return std::nullopt;
  // Parameters were given to load(); from then on the live values count.
  LKM_TRY(Json report, call(client, terminal_, "swap",
                            {{"plugin", plugin.path.string()},
                             {"state", settings_.state},
                             {"snapshot", settings_.snapshot}}));
  serving_ = fmt::format("{}@{}", plugin.name, report.value("to_generation", 0u));
  builds_mapped_ = report.value("builds_mapped", std::size_t{1});
  return Went{false, std::move(report)};
}

Result<bool> WatchSession::install(control::Client& client, const Plugin& plugin,
                                   const std::string& parameters, const Save& save) {
  const auto asked_at = WallClock::now();
  LKM_TRY(const auto went, put(client, plugin, parameters));
  if (!went) {
    terminal_.note(fmt::format("{} {}: same code, nothing to swap", clock_time(save.saved), serving_));
    return false;
  }
  const auto now = WallClock::now();
  if (went->loaded) {
    show(save, {{"saved → built", save.built_at}, {"loaded", now}}, "", went->report);
    return true;
  }
  const auto loaded_at =
      asked_at + std::chrono::duration_cast<WallClock::duration>(
                     std::chrono::nanoseconds(went->report.value("map_ns", std::int64_t{0}) +
                                              went->report.value("init_ns", std::int64_t{0})));
  show(save, {{"saved → built", save.built_at}, {"loaded", loaded_at}, {"swapped", now}},
       "; " + swap_summary(went->report), went->report);
  return true;
}

void WatchSession::roll_back() {
  check_.reset();
  if (const auto back = go_back("by hand"); !back) {
    terminal_.error(back.error());
    name_survivor();
  }
}

Result<void> WatchSession::go_back(const std::string& why) {
  judge_->drop();  // on a build that does not run then
  if (ran_.empty()) return Failure(Error({}, "nothing was loaded by this watch"));
  LKM_TRY(auto client, control::Client::connect(stack_));
  LKM_CHECK(note_what_runs(client, ran_.back().plugins));
  forget_lost();
  if (ran_.size() < 2) {
    return Failure(Error({}, fmt::format("there is no build before {} to go back to", ran_.back().name)));
  }
  const Ran target = ran_[ran_.size() - 2];
  for (const Plugin& plugin : target.plugins) {
    LKM_TRY(const auto went, put(client, plugin, ""));
    if (!went) continue;
    if (terminal_.json()) {
      terminal_.object({{"rolled_back",
                         {{"serving", serving_}, {"build_of", target.name}, {"why", why}, {"result", went->report}}}});
      continue;
    }
    terminal_.line(fmt::format("{} {}: rolled back to the build of {}{}", clock_time(WallClock::now()),
                               terminal_.out(Paint::kGood, terminal_.out(Paint::kBold, serving_)), target.name,
                               went->loaded ? "" : "; " + swap_summary(went->report)));
    if (went->loaded) continue;
    for (const auto& remark : swap_remarks(went->report)) terminal_.note("  " + remark);
  }
  ran_.pop_back();
  went_at_ = std::chrono::steady_clock::now();
  return {};
}

// A stack that was ended took the plugin files along.
void WatchSession::forget_lost() {
  if (ran_.empty()) return;
  const auto lost = [](const Ran& ran) {
    std::error_code ignored;
    return !std::ranges::all_of(ran.plugins,
                                [&](const Plugin& plugin) { return std::filesystem::exists(plugin.path, ignored); });
  };
  ran_.erase(std::remove_if(ran_.begin(), ran_.end() - 1, lost), ran_.end() - 1);
}

void WatchSession::start_check() {
  if (settings_.check.empty()) return;
  const std::size_t at = serving_.find('@');
  auto started = SwapCheck::start(
      settings_.check,
      {{"LKM_RUN_STACK", stack_.name()},
       {"LKM_RUN_MODULE", serving_.substr(0, at)},
       {"LKM_RUN_GENERATION", serving_.substr(at + 1)},
       {"LKM_RUN_MOUNT", stack_.mounted() ? std::optional(stack_.mount().string()) : std::nullopt}});
  if (!started) return terminal_.error(started.error());
  check_.emplace(std::move(*started));
  terminal_.transient(fmt::format("{}: the check runs", serving_));
}

void WatchSession::end_check() {
  const auto ended = check_->end();
  check_.reset();
  if (!ended) return terminal_.error(ended.error());
  const std::string took = format_duration(ended->took);
  if (terminal_.json()) {
    terminal_.object({{"check",
                       {{"serving", serving_},
                        {"passed", ended->status.success()},
                        {"status", ended->status.code},
                        {"took_ns", ended->took.count()},
                        {"output", ended->output}}}});
  }
  if (ended->status.success()) {
    if (!terminal_.json()) terminal_.note(terminal_.err(Paint::kDim, fmt::format("  {}: check passed in {}", serving_, took)));
    return;
  }
  const std::string how = ended->status.signal ? fmt::format("died of signal {}", ended->status.signal)
                                               : fmt::format("ended with {}", ended->status.code);
  terminal_.error(Error({}, fmt::format("{}: the check {} after {}", serving_, how, took)));
  const std::string_view last = last_lines(ended->output, kCheckLines);
  if (!last.empty()) terminal_.note(last);
  if (settings_.fold) settings_.output = ended->output;
  if (settings_.fold && last.size() + 1 < ended->output.size()) {
    terminal_.note(terminal_.err(Paint::kDim, "the lines before: press e"));
  }
  if (const auto back = go_back("its check failed"); !back) {
    terminal_.error(back.error());
    name_survivor();
  }
}

std::vector<std::string> WatchSession::names() const {
  // Before anything was built: in most folders lies one module, of the same name.
  if (ran_.empty()) return {watcher_.folder().filename().string()};
  std::vector<std::string> names;
  for (const Plugin& plugin : ran_.back().plugins) names.push_back(plugin.name);
  return names;
}

void WatchSession::name_survivor() {
  auto client = control::Client::connect(stack_);
  if (!client) return;  // nothing serves, and the error before has told that
  const auto modules = client->call("modules");
  if (!modules) return;
  bool any = false;
  for (const std::string& name : names()) {
    if (const Json* module = live_module(*modules, name)) {
      terminal_.note(fmt::format("{} serves on", generation_name(*module)));
      any = true;
    }
  }
  if (!any) terminal_.note(fmt::format("nothing of {} is loaded", watcher_.folder().filename().string()));
}

void WatchSession::show_state() {
  auto client = control::Client::connect(stack_);
  if (!client) return terminal_.error(client.error());
  const auto modules = client->call("modules");
  if (!modules) return terminal_.error(modules.error());
  bool any = false;
  std::vector<std::pair<std::string, Json>> ledgers;
  for (const std::string& name : names()) {
    for (const Json& module : (*modules)["modules"]) {
      // A build that is not unmapped yet goes by "name@…".
      const std::string called = module.value("name", "");
      if (called.substr(0, called.find('@')) != name) continue;
      const auto users = module.value("refcount", 0u);
      std::string text = fmt::format("{}@{}: {}, {} user{}, {}, build {}", name, module.value("generation", 0u),
                                     module.value("state", ""), users, plural(users),
                                     format_size(module.value("size", std::uint64_t{0})),
                                     module.value("build_id", "").substr(0, 12));
      for (const Json& user : module["used_by"]) text += fmt::format(", used by {}", user.get<std::string>());
      terminal_.line(text);
      if (const std::string why = module.value("why", ""); !why.empty()) terminal_.line("  stays: " + why);
      if (const auto ledger = client->call("ledger", {{"name", called}})) {
        ledgers.emplace_back(called, *ledger);
      }
      any = true;
    }
  }
  if (!any) return terminal_.line(fmt::format("nothing of {} is loaded", watcher_.folder().filename().string()));
  forget_lost();
  std::vector<std::string> before;
  for (const Ran& ran : ran_) before.insert(before.begin(), ran.name);
  if (!before.empty()) before.erase(before.begin());
  terminal_.line(fmt::format("  state policy {}; {}{}", settings_.state,
                             builds_mapped_ ? fmt::format("builds mapped after the last swap: {}; ", *builds_mapped_) : "",
                             before.empty() ? "no build to go back to"
                                            : fmt::format("r goes back to {}", fmt::join(before, ", then "))));
  for (const auto& [name, ledger] : ledgers) show_ledger(terminal_, name, ledger);
}

// The time line of a save: milliseconds since the save, for each stage; then what each step took.
void WatchSession::show(const Save& save,
                        const std::vector<std::pair<std::string, WallClock::time_point>>& stages,
                        const std::string& more, const Json& result) {
  std::string text = fmt::format("{} {}: ", clock_time(save.saved),
                                 terminal_.out(Paint::kGood, terminal_.out(Paint::kBold, serving_)));
  Json times = Json::object();
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const auto& [stage, at] = stages[i];
    const std::chrono::nanoseconds since = at - save.saved;
    text += fmt::format("{}{} {:.1f} ms", i ? " → " : "", stage, static_cast<double>(since.count()) / 1e6);
    times[i == 0 ? "built_ns" : stage + "_ns"] = since.count();
  }
  const TimeLine steps = time_line(save.built.steps, result);
  if (terminal_.json()) {
    terminal_.object({{"save",
                       {{"serving", serving_},
                        {"times", times},
                        {"steps", to_json(steps)},
                        {"fast", save.built.fast},
                        {"why_full", save.built.why_full},
                        {"result", result}}}});
    return;
  }
  terminal_.line(text + more);
  terminal_.line(terminal_.out(Paint::kDim, fmt::format("  {}: {}", way_of(save.built), to_text(steps))));
  for (const auto& remark : swap_remarks(result)) terminal_.note("  " + remark);
}

// Of old builds that nothing needs any more.
void WatchSession::drop_files(const Json& modules) const {
  std::vector<Plugin> kept = by_kbuild_;
  for (const Ran& ran : ran_) kept.insert(kept.end(), ran.plugins.begin(), ran.plugins.end());
  drop_old_plugins(stack_, modules["modules"], kept);
}

}  // namespace lkm::cli

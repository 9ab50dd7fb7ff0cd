// SPDX-License-Identifier: GPL-2.0
#include <poll.h>
#include <sys/stat.h>

#include <ctime>
#include <memory>
#include <utility>

#include "toolkit/net/units.hpp"
#include "toolkit/watch/watcher.hpp"
#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/judge.hpp"
#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/swap_report.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

using WallClock = std::chrono::system_clock;

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

// One watched folder.
class Session {
 public:
  static Result<Session> open(const std::filesystem::path& path, control::StateFolder stack,
                              std::string parameters, std::string state, Terminal& terminal,
                              Interrupt& interrupt) {
    LKM_TRY(Watcher watcher, Watcher::open(path));
    return Session(std::move(watcher), std::move(stack), std::move(parameters), std::move(state), terminal,
                   interrupt);
  }

  [[nodiscard]] const Watcher& watcher() const { return watcher_; }
  [[nodiscard]] const Judge& judge() const { return *judge_; }

  /// Takes what the watcher has to report, if anything.
  void look() {
    const auto change = watcher_.next();
    if (!change) return terminal_.error(change.error());
    if (!*change) return;
    if ((*change)->kind == ChangeSet::Kind::kGone) {
      judge_->drop();
      return terminal_.note(fmt::format("{} is gone; waiting for its return", watcher_.folder().string()));
    }
    apply(saved_at(watcher_.folder(), **change));
  }

  /// Takes what Kbuild has to say of a build that was replayed.
  void hear() {
    const auto news = judge_->take();
    if (news.prepared && terminal_.json()) {
      terminal_.object({{"prepared", {{"folder", watcher_.folder().string()}}}});
    } else if (news.prepared && !std::exchange(told_prepared_, true)) {
      terminal_.note(terminal_.err(Paint::kDim, fmt::format("{}: prepared for the fast path",
                                                            watcher_.folder().filename().string())));
    }
    if (!news.verdict) return;
    const Result<Verdict>& verdict = *news.verdict;
    if (!verdict) return terminal_.error(verdict.error());
    if (const auto heard = try_hear(*verdict); !heard) terminal_.error(heard.error());
  }

  /// Builds, and loads or swaps what came of it. Whatever goes wrong is told, and watching goes on.
  void apply(WallClock::time_point saved) {
    if (const auto applied = try_apply(saved); !applied) {
      if (applied.error().code() == std::errc::operation_canceled) return;
      terminal_.error(applied.error());
      if (!serving_.empty()) terminal_.note(fmt::format("{} serves on", serving_));
    }
  }

 private:
  Session(Watcher watcher, control::StateFolder stack, std::string parameters, std::string state,
          Terminal& terminal, Interrupt& interrupt)
      : watcher_(std::move(watcher)),
        stack_(std::move(stack)),
        parameters_(std::move(parameters)),
        state_(std::move(state)),
        terminal_(terminal),
        interrupt_(interrupt) {}

  Result<void> try_apply(WallClock::time_point saved) {
    judge_->drop();
    const std::string folder = watcher_.folder().filename();
    // A connection for each save: the stack may have been ended and started again in between.
    LKM_TRY(auto client, control::Client::connect(stack_));
    LKM_TRY(const auto place, place_of(stack_, client));
    LKM_TRY(auto build, builder(watcher_.folder(), place, Speed::kFast));
    terminal_.transient(fmt::format("{} {}: building", clock_time(saved), folder));
    LKM_TRY(const auto built,
            build.run([&](std::string_view line) { terminal_.note(line.substr(0, line.size() - 1)); },
                      interrupt_.fd()));
    const auto built_at = WallClock::now();
    const auto installed = install_all(client, built, saved, built_at);
    // Kbuild has its say also on what did not load: perhaps that is why.
    judge_->ask(std::move(build), built);
    if (!built.fast) by_kbuild_ = plugins_of(built);
    return installed;
  }

  Result<void> install_all(control::Client& client, const BuildResult& built, WallClock::time_point saved,
                           WallClock::time_point built_at) {
    const auto plugins = plugins_of(built);
    for (const Plugin& plugin : plugins) {
      const bool last = &plugin == &plugins.back();
      LKM_CHECK(install(client, plugin, last ? parameters_ : "", built, saved, built_at));
    }
    return {};
  }

  Result<void> try_hear(const Verdict& verdict) {
    if (verdict.kind == Verdict::Kind::kOutdated) return {};  // the watcher reports that save
    if (terminal_.json()) {
      terminal_.object({{"judged", {{"serving", serving_}, {"agrees", verdict.kind == Verdict::Kind::kAgrees}}}});
    }
    if (verdict.kind == Verdict::Kind::kAgrees) {
      by_kbuild_ = plugins_of(verdict.kbuild);
      return {};
    }
    if (!verdict.output.empty()) terminal_.note(verdict.output.substr(0, verdict.output.size() - 1));
    terminal_.error(verdict_error(verdict, watcher_.folder().filename()));
    BuildResult kbuild = verdict.kbuild;
    kbuild.why_full = "its word counts";
    if (verdict.kind == Verdict::Kind::kDisagrees) by_kbuild_ = plugins_of(kbuild);
    if (by_kbuild_.empty()) terminal_.note(fmt::format("{} serves on", serving_));
    LKM_TRY(auto client, control::Client::connect(stack_));
    for (const Plugin& plugin : by_kbuild_) {
      LKM_CHECK(install(client, plugin, "", kbuild, WallClock::now(), WallClock::now()));
    }
    return {};
  }

  Result<void> install(control::Client& client, const Plugin& plugin, const std::string& parameters,
                       const BuildResult& built, WallClock::time_point saved,
                       WallClock::time_point built_at) {
    LKM_TRY(const Json modules, client.call("modules"));
    const Json* loaded = nullptr;
    for (const Json& module : modules["modules"]) {
      if (module.value("name", "") == plugin.name && module.value("state", "") == "live") loaded = &module;
    }
    if (!loaded) {
      LKM_TRY(const Json result, call(client, terminal_, "load",
                                      {{"what", plugin.path.string()}, {"parameters", parameters}}));
      serving_ = generation_name(result["module"]);
      show(saved, {{"saved → built", built_at}, {"loaded", WallClock::now()}}, "", built, result);
      return {};
    }
    serving_ = generation_name(*loaded);
    if (loaded->value("build_id", "") == plugin.build_id) {
      terminal_.note(fmt::format("{} {}: same code, nothing to swap", clock_time(saved), serving_));
      return {};
    }
    const auto asked_at = WallClock::now();
    // Parameters were given to load(); from then on the live values count.
    LKM_TRY(const Json report, call(client, terminal_, "swap", {{"plugin", plugin.path.string()}, {"state", state_}}));
    const auto swapped_at = WallClock::now();
    serving_ = fmt::format("{}@{}", plugin.name, report.value("to_generation", 0u));
    const auto loaded_at =
        asked_at + std::chrono::duration_cast<WallClock::duration>(std::chrono::nanoseconds(
                       report.value("map_ns", std::int64_t{0}) + report.value("init_ns", std::int64_t{0})));
    show(saved, {{"saved → built", built_at}, {"loaded", loaded_at}, {"swapped", swapped_at}},
         "; " + swap_summary(report), built, report);
    if (!terminal_.json()) {
      for (const auto& remark : swap_remarks(report)) terminal_.note("  " + remark);
    }
    LKM_TRY(const Json now, client.call("modules"));
    drop_old_plugins(stack_, now["modules"], by_kbuild_);
    return {};
  }

  // The time line of a save: milliseconds since the save, for each stage; then what each step took.
  void show(WallClock::time_point saved, const std::vector<std::pair<std::string, WallClock::time_point>>& stages,
            const std::string& more, const BuildResult& built, const Json& result) {
    std::string text = fmt::format("{} {}: ", clock_time(saved),
                                   terminal_.out(Paint::kGood, terminal_.out(Paint::kBold, serving_)));
    Json times = Json::object();
    for (std::size_t i = 0; i < stages.size(); ++i) {
      const auto& [stage, at] = stages[i];
      const std::chrono::nanoseconds since = at - saved;
      text += fmt::format("{}{} {:.1f} ms", i ? " → " : "", stage, static_cast<double>(since.count()) / 1e6);
      times[i == 0 ? "built_ns" : stage + "_ns"] = since.count();
    }
    const TimeLine steps = time_line(built.steps, result);
    if (terminal_.json()) {
      terminal_.object({{"save",
                         {{"serving", serving_},
                          {"times", times},
                          {"steps", to_json(steps)},
                          {"fast", built.fast},
                          {"why_full", built.why_full},
                          {"result", result}}}});
    } else {
      terminal_.line(text + more);
      terminal_.line(terminal_.out(Paint::kDim, fmt::format("  {}: {}", way_of(built), to_text(steps))));
    }
  }

  Watcher watcher_;
  control::StateFolder stack_;
  std::string parameters_;
  std::string state_;
  Terminal& terminal_;
  Interrupt& interrupt_;
  std::string serving_;  // "mycc@3", once it is known
  std::vector<Plugin> by_kbuild_;  // what Kbuild built last, or agreed to
  bool told_prepared_ = false;
  std::unique_ptr<Judge> judge_ = std::make_unique<Judge>();
};

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  LKM_TRY(const auto stack, state_folder(arguments));
  // Words with "=" are parameters, the others folders.
  std::vector<std::string> folders;
  std::vector<std::string> words;
  for (const std::string& operand : arguments.operands()) {
    const bool parameter =
        operand.find('=') != std::string::npos && source_kind(operand) != SourceKind::kFolder;
    (parameter ? words : folders).push_back(operand);
  }
  const auto parameters = module_parameters(words, 0);
  if (!parameters || folders.empty()) {
    terminal.error(parameters ? Error({}, "'watch' needs a module folder") : parameters.error());
    return kUsage;
  }
  LKM_TRY(auto interrupt, Interrupt::block());
  // A stack that is not up is an error now, and a message later.
  LKM_CHECK(control::Client::connect(stack));
  std::vector<Session> sessions;
  for (const std::string& folder : folders) {
    LKM_TRY(auto session, Session::open(folder, stack, *parameters, arguments.value("state", "keep"), terminal,
                                             interrupt));
    sessions.push_back(std::move(session));
  }
  for (Session& session : sessions) session.apply(WallClock::now());
  terminal.note(terminal.err(Paint::kDim, "watching; Ctrl-C ends it, and the stack goes on"));

  for (;;) {
    std::vector<pollfd> fds = {{.fd = interrupt.fd(), .events = POLLIN, .revents = 0}};
    for (const Session& session : sessions) {
      fds.push_back({.fd = session.watcher().fd(), .events = POLLIN, .revents = 0});
      fds.push_back({.fd = session.judge().fd(), .events = POLLIN, .revents = 0});
    }
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return fail(errno, "wait for a save");
    if (fds[0].revents) return kInterrupted;
    for (std::size_t i = 0; i < sessions.size(); ++i) {
      if (fds[2 * i + 1].revents) sessions[i].look();
      // A save comes first; what Kbuild says of the build before it is dropped then.
      if (fds[2 * i + 2].revents) sessions[i].hear();
    }
  }
}

}  // namespace

extern const Verb kWatch;
const Verb kWatch = {
    .name = "watch",
    .summary = "build, load, and swap a module at every save",
    .operands = "DIR... [PARAM=VALUE]...",
    .description =
        "Builds each module folder and loads it; then, whenever its sources are saved, builds it again "
        "and swaps it under the live connections. One line tells when a save was built, loaded and "
        "swapped, in time since the save, and the blackout that other traffic saw.\n\n"
        "The module goes on in place, with its sockets, timers and variables, whatever its kind, as long as "
        "its structures look as before; if not, the reason is told. Then a congestion control's sockets are "
        "moved to the new code and initialised by it, which is also what --state reinit does; a module of "
        "another kind is swapped while nothing uses it.\n\n"
        "Sources that do not compile, or a module whose init fails, change nothing: the error is shown "
        "as the compiler or the kernel wrote it, and the old generation serves on. A save while "
        "building is built next. Saves in a burst are built once.\n\n"
        "An edit of one source file takes the fast path: what Kbuild did last is replayed, with the leading "
        "#include lines precompiled. Kbuild itself then builds the same in the background; if it makes "
        "something else, you are told, and its build is swapped in. All other changes are built by Kbuild "
        "at once. The second line of a save says which way it went and why, and what each step took.",
    .options = {{.name = "state",
                 .value = "POLICY",
                 .help = "of live objects: keep (default) or reinit"}},
    .examples = {{"lkm-run watch mycc", "until Ctrl-C"},
                 {"lkm-run watch mycc alpha=3", "with a module parameter at the first load"},
                 {"lkm-run watch --json mycc", "one object a save"}},
    .least = 1,
    .most = kAny,
    .complete = Operand::kFolder,
    .run = run,
};

}  // namespace lkm::cli

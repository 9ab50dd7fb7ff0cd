// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/lab_bisect.hpp"

#include <algorithm>
#include <charconv>
#include <map>

#include "toolkit/base/defer.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/lab_command.hpp"
#include "tools/lkm-run/lab_scenario.hpp"
#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

namespace fs = std::filesystem;

constexpr auto kUsageHint = "lkm-run lab bisect dumbbell 'mycc.goodput_bit_s >= 20e6' --cc ./mycc --good v1";

/// What one run says: the measure, and whether the bound holds of it. Nothing when the source does not build.
struct Judgement {
  double value = 0;
  bool holds = false;
};
using Judged = Result<std::optional<Judgement>>;

/// Runs a scenario and judges it.
class Judge {
 public:
  Judge(std::string scenario, Bound bound, Terminal& terminal, Interrupt& interrupt)
      : scenario_(std::move(scenario)), bound_(std::move(bound)), terminal_(terminal), interrupt_(interrupt) {}

  Judged operator()(const std::string& what, const LabOptions& options) {
    const auto words = lab_words(scenario_, options);
    LKM_TRY(auto child, start_lab(words));
    terminal_.transient(fmt::format("{}: running", what));
    LKM_TRY(const std::string answer, interrupt_.read_all(child));
    LKM_TRY(const ExitStatus status, child.wait());
    if (status.code == kBuildFailed) {
      tell(what, "does not build, skipped");
      return std::nullopt;
    }
    const auto measures = measures_in(answer);
    if (!status.success() || !measures)
      return Failure(Error({}, fmt::format("{}: lkm-run lab {}: exit status {}", what, fmt::join(words, " "), status.code)));
    const auto found = std::ranges::find(*measures, bound_.measure, &Measures::value_type::first);
    if (found == measures->end()) return no_such_measure(*measures);
    const Judgement judgement{found->second, bound_.holds(found->second)};
    tell(what, fmt::format("{} is {:g}: {}", bound_.measure, judgement.value, judgement.holds ? "good" : "bad"));
    return judgement;
  }

 private:
  Failure no_such_measure(const Measures& measures) const {
    std::string names;
    for (const auto& [name, value] : measures) names += (names.empty() ? "" : ", ") + name;
    return Failure(Error({}, fmt::format("this run has no measure '{}'; it has {}", bound_.measure, names)));
  }
  void tell(const std::string& what, const std::string& text) const {
    terminal_.note(fmt::format("{}: {}", what, text));
  }

  std::string scenario_;
  Bound bound_;
  Terminal& terminal_;
  Interrupt& interrupt_;
};

/// The bound must hold at one end and not at the other, or there is nothing to look for.
Result<void> check_ends(const std::string& good, const Judged& first, const std::string& bad, const Judged& last) {
  for (const auto& [what, judged] : {std::pair(&good, &first), std::pair(&bad, &last)}) {
    if (!*judged) return Failure(judged->error());
    if (!**judged) return Failure(Error({}, fmt::format("{} does not build", *what)));
  }
  if (!(**first).holds)
    return Failure(Error({}, fmt::format("the bound does not hold of {}, which was to be good", good)));
  if ((**last).holds) return Failure(Error({}, fmt::format("the bound holds of {}, too", bad)));
  return {};
}

// -- commits ---------------------------------------------------------------------------------------

/// What git prints, without the newline at its end. Its errors go to our stderr. `expected` is an exit status besides 0
/// that is no failure.
Result<std::string> git(const fs::path& folder, std::vector<std::string> words, int expected = 0) {
  words.insert(words.begin(), {"git", "-C", folder.string()});
  LKM_TRY(auto child, Child::spawn({.argv = words, .out = Child::Output::kPipe}));
  LKM_TRY(std::string out, child.read_all());
  LKM_TRY(const ExitStatus status, child.wait());
  if (!status.success() && status.code != expected)
    return Failure(Error({}, fmt::format("{}: exit status {}", fmt::join(words, " "), status.code)));
  while (out.ends_with('\n')) out.pop_back();
  return out;
}

/// `git bisect` of the commits between two, in a worktree of its own.
class Commits {
 public:
  Commits(const Arguments& arguments, Judge& judge, Terminal& terminal)
      : options_(lab_options(arguments)),
        good_(arguments.value("good")),
        bad_(arguments.value("bad", "HEAD")),
        judge_(judge),
        terminal_(terminal) {}

  Result<int> run() {
    LKM_CHECK(find_repository());
    LKM_TRY(const auto scratch, TempDir::make("lkm-run-bisect-"));
    tree_ = scratch.path() / "tree";
    LKM_TRY(const auto good, commit(top_, good_));
    LKM_TRY(const auto bad, commit(top_, bad_));
    LKM_CHECK(git(top_, {"worktree", "add", "--quiet", "--detach", tree_, bad}));
    const auto remove = defer([this] { (void)git(top_, {"worktree", "remove", "--force", tree_}); });

    const auto last = judge_head();
    LKM_CHECK(git(tree_, {"checkout", "--quiet", "--detach", good}));
    const auto first = judge_head();
    LKM_CHECK(check_ends(good_, first, bad_, last));

    LKM_TRY(std::string said, git(tree_, {"bisect", "start", bad, good}));
    values_ = {{good, (**first).value}, {bad, (**last).value}};
    while (said.find("is the first bad commit") == std::string::npos) {
      if (said.find("only 'skip'ped commits left") != std::string::npos)
        return Failure(Error({}, "the first bad commit is one of those that do not build:\n" + said));
      LKM_TRY(const auto head, commit(tree_, "HEAD"));
      LKM_TRY(const auto judged, judge_head());
      if (judged) values_[head] = judged->value;
      constexpr int kOnlySkippedLeft = 2;
      LKM_TRY(said, git(tree_, {"bisect", !judged ? "skip" : judged->holds ? "good" : "bad"}, kOnlySkippedLeft));
    }
    return show(said.substr(0, said.find(' ')));
  }

 private:
  /// Folders of --cc and --module, which must be in one repository.
  Result<void> find_repository() {
    for (const char* option : {"cc", "module"}) {
      for (const std::string& word : split_list(options_[option])) {
        if (word.find('/') == std::string::npos || source_kind(word) != SourceKind::kFolder) continue;
        auto top = git(word, {"rev-parse", "--show-toplevel"});
        if (!top)
          return Failure(Error({}, fmt::format("'{}' is in no repository of git", word))
                             .with_hint("name builds: lkm-run lab bisect SCENARIO BOUND BUILD BUILD..."));
        if (!top_.empty() && top_ != *top)
          return Failure(Error({}, fmt::format("'{}' is in another repository than '{}'", word, top_.string())));
        top_ = *top;
      }
    }
    if (top_.empty()) return Failure(Error({}, "no module folder is given by --cc or --module").with_hint(kUsageHint));
    return {};
  }

  static Result<std::string> commit(const fs::path& tree, const std::string& revision) {
    return git(tree, {"rev-parse", "--verify", revision + "^{commit}"});
  }

  Judged judge_head() {
    LabOptions options = options_;
    for (const char* option : {"cc", "module"}) {
      std::string words;
      for (const std::string& word : split_list(options_[option])) {
        const bool folder = word.find('/') != std::string::npos && source_kind(word) == SourceKind::kFolder;
        const fs::path there = folder ? tree_ / fs::relative(fs::canonical(word), top_) : fs::path(word);
        words += (words.empty() ? "" : ",") + there.string();
      }
      options[option] = words;
    }
    LKM_TRY(const auto name, git(tree_, {"log", "-1", "--format=%h %s"}));
    return judge_(name, options);
  }

  Result<int> show(const std::string& first_bad) {
    LKM_TRY(const auto name, git(top_, {"log", "-1", "--format=%h %s", first_bad}));
    LKM_TRY(const auto before, git(top_, {"rev-parse", first_bad + "^"}));
    const auto value = [this](const std::string& of) {
      const auto found = values_.find(of);
      return found == values_.end() ? Json() : Json(found->second);
    };
    if (terminal_.json()) {
      terminal_.object({{"bisect",
                         {{"first_bad", first_bad},
                          {"runs", values_.size()},
                          {"value", value(first_bad)},
                          {"before", value(before)}}}});
    } else {
      terminal_.line(fmt::format("{} is the first bad commit", name));
      LKM_TRY(const auto changes, git(top_, {"show", "--stat", "--format=", first_bad}));
      terminal_.line(changes);
    }
    return kDone;
  }

  LabOptions options_;
  std::string good_, bad_;
  Judge& judge_;
  Terminal& terminal_;
  fs::path top_, tree_;
  std::map<std::string, double> values_;  // by commit
};

// -- builds ----------------------------------------------------------------------------------------

/// Builds from old to new, as operands: by halves, between one of which the bound holds and one of which it does not.
Result<int> among_builds(const Arguments& arguments, Judge& judge, Terminal& terminal) {
  const std::vector<std::string> builds(arguments.operands().begin() + 3, arguments.operands().end());
  std::map<std::size_t, Judgement> known;
  const auto of = [&](std::size_t number) -> Judged {
    LabOptions options = lab_options(arguments);
    options["module"] += (options["module"].empty() ? "" : ",") + fs::absolute(builds[number]).lexically_normal().string();
    LKM_TRY(const auto judged, judge(builds[number], options));
    if (judged) known[number] = *judged;
    return judged;
  };
  std::vector<std::size_t> between;  // those that are not known to be good or bad
  const auto last = of(builds.size() - 1);
  LKM_CHECK(check_ends(builds.front(), of(0), builds.back(), last));
  std::size_t good = 0, bad = builds.size() - 1;
  for (std::size_t number = good + 1; number < bad; ++number) between.push_back(number);
  while (!between.empty()) {
    const std::size_t middle = between[between.size() / 2];
    LKM_TRY(const auto judged, of(middle));
    if (!judged) {
      std::erase(between, middle);
      continue;
    }
    (judged->holds ? good : bad) = middle;
    std::erase_if(between, [&](std::size_t number) { return number <= good || number >= bad; });
  }
  if (terminal.json()) {
    terminal.object({{"bisect",
                      {{"first_bad", builds[bad]},
                       {"runs", known.size()},
                       {"value", known[bad].value},
                       {"before", known[good].value}}}});
  } else {
    const bool exact = bad == good + 1;
    terminal.line(fmt::format("{} is the first bad build{}", builds[bad],
                              exact ? "" : fmt::format(", or one after {} that does not build", builds[good])));
  }
  return kDone;
}

}  // namespace

bool Bound::holds(double value) const {
  if (relation == "<") return value < limit;
  if (relation == "<=") return value <= limit;
  if (relation == ">") return value > limit;
  return value >= limit;
}

Result<Bound> parse_bound(const std::string& text) {
  const auto refuse = [&] {
    return Failure(Error({}, fmt::format("'{}' is no bound of a measure", text)).with_hint(kUsageHint));
  };
  const auto trimmed = [](std::string part) {
    part.erase(0, part.find_first_not_of(' '));
    part.erase(part.find_last_not_of(' ') + 1);
    return part;
  };
  const auto relation = text.find_first_of("<>");
  if (relation == std::string::npos) return refuse();
  const std::size_t length = text.substr(relation + 1, 1) == "=" ? 2 : 1;
  Bound bound{trimmed(text.substr(0, relation)), text.substr(relation, length), 0};
  const std::string limit = trimmed(text.substr(relation + length));
  const auto [end, error] = std::from_chars(limit.data(), limit.data() + limit.size(), bound.limit);
  if (bound.measure.empty() || error != std::errc() || end != limit.data() + limit.size()) return refuse();
  return bound;
}

Result<int> lab_bisect(const Arguments& arguments, Terminal& terminal) {
  const auto& words = arguments.operands();
  const auto misused = [&](std::string why) {
    terminal.error(Error({}, "bisect: " + std::move(why)).with_hint(kUsageHint));
    return kUsage;
  };
  if (words.size() < 3) return misused("it needs a scenario and a bound");
  auto bound = parse_bound(words[2]);
  if (!bound) {
    terminal.error(bound.error());
    return kUsage;
  }
  const bool commits = words.size() == 3;
  if (commits && !arguments.has("good")) return misused("it needs --good, a commit of which the bound holds, or builds");
  if (!commits && (arguments.has("good") || arguments.has("bad"))) return misused("either commits or builds");
  if (words.size() == 4) return misused("one build is nothing to search");
  LKM_TRY(auto interrupt, Interrupt::block());
  Judge judge(words[1], *bound, terminal, interrupt);
  auto code = commits ? Commits(arguments, judge, terminal).run() : among_builds(arguments, judge, terminal);
  if (!code) return explain(terminal, code.error());
  return code;
}

}  // namespace lkm::cli

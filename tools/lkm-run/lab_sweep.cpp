// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/lab_sweep.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <map>
#include <thread>

#include "toolkit/net/units.hpp"
#include "tools/lkm-run/image.hpp"
#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/lab_command.hpp"
#include "tools/lkm-run/lab_scenario.hpp"
#include "tools/lkm-run/lab_slurm.hpp"
#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/sweep_table.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

namespace fs = std::filesystem;
using Steady = std::chrono::steady_clock;

constexpr std::uint64_t kMostRuns = 1'000'000;
constexpr int kAskSlurm = 2000;  // ms between two looks at its queue

/// An option of the lab, and the values that it takes in turn.
struct Parameter {
  std::string name;
  std::vector<std::string> values;
};

Failure refuse(const std::string& why) {
  return Failure(Error({}, "sweep: " + why).with_hint("lkm-run lab sweep dumbbell cc=cubic,bbr seed=1-5 -o out"));
}

/// "1-5" of a seed stands for all from 1 to 5.
Result<void> add_values(Parameter& parameter, const std::string& text) {
  std::uint64_t first = 0, last = 0;
  const auto dash = text.find('-');
  const char* const end = text.data() + text.size();
  if (parameter.name != "seed" || dash == std::string::npos) {
    parameter.values.push_back(text);
    return {};
  }
  if (std::from_chars(text.data(), text.data() + dash, first).ptr != text.data() + dash ||
      std::from_chars(text.data() + dash + 1, end, last).ptr != end || last < first || last - first >= kMostRuns)
    return refuse(fmt::format("'{}' are no seeds", text));
  for (std::uint64_t seed = first; seed <= last; ++seed) parameter.values.push_back(fmt::format("{}", seed));
  return {};
}

Result<std::vector<Parameter>> parameters_of(const Arguments& arguments) {
  const auto& words = arguments.operands();
  if (words.size() < 2) return refuse("it needs a scenario");
  std::vector<Parameter> parameters = {{"scenario", split_list(words[1])}};
  const auto& options = find_verb("lab")->options;
  for (std::size_t i = 2; i < words.size(); ++i) {
    const auto equals = words[i].find('=');
    Parameter parameter{words[i].substr(0, equals), {}};
    const auto option = std::ranges::find(options, parameter.name, [](const Option& one) { return one.name; });
    if (equals == std::string::npos || option == options.end() || option->value.empty())
      return refuse(fmt::format("'{}' is no option of the lab with its values", words[i]));
    if (std::ranges::count(parameters, parameter.name, &Parameter::name) > 0)
      return refuse(fmt::format("'{}' is there twice", parameter.name));
    for (const std::string& value : split_list(words[i].substr(equals + 1))) LKM_CHECK(add_values(parameter, value));
    if (parameter.values.empty()) return refuse(fmt::format("'{}' has no value", words[i]));
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

/// A run of the plan.
struct Planned {
  std::vector<std::string> values;  // of the parameters
  std::vector<std::string> words;   // of `lkm-run lab`
};

class Sweep {
 public:
  Sweep(const Arguments& arguments, Terminal& terminal, Interrupt& interrupt, std::vector<Parameter> parameters)
      : arguments_(arguments),
        terminal_(terminal),
        interrupt_(interrupt),
        parameters_(std::move(parameters)),
        folder_(arguments.value("output")) {}

  Result<int> run();

 private:
  struct Running {
    std::size_t number;  // in plan_
    Child child;
    std::string out;
  };
  Result<void> plan();
  Result<void> build_folders();
  void recall();
  Result<void> start_more();
  Result<void> hear(Running& running, bool& ended);
  Result<void> judge(std::size_t number, const std::string& answer, const std::string& how);
  /// Both until all are done; false when a signal came.
  Result<bool> run_here();
  Result<bool> run_by_slurm();
  Result<void> keep(std::size_t number, Json measures);
  void tell_progress() const;

  const Arguments& arguments_;
  Terminal& terminal_;
  Interrupt& interrupt_;
  std::vector<Parameter> parameters_;
  fs::path folder_;
  std::map<std::string, std::string> plugins_;  // by the word that named their folder, with commas between
  std::vector<Planned> plan_;
  std::map<std::size_t, Json> done_;  // measures, by number in plan_
  std::vector<std::size_t> todo_;     // the last one is next
  std::vector<Running> running_;
  std::size_t recalled_ = 0;
  std::size_t failed_ = 0;
  unsigned jobs_ = 1;
  Steady::time_point began_ = Steady::now();
};

// Once, and not by each run: then all of them have the same build, also when the source is edited meanwhile.
Result<void> Sweep::build_folders() {
  LKM_TRY(const auto image, present_image());
  std::vector<std::string> words = split_list(arguments_.value("cc"));
  for (const std::string& module : split_list(arguments_.value("module"))) words.push_back(module);
  for (const Parameter& parameter : parameters_) {
    if (parameter.name != "cc" && parameter.name != "module") continue;
    for (std::string value : parameter.values) {
      std::ranges::replace(value, '+', ',');
      for (const std::string& word : split_list(value)) words.push_back(word);
    }
  }
  for (const std::string& word : words) {
    if (word.find('/') == std::string::npos || source_kind(word) != SourceKind::kFolder || plugins_.contains(word)) continue;
    LKM_TRY(const auto plugins, lab_plugins_of(fs::absolute(word).lexically_normal(), image, terminal_));
    plugins_[word] = fmt::format("{}", fmt::join(plugins, ","));
  }
  return {};
}

Result<void> Sweep::plan() {
  std::uint64_t runs = 1;
  for (const Parameter& parameter : parameters_) runs *= parameter.values.size();
  if (runs > kMostRuns) return refuse(fmt::format("{} runs are too many", runs));
  for (std::uint64_t number = 0; number < runs; ++number) {
    Planned planned;
    LabOptions options = lab_options(arguments_);
    std::uint64_t rest = number, of = runs;
    for (const Parameter& parameter : parameters_) {  // the last one changes fastest
      of /= parameter.values.size();
      planned.values.push_back(parameter.values[rest / of]);
      rest %= of;
      if (parameter.name != "scenario") options[parameter.name] = planned.values.back();
    }
    std::string modules, controls;
    std::ranges::replace(options["cc"], '+', ',');
    for (const std::string& word : split_list(options["module"])) {
      modules += (modules.empty() ? "" : ",") + (plugins_.contains(word) ? plugins_[word] : word);
    }
    for (const std::string& word : split_list(options["cc"])) {
      fs::path folder = fs::absolute(word).lexically_normal();
      if (!folder.has_filename()) folder = folder.parent_path();
      const bool built = plugins_.contains(word);
      if (built && modules.find(plugins_[word]) == std::string::npos)
        modules += (modules.empty() ? "" : ",") + plugins_[word];
      controls += (controls.empty() ? "" : ",") + (built ? folder.filename().string() : word);
    }
    options["cc"] = controls;
    options["module"] = modules;
    planned.words = lab_words(planned.values[0], options);
    plan_.push_back(std::move(planned));
  }
  return {};
}

/// What was done before. A line that was being written when the sweep was killed is none.
void Sweep::recall() {
  std::map<Json, Json> known;
  std::ifstream file(folder_ / "runs.jsonl");
  for (std::string line; std::getline(file, line);) {
    const Json run = Json::parse(line, nullptr, false);
    if (run.is_object() && run.contains("words") && run.contains("measures")) known[run["words"]] = run["measures"];
  }
  for (std::size_t number = plan_.size(); number-- > 0;) {
    const auto found = known.find(Json(plan_[number].words));
    if (found != known.end()) done_[number] = found->second;
    if (found == known.end()) todo_.push_back(number);
  }
  recalled_ = done_.size();
}

Result<void> Sweep::start_more() {
  while (!todo_.empty() && running_.size() < jobs_) {
    LKM_TRY(auto child, start_lab(plan_[todo_.back()].words));
    running_.push_back({todo_.back(), std::move(child), {}});
    todo_.pop_back();
  }
  return {};
}

Result<void> Sweep::hear(Running& running, bool& ended) {
  std::array<char, 16384> bytes;
  const ssize_t got = ::read(running.child.out().get(), bytes.data(), bytes.size());
  if (got > 0) running.out.append(bytes.data(), std::size_t(got));
  ended = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  if (!ended) return {};
  LKM_TRY(const ExitStatus status, running.child.wait());
  return judge(running.number, status.success() ? running.out : "", fmt::format("exit status {}", status.code));
}

/// `how` it failed, if the answer is none.
Result<void> Sweep::judge(std::size_t number, const std::string& answer, const std::string& how) {
  if (const auto measures = measures_in(answer)) return keep(number, *measures);
  ++failed_;
  terminal_.error(Error({}, fmt::format("lkm-run lab {}: {}", fmt::join(plan_[number].words, " "), how)));
  return {};
}

Result<void> Sweep::keep(std::size_t number, Json measures) {
  const fs::path file = folder_ / "runs.jsonl";
  LKM_TRY(const auto fd, UniqueFd::open(file, O_WRONLY | O_APPEND | O_CREAT, 0644));
  // A newline first ends a line that a kill has cut off.
  const std::string line = "\n" + Json({{"words", plan_[number].words}, {"measures", measures}}).dump() + "\n";
  if (::write(fd.get(), line.data(), line.size()) != ssize_t(line.size())) return fail(errno, "write '{}'", file.string());
  done_[number] = std::move(measures);
  return {};
}

void Sweep::tell_progress() const {
  const std::size_t fresh = done_.size() - recalled_;
  const std::chrono::duration<double> spent = Steady::now() - began_;
  const auto left = spent * double(plan_.size() - done_.size() - failed_) / double(std::max<std::size_t>(fresh, 1));
  terminal_.transient(fmt::format("{} of {} runs, {} left", done_.size(), plan_.size(),
                                  fresh == 0 ? "?" : format_duration(std::chrono::ceil<std::chrono::seconds>(left))));
}

Result<bool> Sweep::run_here() {
  jobs_ = std::max(1U, std::thread::hardware_concurrency());
  LKM_CHECK(read_number(arguments_, "jobs", jobs_));
  while (!todo_.empty() || !running_.empty()) {
    LKM_CHECK(start_more());
    tell_progress();
    std::vector<pollfd> fds = {{interrupt_.fd(), POLLIN, 0}};
    for (const Running& running : running_) fds.push_back({running.child.out().get(), POLLIN, 0});
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return fail(errno, "wait for a run");
    if (fds[0].revents != 0) {
      terminal_.note("interrupted; the same command goes on from here");
      return false;
    }
    for (std::size_t i = running_.size(); i-- > 0;) {
      bool ended = false;
      if (fds[i + 1].revents != 0) LKM_CHECK(hear(running_[i], ended));
      if (ended) running_.erase(running_.begin() + std::ptrdiff_t(i));
    }
  }
  return true;
}

Result<bool> Sweep::run_by_slurm() {
  unsigned at_once = 0;
  LKM_CHECK(read_number(arguments_, "jobs", at_once));
  LKM_TRY(auto slurm, SlurmRuns::open(folder_ / "slurm"));
  std::map<SlurmRuns::Words, std::size_t> numbers;
  for (const std::size_t number : todo_) numbers[plan_[number].words] = number;
  const auto take = [&](bool first) -> Result<void> {
    LKM_TRY(const auto ended, slurm.take());
    for (const SlurmRuns::Done& one : ended) {
      const auto number = numbers.find(one.words);
      if (number == numbers.end()) continue;  // of a sweep that was another one
      // What an earlier command left without an answer is done again.
      if (first && one.answer.empty()) continue;
      LKM_CHECK(judge(number->second, one.answer, fmt::format("no answer; it said what is in {}", one.log)));
      numbers.erase(number);
    }
    return {};
  };
  LKM_CHECK(take(true));
  const auto under_way = slurm.under_way();
  std::vector<SlurmRuns::Words> fresh;
  for (auto number = todo_.rbegin(); number != todo_.rend(); ++number) {
    const auto& words = plan_[*number].words;
    if (numbers.contains(words) && !under_way.contains(words)) fresh.push_back(words);
  }
  LKM_CHECK(slurm.submit(fresh, at_once));
  terminal_.note(fmt::format("{} runs are with Slurm, as array job {}", numbers.size(), fmt::join(slurm.jobs(), ",")));
  while (!numbers.empty()) {
    tell_progress();
    pollfd signal{interrupt_.fd(), POLLIN, 0};
    if (::poll(&signal, 1, kAskSlurm) < 0 && errno != EINTR) return fail(errno, "wait for Slurm");
    if (signal.revents != 0) {
      terminal_.note(fmt::format("interrupted; Slurm's jobs go on (scancel {} ends them), and the same command takes "
                                 "their results", fmt::join(slurm.jobs(), " ")));
      return false;
    }
    LKM_CHECK(take(false));
    // A batch may be gone without all of these: of another sweep in this folder.
    if (slurm.under_way().empty()) break;
  }
  return true;
}

Result<int> Sweep::run() {
  LKM_CHECK(build_folders());
  LKM_CHECK(plan());
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) return Failure(Error(error, fmt::format("make the folder '{}'", folder_.string())));
  recall();
  terminal_.note(fmt::format("{} runs, {} of them done before", plan_.size(), recalled_));
  LKM_TRY(const bool on, arguments_.has("slurm") ? run_by_slurm() : run_here());
  if (!on) return kInterrupted;
  SweepTable table;
  for (const Parameter& parameter : parameters_) table.parameters.push_back(parameter.name);
  for (const auto& [number, measures] : done_)
    table.runs.push_back({plan_[number].values, measures.get<std::vector<std::pair<std::string, double>>>()});
  LKM_CHECK(table.write(folder_));
  if (terminal_.json()) {
    terminal_.object({{"sweep", {{"runs", done_.size()}, {"failed", failed_}, {"folder", folder_.string()}}}});
  } else {
    for (const char* file : {"runs.csv", "estimates.csv", "results.sqlite"}) terminal_.line((folder_ / file).string());
  }
  return failed_ == 0 ? kDone : kFailed;
}

}  // namespace

Result<int> lab_sweep(const Arguments& arguments, Terminal& terminal) {
  auto parameters = parameters_of(arguments);
  if (!parameters || !arguments.has("output")) {
    terminal.error(parameters ? refuse("it needs --output, a folder for its results").value() : parameters.error());
    return kUsage;
  }
  LKM_TRY(auto interrupt, Interrupt::block());
  auto code = Sweep(arguments, terminal, interrupt, std::move(*parameters)).run();
  if (!code) return explain(terminal, code.error());
  return code;
}

}  // namespace lkm::cli

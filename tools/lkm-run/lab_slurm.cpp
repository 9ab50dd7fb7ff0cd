// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/lab_slurm.hpp"

#include <algorithm>
#include <charconv>

#include "toolkit/base/child.hpp"
#include "toolkit/base/file.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kArray = 1001;  // tasks of an array, where nobody has set MaxArraySize

struct Said {
  int code = 0;
  std::string text;
};

Result<Said> ask(std::vector<std::string> argv) {
  const std::string program = argv[0];
  auto child = Child::spawn({.argv = std::move(argv), .out = Child::Output::kPipe, .err = Child::Output::kWithOut});
  if (!child)
    return Failure(std::move(child).error().with_hint("Slurm's commands are in Debian's slurm-client"));
  LKM_TRY(std::string text, child->read_all());
  LKM_TRY(const ExitStatus status, child->wait());
  while (text.ends_with('\n')) text.pop_back();
  return Said{status.code, std::move(text)};
}

/// As one word of sh(1).
std::string shell_word(const std::string& word) {
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

/// How many tasks an array of this cluster may have.
Result<std::size_t> most_tasks() {
  LKM_TRY(const Said said, ask({"scontrol", "show", "config"}));
  if (said.code != 0) return fail(EPROTO, "scontrol: {}", said.text);
  std::size_t most = kArray;
  if (const auto at = said.text.find("MaxArraySize"); at != std::string::npos) {
    const auto number = said.text.find_first_of("0123456789", at);
    if (number != std::string::npos) std::from_chars(said.text.data() + number, said.text.data() + said.text.size(), most);
  }
  return std::max<std::size_t>(most, 1);
}

/// The tasks of an array that wait or run, as squeue knows them; nothing when it knows no such job any more.
Result<std::set<std::size_t>> tasks_left(const std::string& job) {
  LKM_TRY(const Said said, ask({"squeue", "--noheader", "--array", "--jobs", job, "--format", "%K"}));
  if (said.code != 0 && said.text.find("Invalid job id") == std::string::npos) return fail(EPROTO, "squeue: {}", said.text);
  std::set<std::size_t> left;
  if (said.code != 0) return left;
  for (std::size_t at = 0; at < said.text.size();) {
    const std::size_t end = std::min(said.text.find('\n', at), said.text.size());
    std::size_t task = 0;
    if (std::from_chars(said.text.data() + at, said.text.data() + end, task).ec == std::errc()) left.insert(task);
    at = end + 1;
  }
  return left;
}

}  // namespace

Result<SlurmRuns> SlurmRuns::open(fs::path folder) {
  SlurmRuns all(fs::absolute(std::move(folder)).lexically_normal());
  std::error_code error;
  fs::create_directories(all.folder_, error);
  if (error) return Failure(Error(error, fmt::format("make the folder '{}'", all.folder_.string())));
  for (const auto& entry : fs::directory_iterator(all.folder_, error)) {
    const auto words = read_file(entry.path() / "words.json");
    const Json runs = words ? Json::parse(*words, nullptr, false) : Json();
    if (!runs.is_array()) continue;
    Batch batch{.folder = entry.path(), .job = {}, .runs = {}, .left = {}};
    if (auto job = read_file(entry.path() / "job")) batch.job = trimmed(std::move(*job));
    for (const Json& one : runs) {
      batch.left.insert(batch.runs.size());
      batch.runs.push_back(one.get<Words>());
    }
    all.batches_.push_back(std::move(batch));
  }
  if (error) return Failure(Error(error, fmt::format("read the folder '{}'", all.folder_.string())));
  std::ranges::sort(all.batches_, {}, &Batch::folder);
  return all;
}

Result<void> SlurmRuns::submit(const std::vector<Words>& runs, unsigned at_once) {
  if (runs.empty()) return {};
  LKM_TRY(const std::size_t most, most_tasks());
  for (std::size_t from = 0; from < runs.size(); from += most) {
    const auto begin = runs.begin() + std::ptrdiff_t(from);
    LKM_CHECK(submit_batch({begin, begin + std::ptrdiff_t(std::min(most, runs.size() - from))}, at_once));
  }
  return {};
}

Result<void> SlurmRuns::submit_batch(const std::vector<Words>& runs, unsigned at_once) {
  Batch batch{.folder = {}, .job = {}, .runs = runs, .left = {}};
  std::error_code error;
  for (unsigned number = 1; batch.folder.empty(); ++number) {
    const fs::path folder = folder_ / fmt::format("batch-{}", number);
    if (fs::create_directory(folder, error)) batch.folder = folder;
    if (error) return Failure(Error(error, fmt::format("make the folder '{}'", folder.string())));
  }
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error) return Failure(Error(error, "find this program"));
  std::string commands;
  for (const Words& words : runs) {
    commands += shell_word(self) + " lab";
    for (const std::string& word : words) commands += " " + shell_word(word);
    commands += " --json\n";
  }
  const std::string in = shell_word(batch.folder);
  const std::string script = fmt::format(
      "#!/bin/sh\n"
      "# Made by lkm-run lab sweep --slurm. Each task is a line of the file `runs`; where it has an answer, it is done.\n"
      "task=$SLURM_ARRAY_TASK_ID\n"
      "run=$(sed -n \"$((task + 1))p\" {0}/runs)\n"
      "eval \"$run\" >{0}/\"$task\".part && mv {0}/\"$task\".part {0}/\"$task\".json\n",
      in);
  LKM_CHECK(replace_file(batch.folder / "runs", commands));
  LKM_CHECK(replace_file(batch.folder / "script", script));
  LKM_CHECK(replace_file(batch.folder / "words.json", Json(runs).dump()));
  const std::string limit = at_once == 0 ? "" : fmt::format("%{}", at_once);
  auto said = ask({"sbatch", "--parsable", "--job-name=lkm-run-sweep", "--ntasks=1", "--cpus-per-task=1",
                   fmt::format("--array=0-{}{}", runs.size() - 1, limit),
                   fmt::format("--output={}/%a.log", batch.folder.string()), (batch.folder / "script").string()});
  if (!said || said->code != 0) {
    fs::remove_all(batch.folder, error);
    if (!said) return Failure(std::move(said).error());
    return fail(EPROTO, "sbatch: {}", said->text);
  }
  // "42", or "42;cluster"; a warning may be before it.
  batch.job = said->text.substr(said->text.rfind('\n') + 1);
  batch.job = batch.job.substr(0, batch.job.find(';'));
  LKM_CHECK(replace_file(batch.folder / "job", batch.job + "\n"));
  for (std::size_t task = 0; task < runs.size(); ++task) batch.left.insert(task);
  batches_.push_back(std::move(batch));
  return {};
}

Result<std::vector<SlurmRuns::Done>> SlurmRuns::take() {
  std::vector<Done> done;
  for (Batch& batch : batches_) {
    // Asked first: of a task that ends meanwhile the answer is there when it is looked for.
    std::set<std::size_t> alive;
    if (!batch.job.empty()) {
      LKM_TRY(alive, tasks_left(batch.job));
    }
    for (auto task = batch.left.begin(); task != batch.left.end();) {
      const std::string log = batch.folder / fmt::format("{}.log", *task);
      auto answer = read_file(batch.folder / fmt::format("{}.json", *task));
      if (!answer && alive.contains(*task)) {
        ++task;
        continue;
      }
      batch.failed = batch.failed || !answer;
      done.push_back({batch.runs[*task], answer ? std::move(*answer) : "", log});
      task = batch.left.erase(task);
    }
    // The logs of those that failed stay until they are done.
    std::error_code ignored;
    if (batch.left.empty() && !batch.failed) fs::remove_all(batch.folder, ignored);
    if (batch.left.empty() && batch.failed) fs::remove(batch.folder / "words.json", ignored);
  }
  std::erase_if(batches_, [](const Batch& batch) { return batch.left.empty(); });
  return done;
}

std::set<SlurmRuns::Words> SlurmRuns::under_way() const {
  std::set<Words> all;
  for (const Batch& batch : batches_) {
    for (const std::size_t task : batch.left) all.insert(batch.runs[task]);
  }
  return all;
}

std::vector<std::string> SlurmRuns::jobs() const {
  std::vector<std::string> all;
  for (const Batch& batch : batches_) {
    if (!batch.job.empty()) all.push_back(batch.job);
  }
  return all;
}

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/lab_command.hpp"

#include <algorithm>
#include <array>

#include "toolkit/lab/measures.hpp"
#include "tools/lkm-run/terminal.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

constexpr std::array<std::string_view, 6> kOfSeveralRuns = {"output", "format", "jobs", "slurm", "good", "bad"};

}  // namespace

LabOptions lab_options(const Arguments& arguments) {
  LabOptions options;
  for (const Option& option : find_verb("lab")->options) {
    if (arguments.has(option.name) && std::ranges::count(kOfSeveralRuns, option.name) == 0)
      options[std::string(option.name)] = arguments.value(option.name);
  }
  return options;
}

std::vector<std::string> lab_words(const std::string& scenario, const LabOptions& options) {
  const auto& all = find_verb("lab")->options;
  std::vector<std::string> words = {scenario};
  for (const auto& [name, value] : options) {
    const bool flag = std::ranges::find(all, name, &Option::name)->value.empty();
    if (flag) words.push_back("--" + name);
    if (!flag && !value.empty()) words.insert(words.end(), {"--" + name, value});
  }
  return words;
}

Result<Child> start_lab(const std::vector<std::string>& words) {
  std::vector<std::string> argv = {"/proc/self/exe", "lab"};
  argv.insert(argv.end(), words.begin(), words.end());
  argv.emplace_back("--json");
  return Child::spawn({.argv = argv, .out = Child::Output::kPipe});
}

std::optional<Measures> measures_in(const std::string& answer) {
  const Json parsed = Json::parse(answer, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("lab")) return std::nullopt;
  return lab::measures_of(parsed["lab"]["summary"]);
}

}  // namespace lkm::cli

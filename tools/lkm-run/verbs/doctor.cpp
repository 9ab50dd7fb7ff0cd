// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/doctor.hpp"

#include <algorithm>

#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

void show(const Terminal& terminal, const Check& check) {
  const bool good = check.state == Check::State::kGood;
  const bool missing = check.state == Check::State::kMissing;
  const std::string mark = good      ? terminal.out(Paint::kGood, "ok     ")
                           : missing ? terminal.out(Paint::kBad, "missing")
                                     : terminal.out(Paint::kNotice, "note   ");
  terminal.line(fmt::format("{}  {:<16} {}", mark, check.name, check.what));
  if (!check.hint.empty()) terminal.line(fmt::format("{:26} HINT: {}", "", check.hint));
}

Result<int> run(const Arguments&, Terminal& terminal) {
  const auto checks = check_machine();
  for (const Check& check : checks) {
    if (terminal.json()) {
      terminal.object({{"check", to_json(check)}});
    } else {
      show(terminal, check);
    }
  }
  const bool missing = std::ranges::any_of(
      checks, [](const Check& check) { return check.state == Check::State::kMissing; });
  return missing ? kMissing : kDone;
}

}  // namespace

extern const Verb kDoctor;
const Verb kDoctor = {
    .name = "doctor",
    .summary = "what this machine lacks, and how to get it",
    .operands = "",
    .description =
        "Looks for all that lkm-run needs: compiler and make, kernel source or a built library kernel, "
        "FUSE, memory and disk. Exit status 5 when something needed is missing.",
    .options = {},
    .examples = {{"lkm-run doctor", "before the first lkm-run up"},
                 {"lkm-run doctor --json", "one check a line"}},
    .run = run,
};

}  // namespace lkm::cli

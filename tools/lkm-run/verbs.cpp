// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/verb.hpp"

#include <algorithm>

namespace lkm::cli {

// One file in verbs/ for each.
extern const Verb kDoctor, kUp, kDown, kLs, kNew, kBuild, kTest, kLoad, kUnload, kSwap, kWatch, kLog,
    kSysctl, kNetns, kLink, kDevice, kCapture, kExec, kShell, kFlow, kLab, kMount, kInfo, kCompletion, kHelp;

std::span<const Verb* const> all_verbs() {
  static const Verb* const verbs[] = {&kDoctor, &kUp,   &kDown,  &kLs,     &kNew,
                                      &kBuild,  &kTest, &kLoad, &kUnload, &kSwap,  &kWatch,
                                      &kLog,    &kSysctl, &kNetns, &kLink, &kDevice, &kCapture, &kExec,
                                      &kShell,  &kFlow, &kLab,
                                      &kMount,  &kInfo, &kCompletion, &kHelp};
  return verbs;
}

const Verb* find_verb(std::string_view name) {
  const auto verbs = all_verbs();
  const auto found = std::ranges::find(verbs, name, [](const Verb* verb) { return verb->name; });
  return found == verbs.end() ? nullptr : *found;
}

const std::vector<Option>& global_options() {
  static const std::vector<Option> options = {
      {.name = "name", .letter = 'n', .value = "STACK", .help = "the stack to talk to (default: \"default\")"},
      {.name = "json", .help = "results as JSON, one object a line"},
      {.name = "color", .value = "WHEN", .help = "colours: auto, always, never",
       .choices = {"auto", "always", "never"}},
      {.name = "usage", .letter = 'h', .help = "short help"},
      {.name = "help", .help = "help with examples"},
  };
  return options;
}

}  // namespace lkm::cli

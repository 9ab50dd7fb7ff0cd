// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/help.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  terminal.text(completion_script(arguments.operand(0)));
  return kDone;
}

}  // namespace

extern const Verb kCompletion;
const Verb kCompletion = {
    .name = "completion",
    .summary = "a completion script for your shell",
    .operands = "bash|zsh|fish",
    .description = "Prints a script that completes verbs, options and their values.",
    .options = {},
    .examples = {{"source <(lkm-run completion bash)", "for this shell"},
                 {"lkm-run completion fish > ~/.config/fish/completions/lkm-run.fish", "for good"}},
    .least = 1,
    .most = 1,
    .words = {"bash", "zsh", "fish"},
    .run = run,
};

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
#include "toolkit/base/file.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

// Of a stack that is no more: what its console wrote to the end.
Result<int> show_last_words(const control::StateFolder& folder, Terminal& terminal) {
  LKM_TRY(std::string text, read_file(folder.log()));
  terminal.note(fmt::format("stack '{}' is dead; its last log:", folder.name()));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (terminal.json()) {
    terminal.object({{"console", text}});
  } else {
    terminal.line(text);
  }
  return kDone;
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  LKM_TRY(const auto folder, state_folder(arguments));
  std::error_code ignored;
  if (!folder.owner() && std::filesystem::exists(folder.log(), ignored)) {
    return show_last_words(folder, terminal);
  }
  LKM_TRY(auto client, control::Client::connect(folder));
  const auto show = [&](const Json& event) {
    const Json& record = event["log"];
    if (terminal.json()) {
      terminal.object({{"log", record}});
    } else {
      terminal.line(log_line(terminal, record, &Terminal::out));
    }
  };
  LKM_CHECK(client.call("log", {{"follow", arguments.has("follow")}}, show));
  return kDone;
}

}  // namespace

extern const Verb kLog;
const Verb kLog = {
    .name = "log",
    .summary = "the kernel log of a stack (dmesg)",
    .operands = "",
    .description =
        "Prints what the stack's kernel has logged, as dmesg does for the host's. Of a stack that was "
        "killed or has panicked it prints the last words.",
    .options = {{.name = "follow", .letter = 'f', .help = "go on with what comes"}},
    .examples = {{"lkm-run log -f", "watch it"},
                 {"lkm-run log --json", "one record a line: level, sequence, at_us, text"}},
    .run = run,
};

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "tools/lkm-run/keyboard.hpp"
#include "tools/lkm-run/lab_watch.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"
#include "tools/lkm-run/watch_session.hpp"

namespace lkm::cli {
namespace {

constexpr std::string_view kKeys =
    "r roll back   s state policy   l the module and what it holds   e unfold the last output   q quit";

// The policy after this one; says what it does.
std::string next_policy(const std::string& policy, Terminal& terminal) {
  static constexpr std::pair<std::string_view, std::string_view> kPolicies[] = {
      {"keep", "the next swaps keep all state where they can"},
      {"reinit", "the next swaps initialise sockets anew"},
      {"drain", "connections stay with the code that they have"},
      {"reset", "the next swaps end the sockets of a transport protocol, or make qdiscs anew"}};
  const auto* at = std::ranges::find(kPolicies, policy, [](const auto& entry) { return entry.first; });
  at = at + 1 == std::end(kPolicies) ? std::begin(kPolicies) : at + 1;
  terminal.line(fmt::format("state policy {}: {}", at->first, at->second));
  return std::string(at->first);
}

// True when the key ends the watch.
bool press(char key, WatchSettings& settings, std::vector<WatchSession>& sessions, Terminal& terminal) {
  switch (key) {
    case 'r':
      std::ranges::max_element(sessions, {}, &WatchSession::went_at)->roll_back();
      break;
    case 's':
      settings.state = next_policy(settings.state, terminal);
      break;
    case 'l':
      for (WatchSession& session : sessions) session.show_state();
      break;
    case 'e':
      terminal.text(settings.output.empty() ? "there is no output to unfold\n" : settings.output);
      break;
    case 'q':
      return true;
    case '?':
      terminal.line(kKeys);
      break;
    default:  // a slip
      break;
  }
  return false;
}

Result<int> run_lab(const Arguments& arguments, Terminal& terminal) {
  if (arguments.operands().size() != 1) {
    terminal.error(Error({}, "'watch --lab' takes one module folder").with_hint("parameters go into a scenario file"));
    return kUsage;
  }
  LKM_TRY(auto interrupt, Interrupt::block());
  LKM_TRY(auto watch, LabWatch::open(arguments.operand(0), arguments.value("lab"), arguments.has("open"),
                                   terminal, interrupt));
  return watch.run();
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  if (arguments.has("lab")) return run_lab(arguments, terminal);
  if (arguments.has("open")) {
    terminal.error(Error({}, "--open needs --lab").with_hint("lkm-run watch DIR --lab dumbbell --open"));
    return kUsage;
  }
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
  WatchSettings settings{.parameters = *parameters,
                         .state = arguments.value("state", "keep"),
                         .snapshot = !arguments.has("no-snapshot"),
                         .check = arguments.value("exec"),
                         .fold = false,
                         .output = {}};
  LKM_TRY(auto interrupt, Interrupt::block());
  // A stack that is not up is an error now, and a message later.
  LKM_CHECK(control::Client::connect(stack));
  std::optional<Keyboard> keyboard;
  if (!terminal.json() && ::isatty(STDIN_FILENO) && ::isatty(STDOUT_FILENO)) {
    LKM_TRY(auto opened, Keyboard::open());
    keyboard.emplace(std::move(opened));
    settings.fold = true;
  }
  std::vector<WatchSession> sessions;
  sessions.reserve(folders.size());
  for (const std::string& folder : folders) {
    LKM_TRY(auto session, WatchSession::open(folder, stack, settings, terminal, interrupt));
    sessions.push_back(std::move(session));
  }
  for (WatchSession& session : sessions) session.apply(std::chrono::system_clock::now());
  terminal.note(terminal.err(Paint::kDim, keyboard ? "watching; ? lists the keys; Ctrl-C ends it, and the stack goes on"
                                                   : "watching; Ctrl-C ends it, and the stack goes on"));

  for (;;) {
    const int keys = keyboard ? keyboard->fd() : -1;
    std::vector<pollfd> fds = {{.fd = interrupt.fd(), .events = POLLIN, .revents = 0},
                               {.fd = keys, .events = POLLIN, .revents = 0},
                               Terminal::watched()};
    for (const WatchSession& session : sessions) session.add_to(fds);
    const int ready = ::poll(fds.data(), fds.size(), keyboard && keys < 0 ? Keyboard::kLook : -1);
    if (ready < 0 && errno != EINTR) return fail(errno, "wait for a save");
    if (ready <= 0) continue;
    if (fds[0].revents) return kInterrupted;
    Terminal::look(fds[2]);
    for (std::size_t i = 0; i < sessions.size(); ++i) sessions[i].take(&fds[3 + i * WatchSession::kFds]);
    if (fds[1].revents && press(keyboard->take(), settings, sessions, terminal)) return kDone;
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
        "moved to the new code with what of their state has a place there (none with --state reinit); a "
        "module of another kind is swapped while nothing uses it. --state drain and --state reset do as in "
        "lkm-run swap.\n\n"
        "On a terminal, keys act on the module that was swapped last: r puts the build that ran before in its "
        "place, and again the one before that; the next save goes forward again. s changes the state policy of the "
        "swaps that follow, l tells what is known of the module and what it holds, e shows all that the compiler said where only its "
        "first error is shown, ? lists the keys, q quits.\n\n"
        "With --exec, a shell command judges each generation that was loaded or swapped in. If it does not end with "
        "0, the build before takes its place again. It finds $LKM_RUN_STACK, $LKM_RUN_MODULE, $LKM_RUN_GENERATION "
        "and, where /proc and /sys are mounted, $LKM_RUN_MOUNT. A save while it runs kills it; then there is no "
        "verdict.\n\n"
        "With --lab nothing is swapped and no stack need be up: each build runs in a lab (lkm-run lab) of its own, and "
        "its summary is shown beside that of the build before. `--lab dumbbell` runs one flow of the folder's "
        "name unless --cc is among the words; more words are options of the lab. With --open a page on this machine, "
        "whose address is printed, shows each run over that of the build before, what the compiler says, and any two builds of this watch over each other.\n\n"
        "Before each swap a copy of the stack is taken, and kept for three seconds: if the stack dies or stalls "
        "in that time, it goes on in the copy, as it was before the swap.\n\n"
        "Sources that do not compile, or a module whose init fails, change nothing: the error is shown "
        "as the compiler or the kernel wrote it, and the old generation serves on. A save while "
        "building is built next. Saves in a burst are built once.\n\n"
        "An edit of one source file takes the fast path: what Kbuild did last is replayed, with the leading "
        "#include lines precompiled. Kbuild itself then builds the same in the background; if it makes "
        "something else, you are told, and its build is swapped in. All other changes are built by Kbuild "
        "at once. The second line of a save says which way it went and why, and what each step took.",
    .options = {{.name = "state",
                 .value = "POLICY",
                 .help = "of live objects: keep (default), reinit, drain or reset",
                 .choices = {"keep", "reinit", "drain", "reset"}},
                {.name = "no-snapshot", .help = "take no copy of the stack to go back to if it dies"},
                {.name = "lab", .value = "SCENARIO", .help = "run each build in a lab instead, and compare"},
                {.name = "open", .help = "with --lab: plots in the browser, at each save"},
                {.name = "exec", .value = "CMD", .help = "a shell command after each swap; roll back if it fails"}},
    .examples = {{"lkm-run watch mycc", "until Ctrl-C"},
                 {"lkm-run watch mycc alpha=3", "with a module parameter at the first load"},
                 {"lkm-run watch mycc --exec ./check",
                  "keep only what passes a check of yours"},
                 {"lkm-run watch mycc --lab dumbbell --open", "a new experiment at each save"},
                 {"lkm-run watch --json mycc", "one object a save"}},
    .least = 1,
    .most = kAny,
    .complete = Operand::kFolder,
    .run = run,
};

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>

#include "toolkit/base/defer.hpp"
#include "toolkit/net/units.hpp"
#include "tools/lkm-run/boot_chart.hpp"
#include "tools/lkm-run/daemon.hpp"
#include "tools/lkm-run/image.hpp"
#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/stack_setup.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

void show_up(const Arguments& arguments, Terminal& terminal, const Json& about) {
  if (terminal.json()) {
    terminal.object({{"up", about}});
    return;
  }
  if (arguments.has("boot-chart")) terminal.line(boot_chart(about["boot_chart"]));
  const std::string name = about["name"];
  const std::string mount = about["mount"];
  const std::string option = name == "default" ? "" : fmt::format(" --name {}", name);
  terminal.line(fmt::format("{} stack '{}' is up: Linux {}, pid {}, booted in {}",
                            terminal.out(Paint::kGood, "●"), name, about["release"].get<std::string>(),
                            about["pid"].get<int>(), format_duration(boot_time(about["boot_chart"]))));
  if (!mount.empty()) terminal.line(fmt::format("  /proc and /sys   {}", mount));
  terminal.note(terminal.err(Paint::kDim,
                             fmt::format("Next: lkm-run new cc mycc && lkm-run watch{0} mycc\n"
                                         "      {2}lkm-run log{0} -f\n"
                                         "      lkm-run down{0}",
                                         option, mount,
                                         mount.empty() ? "" : fmt::format("cat {}/proc/net/tcp\n      ", mount))));
}

// This command line again, in the foreground.
std::vector<std::string> words_of(const DaemonOptions& options) {
  std::vector<std::string> words = {"lkm-run", "up", "--foreground", "--name", options.folder.name(),
                                    "--image", options.image, "--memory", fmt::format("{}B", options.memory),
                                    "--time", options.clock == Clock::kVirtual ? "virtual" : "real",
                                    "--limits", options.program_limits.text()};
  if (!options.fuse) words.emplace_back("--no-fuse");
  return words;
}

Result<int> run_foreground(const Arguments& arguments, Terminal& terminal, const DaemonOptions& options) {
  const bool detached = arguments.has("detached");
  bool lost = false;
  LKM_TRY(const auto keeper, Keeper::begin(options.folder.path(), [&] {
    auto words = words_of(options);
    if (detached) words.emplace_back("--detached");
    words.emplace_back("--again");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execv("/proc/self/exe", argv.data());
  }));
  const auto ready = [&](const Json& about) {
    // Out of a fiber nothing may be thrown. The stack ends as if asked to.
    try {
      if (options.again) {
        terminal.note("the stack died, and is up again");
      } else {
        detached ? terminal.object(about) : show_up(arguments, terminal, about);
      }
    } catch (const OutputLost&) {
      lost = true;
      ::kill(::getpid(), SIGTERM);
    }
    if (!detached) return;
    // The parent has read one line and shows it; from now on nobody listens but the log.
    keeper->leave_terminal();
    const UniqueFd log(::open(options.folder.log().c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    ::dup2(log.get(), STDOUT_FILENO);
    ::dup2(log.get(), STDERR_FILENO);
  };
  LKM_TRY(const int signal, run_daemon(options, *keeper, ready));
  if (lost) return kFailed;
  return signal == SIGINT ? kInterrupted : kDone;
}

// This program again, as leader of a session of its own. Its stdout is a pipe to us.
Result<std::pair<pid_t, UniqueFd>> spawn_detached(std::vector<std::string> words) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno, "make a pipe");
  UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  const auto free_both = defer([&] {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  });
  sigset_t none;
  sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);

  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  if (const int error =
          ::posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, argv.data(), environ)) {
    return fail(error, "start the stack process");
  }
  return std::pair(pid, std::move(read_end));
}

// One line, or nothing when the other end closed first; nullopt when a signal came.
Result<std::optional<std::string>> read_line(const UniqueFd& fd, Interrupt& interrupt) {
  std::string line;
  while (!line.ends_with('\n')) {
    LKM_TRY(const auto woken, interrupt.wait(fd.get(), POLLIN));
    if (woken == Interrupt::Woken::kBySignal) return std::nullopt;
    std::array<char, 4096> chunk;
    const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
    if (got <= 0) break;
    line.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return line;
}

Result<int> run_background(const Arguments& arguments, Terminal& terminal, const DaemonOptions& options) {
  auto words = words_of(options);
  words.emplace_back("--detached");
  LKM_TRY(auto interrupt, Interrupt::block());
  LKM_TRY(auto started, spawn_detached(std::move(words)));
  auto& [pid, out] = started;
  LKM_TRY(const auto line, read_line(out, interrupt));
  if (!line) {
    ::kill(pid, SIGTERM);
    terminal.note("interrupted: the stack is not up");
    return kInterrupted;
  }
  const Json about = Json::parse(*line, nullptr, false);
  if (about.is_object() && about.contains("boot_chart")) {
    show_up(arguments, terminal, about);
    return kDone;
  }
  // It has said on stderr what was wrong, unless it died of it.
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) return WEXITSTATUS(status);
  return Failure(Error({}, fmt::format("the stack process died of signal {} while it booted",
                                       WTERMSIG(status)))
                     .with_hint(fmt::format("cat {}", options.folder.log().string())));
}

/// Makes the new stack what its file says; when that cannot be, there is none.
Result<int> apply_file(const std::vector<control::Command>& commands, const control::StateFolder& folder,
                       Terminal& terminal) {
  LKM_TRY(auto client, control::Client::connect(folder));
  auto done = set_up(commands, folder, client, terminal);
  if (done) return kDone;
  const int code = explain(terminal, done.error());
  (void)client.call("down");
  terminal.note("the stack is down again");
  return code;
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  std::vector<control::Command> commands;
  if (arguments.has("file")) {
    auto read = control::read_stack_file(arguments.value("file"));
    if (!read) return Failure(std::move(read).error());
    commands = std::move(*read);
  }
  if (arguments.has("dry-run")) {
    for (const control::Command& command : commands) {
      terminal.json() ? terminal.object({{"request", {{"method", command.method}, {"params", command.params}, {"where", command.where}}}})
                      : terminal.line(by_hand(command));
    }
    return kDone;
  }
  if (arguments.has("file") && arguments.has("foreground")) {
    terminal.error(Error({}, "--file is for a stack in the background"));
    return kUsage;
  }
  LKM_TRY(const auto folder, state_folder(arguments));
  DaemonOptions options{.folder = folder, .image = {}};
  const auto memory = parse_size(arguments.value("memory", "128MiB"));
  if (!memory) {
    terminal.error(memory.error());
    return kUsage;
  }
  if (*memory < (std::uint64_t{32} << 20)) {
    terminal.error(Error({}, "--memory: a stack needs at least 32MiB"));
    return kUsage;
  }
  // Whole pages: the kernel's pool is made of them.
  options.memory = *memory & ~std::uint64_t{0xfff};
  options.clock = arguments.value("time") == "virtual" ? Clock::kVirtual : Clock::kReal;
  options.fuse = !arguments.has("no-fuse");
  // Of the kernel's memory each program may fill a quarter.
  const auto limits = exec::Limits::parse(arguments.value("limits"), {.memory = options.memory / 4});
  if (!limits) {
    terminal.error(limits.error());
    return kUsage;
  }
  options.program_limits = *limits;
  options.again = arguments.has("again");
  options.echo_log = arguments.has("foreground") && !arguments.has("detached");
  // Before a build of minutes.
  if (const auto owner = options.again ? std::nullopt : folder.owner()) {
    return fail_hint(EBUSY, fmt::format("lkm-run down --name {}", folder.name()),
                     "stack '{}' is up already (pid {})", folder.name(), *owner);
  }
  if (options.fuse && ::access("/dev/fuse", R_OK | W_OK) != 0) {
    const int error = errno;
    terminal.error(fail_hint(error, "lkm-run up --no-fuse; lkm-run doctor", "open '/dev/fuse'").value());
    return kMissing;
  }
  LKM_TRY(const auto image, make_image(arguments.value("image")));
  if (image.exit_code != 0) return image.exit_code;
  options.image = image.path;
  if (arguments.has("foreground")) return run_foreground(arguments, terminal, options);
  LKM_TRY(const int code, run_background(arguments, terminal, options));
  return code == kDone && arguments.has("file") ? apply_file(commands, folder, terminal) : code;
}

}  // namespace

extern const Verb kUp;
const Verb kUp = {
    .name = "up",
    .summary = "boot a stack",
    .operands = "",
    .description =
        "Boots a Linux network stack in a process of its own, mounts its /proc and /sys, and returns "
        "once it can be used. The library kernel is built first when it is not in the cache; that "
        "takes minutes, once.\n\n"
        "With --file the stack is made what a TOML file says: namespaces, links, devices, captures, addresses, routes, modules and "
        "sysctls (docs/stack-file.md). The file is checked before anything is done, and if a part of it cannot be done "
        "there is no stack. `lkm-run info --file` prints such a file of a stack that is up.\n\n"
        "--limits says what each program of `lkm-run exec` may have of the stack, with all that it starts: sockets=N, "
        "memory=SIZE, calls=N, separated by commas.\n\n"
        "Several stacks can be up side by side, each with its own --name.",
    .options = {{.name = "memory", .letter = 'm', .value = "SIZE",
                 .help = "the kernel's memory (default: 128MiB)"},
                {.name = "time", .value = "CLOCK",
                 .help = "real, or virtual: stack time jumps to the next event when idle",
                 .choices = {"real", "virtual"}},
                {.name = "foreground", .letter = 'f',
                 .help = "stay; Ctrl-C ends the stack, the kernel log goes to stderr"},
                {.name = "file", .value = "FILE", .help = "make it what this file says"},
                {.name = "dry-run", .help = "with --file: check it, and print its commands"},
                {.name = "limits", .value = "LIMITS",
                 .help = "what each program may have (default: sockets=16384,memory=a quarter,calls=1024)"},
                {.name = "no-fuse", .help = "do not mount /proc and /sys"},
                {.name = "boot-chart", .help = "show how long each stage of boot took"},
                {.name = "image", .value = "DIR", .help = "a library kernel that Kbuild/kernel made"},
                {.name = "detached", .help = "started by up itself", .hidden = true},
                {.name = "again", .help = "a stack that died, by its record", .hidden = true}},
    .examples = {{"lkm-run up", "boot the stack \"default\""},
                 {"lkm-run up --name lab --time virtual", "a second one, in virtual time"},
                 {"lkm-run up --file stack.toml", "with all that is in the file"},
                 {"lkm-run up -f --boot-chart", "stay, and show the boot's stages"}},
    .run = run,
};

}  // namespace lkm::cli

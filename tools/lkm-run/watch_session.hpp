// SPDX-License-Identifier: GPL-2.0
//
// WatchSession: one folder of `lkm-run watch`, from its saves to what runs in the stack, and back.
#pragma once

#include <poll.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "toolkit/watch/watcher.hpp"
#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/judge.hpp"
#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/swap_check.hpp"

namespace lkm::cli {

/// What the sessions of a watch have in common.
struct WatchSettings {
  std::string parameters;    ///< of the first load
  std::string state;         ///< policy of the swaps from now on: "keep", "reinit", "drain" or "reset"
  bool snapshot = true;      ///< take a copy of the stack before each swap, to go back to if it dies
  std::string check;         ///< the command of --exec; empty for none
  bool fold = false;         ///< show the first complaint of a build, and keep the rest in `output`
  std::string output;        ///< the tools' and the check's last words, as far as they were folded
};

/// Whatever goes wrong is told on the terminal, and watching goes on. One thread.
class WatchSession {
 public:
  using WallClock = std::chrono::system_clock;

  /// Errors: as Watcher::open().
  static Result<WatchSession> open(const std::filesystem::path& path, control::StateFolder stack,
                                   WatchSettings& settings, Terminal& terminal, Interrupt& interrupt);

  /// Builds, and loads or swaps what came of it.
  void apply(WallClock::time_point saved);

  /// Adds the descriptors that it waits for, and takes what has come to them; `fds` begins with them.
  static constexpr std::size_t kFds = 5;
  void add_to(std::vector<pollfd>& fds) const;
  void take(const pollfd* fds);

  /// Puts the build that ran before in the place of the present one; a check that runs is dropped.
  void roll_back();
  /// Tells what is known of its modules.
  void show_state();
  /// When something of this folder was loaded or swapped last.
  [[nodiscard]] std::chrono::steady_clock::time_point went_at() const { return went_at_; }

 private:
  // A build as it ran here.
  struct Ran {
    std::vector<Plugin> plugins;
    std::string name;  // "mycc@3": of its last module, when it began to run
  };
  // What a build is told with.
  struct Save {
    WallClock::time_point saved;
    WallClock::time_point built_at;
    const BuildResult& built;
  };

  WatchSession(Watcher watcher, control::StateFolder stack, WatchSettings& settings, Terminal& terminal,
               Interrupt& interrupt)
      : watcher_(std::move(watcher)),
        stack_(std::move(stack)),
        settings_(settings),
        terminal_(terminal),
        interrupt_(interrupt) {}

  // What becomes of the build that ran before, when another takes its place.
  enum class Before {
    kStays,    // roll_back() returns to it
    kRefused,  // if it is what Kbuild did not agree to: forgotten
  };

  void look();
  void hear();
  // What the module did after its swap was answered.
  void follow_incidents(control::Client& client);
  void take_incidents();
  Result<void> try_apply(WallClock::time_point saved);
  Result<void> try_hear(const Verdict& verdict);
  void show_output(const std::string& output);

  Result<void> install_all(control::Client& client, const std::vector<Plugin>& plugins, const Save& save,
                           Before before);
  Result<bool> install(control::Client& client, const Plugin& plugin, const std::string& parameters,
                       const Save& save);
  // A load or a swap; nullopt when this very build runs. Sets serving_.
  struct Went {
    bool loaded = false;  // else swapped
    Json report;
  };
  Result<std::optional<Went>> put(control::Client& client, const Plugin& plugin,
                                  const std::string& parameters);
  Result<void> note_what_runs(control::Client& client, const std::vector<Plugin>& plugins);
  Result<void> go_back(const std::string& why);
  void forget_lost();
  void start_check();
  void end_check();

  void name_survivor();
  void show(const Save& save, const std::vector<std::pair<std::string, WallClock::time_point>>& stages,
            const std::string& more, const Json& result);
  // Modules that were loaded here, or would be.
  std::vector<std::string> names() const;
  void drop_files(const Json& modules) const;

  Watcher watcher_;
  control::StateFolder stack_;
  WatchSettings& settings_;
  Terminal& terminal_;
  Interrupt& interrupt_;
  std::string serving_;  // "mycc@3", once it is known
  std::vector<Ran> ran_;  // the last one runs
  std::optional<std::size_t> builds_mapped_;  // at the last swap
  std::vector<Plugin> by_kbuild_;  // what Kbuild built last, or agreed to
  std::vector<Plugin> replayed_;   // what the fast path built last
  bool told_prepared_ = false;
  std::chrono::steady_clock::time_point went_at_{};
  std::optional<SwapCheck> check_;
  std::optional<control::Client> incidents_;  // connection on which they are told
  std::string told_;                          // the last error
  std::unique_ptr<Judge> judge_ = std::make_unique<Judge>();
};

}  // namespace lkm::cli

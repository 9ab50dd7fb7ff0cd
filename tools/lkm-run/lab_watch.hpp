// SPDX-License-Identifier: GPL-2.0
//
// LabWatch: `lkm-run watch DIR --lab SCENARIO`. Each save is built and run in a lab of its own, and its summary is shown
// beside that of the build before. No stack needs to be up.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "toolkit/build/module_build.hpp"
#include "toolkit/watch/watcher.hpp"
#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/judge.hpp"
#include "tools/lkm-run/lab_history.hpp"
#include "tools/lkm-run/lab_page.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

class LabWatch {
 public:
  /// `scenario`: the words of `lkm-run lab`, parted by spaces. Errors: as Watcher::open() and ModuleBuild::open().
  /// With a page it is shown in a browser too.
  static Result<LabWatch> open(const std::filesystem::path& folder, const std::string& scenario, bool page,
                               Terminal& terminal, Interrupt& interrupt);
  /// Until SIGINT or SIGTERM: the exit code.
  Result<int> run();

 private:
  LabWatch(Watcher watcher, ModuleBuild build, std::vector<std::string> words, std::string name, LabHistory history,
           Terminal& terminal, Interrupt& interrupt)
      : watcher_(std::move(watcher)),
        build_(std::move(build)),
        words_(std::move(words)),
        name_(std::move(name)),
        history_(std::move(history)),
        terminal_(terminal),
        interrupt_(interrupt) {}

  /// False when a signal came meanwhile.
  Result<bool> apply(std::chrono::system_clock::time_point saved);
  Result<bool> try_out(const BuildResult& built, std::chrono::system_clock::time_point saved);
  /// What the lab says; nothing when it failed (it has said why) or a signal came.
  Result<std::optional<Json>> lab(const BuiltModule& module, const std::filesystem::path& output, bool& interrupted);
  void fail_page(const std::string& status);
  void show(const Json& lab, const BuiltModule& module, std::chrono::nanoseconds took);
  Result<bool> hear();

  Watcher watcher_;
  ModuleBuild build_;
  std::vector<std::string> words_;
  std::string name_;  // of the folder
  LabHistory history_;
  Terminal& terminal_;
  Interrupt& interrupt_;
  std::optional<Json> before_;  // the summary that was shown last
  std::string before_name_;     // "mycc@3"
  std::optional<LabPage> page_;
  std::string said_;  // by the tools and the lab, since the save
  std::unique_ptr<Judge> judge_ = std::make_unique<Judge>();
};

}  // namespace lkm::cli

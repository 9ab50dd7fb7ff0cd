// SPDX-License-Identifier: GPL-2.0
//
// What `lkm-run lab` has to say of a run: tables on the terminal, files in a folder.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "toolkit/lab/figures.hpp"
#include "toolkit/lab/results.hpp"
#include "toolkit/lab/run.hpp"
#include "toolkit/lab/scenario.hpp"
#include "toolkit/lab/summary.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

/// A run with what it was made from.
struct LabRun {
  lab::Scenario scenario;
  lab::RunResult result;
  lab::Summary summary;
  std::string log;  ///< the kernel's
};

/// Its tables, for people.
void show_lab_run(Terminal& terminal, const LabRun& run);

/// Samples, summary, scenario, log, captures and report into a folder, and figures of these formats into `figures` in it;
/// the report's path. With another run the report and the figures show this one over that one.
Result<std::filesystem::path> write_lab_run(const LabRun& run, const std::filesystem::path& folder,
                                            const std::vector<lab::FigureFormat>& formats, const LabRun* before = nullptr,
                                            const std::string& before_name = "");

/// As an object of the output.
Json lab_run_json(const LabRun& run, const std::filesystem::path& report);

/// The first of its events that could not be done.
Result<void> failed_event(const LabRun& run);

}  // namespace lkm::cli

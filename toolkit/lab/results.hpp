// SPDX-License-Identifier: GPL-2.0
//
// A run as files: CSV and JSON lines for programs, numbers only; units are in the names of the columns.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "toolkit/lab/run.hpp"
#include "toolkit/lab/summary.hpp"

namespace lkm::lab {

/// A line for each flow and sample. ssthresh is empty until TCP knows one. Behind the columns of TCP come the variables of
/// the congestion controls.
std::string flows_csv(const RunResult& run);
/// A line for each queue and sample.
std::string queues_csv(const RunResult& run);
/// The same two, as an object a line: {"v":1,"flow":"cubic","time_s":0.1,…}, {"v":1,"queue":…}.
std::string samples_jsonl(const RunResult& run);

/// Where two runs of the same flows and queues part: the first sample at which a number is another one.
struct Difference {
  nanoseconds at{};
  std::string series, column;  ///< "cubic", "cwnd_segments"
  std::string one, other;
};
std::optional<Difference> first_difference(const RunResult& one, const RunResult& other);

nlohmann::json to_json(const Summary& summary);
/// What the run was made from, with what it did at its events.
nlohmann::json about_json(const RunResult& run, const Scenario& scenario);

/// Writes flows.csv, queues.csv, samples.jsonl, summary.json and a LINK.pcap for each capture into the folder, which is
/// made if need be.
Result<void> write_results(const RunResult& run, const Scenario& scenario, const Summary& summary,
                           const std::filesystem::path& folder);

}  // namespace lkm::lab

// SPDX-License-Identifier: GPL-2.0
//
// The report of a run: one HTML file that needs no network.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "toolkit/lab/run.hpp"
#include "toolkit/lab/summary.hpp"

namespace lkm::lab {

/// What the pages draw. `command` is shown as the way to run it again.
nlohmann::json report_data(const RunResult& run, const Scenario& scenario, const Summary& summary,
                           const std::string& command);
std::string html_report(const nlohmann::json& data);
/// The run over another one, which has that name on the page.
std::string html_report(const nlohmann::json& data, const nlohmann::json& before, const std::string& before_name);

/// The page of a watch: it fetches "state" and "run/ID" and listens to "events", all beside it. state is
/// {"kind":"building|ready|failed","status":TEXT,"errors":TEXT,"runs":[{"id":1,"name":"mycc@3","saved":"19:45:10",
/// "earlier":false}]}, where earlier ones are of another watch,
/// run/ID a report_data(), and an event says that the state is another one.
std::string watch_page(const std::string& title);

}  // namespace lkm::lab

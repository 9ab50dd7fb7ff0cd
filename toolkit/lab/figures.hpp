// SPDX-License-Identifier: GPL-2.0
//
// Figures: the report's plots as files for a paper, drawn by gnuplot. The script of each, with its data, is kept beside it:
// what a journal wants otherwise is changed there (docs/adr/0018-figures.md says why it is gnuplot).
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm::lab {

enum class FigureFormat { kSvg, kPng };
/// "svg", "png".
Result<FigureFormat> parse_figure_format(std::string_view name);

/// Whether they can be drawn here: ENOENT, with what to install.
Result<void> check_figures();

/// A gnuplot script for one of the plots of report_data(), which writes to files of that name in each format. `before` is
/// the same plot of another run, or null: its lines are thin, and named by `before_name`.
std::string figure_script(const nlohmann::json& time_s, const nlohmann::json& plot, const nlohmann::json& before_time_s,
                          const nlohmann::json& before, const std::string& before_name,
                          const std::vector<FigureFormat>& formats, const std::string& file);

/// Writes `folder`/goodput.gnuplot, goodput.svg and so on, one for each plot that has a line. Returns the figures' names.
Result<std::vector<std::filesystem::path>> write_figures(const nlohmann::json& data, const nlohmann::json& before,
                                                         const std::string& before_name,
                                                         const std::vector<FigureFormat>& formats,
                                                         const std::filesystem::path& folder);

}  // namespace lkm::lab

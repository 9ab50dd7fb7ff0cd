// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/figures.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "toolkit/base/child.hpp"
#include "toolkit/base/file.hpp"

namespace lkm::lab {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// As in report/draw.js.
constexpr std::array kColours = {"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a900", "#8a8f98"};

/// In single quotes nothing is special to gnuplot but the quote.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += c == '\n' ? ' ' : c;
  }
  return out + "'";
}

/// "Congestion window (dashed: ssthresh)" is "congestion-window".
std::string file_name(const std::string& title) {
  std::string name;
  for (const char c : title.substr(0, title.find_first_of("(,"))) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.';
    if (plain) name += char(std::tolower(static_cast<unsigned char>(c)));
    if (!plain && !name.empty() && name.back() != '-') name += '-';
  }
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name.empty() ? "plot" : name;
}

struct Lines {
  std::string data, commands;
  std::size_t count = 0;
};

void add(Lines& lines, const Json& time_s, const Json& plot, const std::string& of, bool old) {
  for (const Json& series : plot["series"]) {
    const std::string block = fmt::format("$line{}", ++lines.count);
    lines.data += block + " << END\n";
    for (std::size_t i = 0; i < time_s.size(); ++i) {
      const Json& value = series["values"][i];
      // An empty line parts a curve in two.
      lines.data += value.is_null() ? "\n" : fmt::format("{} {}\n", time_s[i].dump(), value.dump());
    }
    lines.data += "END\n";
    const std::string name = series["name"].get<std::string>() + (of.empty() ? "" : " (" + of + ")");
    lines.commands += fmt::format("{} {} with lines linewidth {} dashtype {} linecolor rgb '{}{}' title {}",
                                  lines.commands.empty() ? "plot" : ", \\\n    ", block, old ? "0.8" : "1.6",
                                  series["dashed"].get<bool>() ? 2 : 1, old ? "#80" : "#00",
                                  kColours[series["colour"].get<std::size_t>() % kColours.size()] + 1, quoted(name));
  }
}

}  // namespace

Result<FigureFormat> parse_figure_format(std::string_view name) {
  if (name == "svg") return FigureFormat::kSvg;
  if (name == "png") return FigureFormat::kPng;
  return fail_hint(EINVAL, "svg, png, or svg,png", "'{}' is no format of figures", name);
}

Result<void> check_figures() {
  auto child = Child::spawn({.argv = {"gnuplot", "--version"}, .out = Child::Output::kNull, .err = Child::Output::kNull});
  if (child) {
    LKM_TRY(const ExitStatus status, child->wait());
    if (status.success()) return {};
  }
  return fail_hint(ENOENT, "apt-get install gnuplot-nox", "gnuplot, which draws figures,");
}

std::string figure_script(const Json& time_s, const Json& plot, const Json& before_time_s, const Json& before,
                          const std::string& before_name, const std::vector<FigureFormat>& formats,
                          const std::string& file) {
  Lines lines;
  if (!before.is_null()) add(lines, before_time_s, before, before_name, true);
  add(lines, time_s, plot, "", false);
  if (lines.count == 0) return {};
  std::string script = "# Made by lkm-run lab; run it again with gnuplot.\n" + lines.data;
  script += "set encoding utf8\nset xlabel 's'\nset ylabel " + quoted(plot["unit"]) +
            " noenhanced\n"
            "set border 3\nset xtics nomirror out\nset ytics nomirror out\nset grid linecolor rgb '#d8dce0'\n"
            "set yrange [0:*]\nset key below noenhanced\n";
  if (!time_s.empty()) script += fmt::format("set xrange [0:{}]\n", time_s.back().dump());
  for (const FigureFormat format : formats) {
    script += format == FigureFormat::kSvg ? "set terminal svg size 640,300 font 'Helvetica,12'\n"
                                           : "set terminal pngcairo size 1920,900 fontscale 3 linewidth 3\n";
    script += fmt::format("set output {}\n{}\nunset output\n",
                          quoted(file + (format == FigureFormat::kSvg ? ".svg" : ".png")), lines.commands);
  }
  return script;
}

Result<std::vector<fs::path>> write_figures(const Json& data, const Json& before, const std::string& before_name,
                                            const std::vector<FigureFormat>& formats, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Failure(Error(error, fmt::format("make the folder '{}'", folder.string())));
  std::vector<fs::path> made;
  std::vector<std::string> argv = {"gnuplot"};
  std::set<std::string> names;
  for (const Json& plot : data["plots"]) {
    Json old;
    if (!before.is_null()) {
      const auto found = std::ranges::find_if(before["plots"], [&](const Json& one) { return one["title"] == plot["title"]; });
      if (found != before["plots"].end()) old = *found;
    }
    const std::string name = file_name(plot["title"]);
    const std::string script = figure_script(data["time_s"], plot, before.is_null() ? Json() : before["time_s"], old,
                                             before_name, formats, name);
    if (script.empty() || !names.insert(name).second) continue;
    LKM_CHECK(replace_file(folder / (name + ".gnuplot"), script));
    argv.push_back(name + ".gnuplot");
    for (const FigureFormat format : formats) made.push_back(folder / (name + (format == FigureFormat::kSvg ? ".svg" : ".png")));
  }
  if (argv.size() == 1) return made;
  // One process draws them all; each begins as gnuplot does.
  std::vector<std::string> apart = {argv[0]};
  for (std::size_t i = 1; i < argv.size(); ++i) {
    if (i > 1) apart.insert(apart.end(), {"-e", "reset session"});
    apart.push_back(argv[i]);
  }
  LKM_TRY(auto child, Child::spawn({.argv = apart, .directory = folder, .out = Child::Output::kPipe,
                                    .err = Child::Output::kWithOut}));
  LKM_TRY(const std::string said, child.read_all());
  LKM_TRY(const ExitStatus status, child.wait());
  if (!status.success()) return fail(EPROTO, "gnuplot ended with {}: {}", status.code, said);
  return made;
}

}  // namespace lkm::lab

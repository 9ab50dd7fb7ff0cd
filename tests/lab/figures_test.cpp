// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/figures.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm::lab {
namespace {

using nlohmann::json;

json data() {
  const auto series = [](const char* name, unsigned colour, bool dashed, json values) {
    return json{{"name", name}, {"colour", colour}, {"dashed", dashed}, {"values", std::move(values)}};
  };
  return {{"time_s", {0, 1, 2, 3}},
          {"plots",
           {{{"title", "Goodput"},
             {"unit", "Mbit/s"},
             {"series", {series("one's_<own>", 0, false, {nullptr, 10, 20, 15}), series("two", 4, true, {1, nullptr, 3, 4})}}},
            {{"title", "Round trip (dashed: least)"}, {"unit", "ms"}, {"series", {series("one", 0, false, {1, 2, 3, 4})}}},
            {{"title", "Nothing"}, {"unit", "ms"}, {"series", json::array()}}}}};
}

std::uint32_t big_endian(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | std::uint8_t(bytes.at(at + i));
  return value;
}

TEST(Figures, AreVectorsWithTheirLinesAndNames) {
  const auto folder = TempDir::make();
  ASSERT_TRUE(folder);
  const auto made = write_figures(data(), json(), "", {FigureFormat::kSvg, FigureFormat::kPng}, folder->path());
  ASSERT_TRUE(made) << made.error().message();
  std::vector<std::string> names;
  for (const auto& file : *made) names.push_back(file.filename());
  EXPECT_EQ(names, (std::vector<std::string>{"goodput.svg", "goodput.png", "round-trip.svg", "round-trip.png"}));
  const std::string svg = *read_file(folder->path() / "goodput.svg");
  EXPECT_TRUE(svg.starts_with("<?xml"));
  EXPECT_NE(svg.find("</svg>"), std::string::npos);
  EXPECT_NE(svg.find("rgb(  0, 114, 178)"), std::string::npos) << "no line has the first colour";
  EXPECT_NE(svg.find("rgb(213,  94,   0)"), std::string::npos) << "no line has the fifth colour";
  EXPECT_NE(svg.find("one's_&lt;own>"), std::string::npos) << svg;
  EXPECT_NE(svg.find("Mbit/s"), std::string::npos);
  const std::string png = *read_file(folder->path() / "round-trip.png");
  ASSERT_GT(png.size(), 5000u) << "an empty plot is smaller";
  EXPECT_EQ(png.substr(1, 3), "PNG");
  EXPECT_EQ(big_endian(png, 16), 1920u);
  EXPECT_EQ(big_endian(png, 20), 900u);
}

TEST(Figures, ShowAnotherRunBehind) {
  const auto folder = TempDir::make();
  ASSERT_TRUE(folder);
  json before = data();
  before["time_s"] = {0, 2};
  before["plots"].erase(1);
  for (json& series : before["plots"][0]["series"]) series["values"] = {1, 2};
  ASSERT_TRUE(write_figures(data(), before, "mycc@1", {FigureFormat::kSvg}, folder->path()));
  const std::string svg = *read_file(folder->path() / "goodput.svg");
  EXPECT_NE(svg.find("two (mycc@1)"), std::string::npos);
  EXPECT_EQ((*read_file(folder->path() / "round-trip.svg")).find("mycc@1"), std::string::npos);
}

TEST(Figures, AreTheSameTwice) {
  const auto one = TempDir::make(), two = TempDir::make();
  ASSERT_TRUE(one && two);
  for (const auto* folder : {&*one, &*two}) ASSERT_TRUE(write_figures(data(), json(), "", {FigureFormat::kSvg}, folder->path()));
  EXPECT_EQ(*read_file(one->path() / "goodput.svg"), *read_file(two->path() / "goodput.svg"));
}

TEST(Figures, HaveTwoFormats) {
  EXPECT_EQ(*parse_figure_format("svg"), FigureFormat::kSvg);
  EXPECT_FALSE(parse_figure_format("pdf"));
}

}  // namespace
}  // namespace lkm::lab

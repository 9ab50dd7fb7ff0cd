// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/lab_history.hpp"

#include <algorithm>

#include "toolkit/base/file.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {
namespace fs = std::filesystem;
namespace {

constexpr const char* kNote = "watch.json";

Json note_of(const fs::path& folder) {
  const auto text = read_file(folder / kNote);
  Json note = text ? Json::parse(*text, nullptr, false) : Json();
  const bool good = note.is_object() && note.value("v", 0) == 1 && note.contains("saved_ns") &&
                    note["saved_ns"].is_number_integer() && note.contains("source") && note.contains("scenario");
  return good ? note : Json();
}

LabHistory::Time time_of(const Json& note) {
  return LabHistory::Time(std::chrono::duration_cast<LabHistory::Time::duration>(
      std::chrono::nanoseconds(note["saved_ns"].get<std::int64_t>())));
}

std::vector<fs::path> folders_in(const fs::path& place) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(place, error)) {
    std::error_code ignored;
    if (entry.is_directory(ignored)) folders.push_back(entry.path());
  }
  return folders;
}

}  // namespace

std::vector<LabHistory::Run> LabHistory::runs() const {
  std::vector<Run> runs;
  for (const fs::path& folder : folders_in(place_)) {
    const Json note = note_of(folder);
    std::error_code ignored;
    if (note.is_null() || note["source"] != source_.string() || note["scenario"] != scenario_ ||
        !fs::exists(folder / "report.json", ignored))
      continue;
    runs.push_back({folder.filename(), time_of(note), folder});
  }
  std::ranges::sort(runs, {}, &Run::saved);
  return runs;
}

Result<void> LabHistory::add(const std::string& name, Time saved) const {
  const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(saved.time_since_epoch());
  const Json note = {{"v", 1}, {"source", source_.string()}, {"scenario", scenario_}, {"saved_ns", since.count()}};
  LKM_CHECK(replace_file(folder(name) / kNote, note.dump() + "\n"));
  // What has no note was left by a run that did not come to its end: it is the oldest.
  std::vector<std::pair<Time, fs::path>> all;
  for (const fs::path& folder : folders_in(place_)) {
    const Json other = note_of(folder);
    all.emplace_back(other.is_null() ? Time::min() : time_of(other), folder);
  }
  std::ranges::sort(all);
  for (std::size_t i = 0; i + kKept < all.size(); ++i) {
    std::error_code error;
    fs::remove_all(all[i].second, error);
    if (error) return Failure(Error(error, fmt::format("remove '{}'", all[i].second.string())));
  }
  return {};
}

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/replay.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "toolkit/base/file.hpp"

namespace lkm::lab {
namespace {

constexpr double kLatestMs = 1e9;  // eleven days

}  // namespace

Result<Replay> Replay::parse(std::string_view text, const std::string& shown) {
  Replay replay{.name = shown, .messages = {}};
  std::size_t number = 0;
  const auto refuse = [&](const std::string& why) {
    return Failure(Error({}, fmt::format("{}:{}: {}", shown, number, why))
                       .with_hint("each line has a time in milliseconds, none before the last one's, and bytes: 12.5 1400"));
  };
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    double at = 0;
    Message message;
    const char* const stop = line.data() + line.size();
    const auto time = std::from_chars(line.data(), stop, at, std::chars_format::fixed);
    const char* size = std::find_if(time.ptr, stop, [](char c) { return c != ' ' && c != '\t'; });
    const auto bytes = std::from_chars(size, stop, message.bytes);
    if (time.ec != std::errc() || bytes.ec != std::errc() || bytes.ptr != stop || size == time.ptr)
      return refuse(fmt::format("'{}'", line));
    if (!(at >= 0) || at > kLatestMs || message.bytes == 0) return refuse(fmt::format("'{}'", line));
    message.at = std::chrono::nanoseconds(std::llround(at * 1e6));
    if (!replay.messages.empty() && message.at < replay.messages.back().at)
      return refuse(fmt::format("{} comes before the line above", at));
    replay.messages.push_back(message);
  }
  number = std::max<std::size_t>(number, 1);
  if (replay.messages.empty()) return refuse("no message");
  return replay;
}

Result<Replay> Replay::read(const std::filesystem::path& file) {
  LKM_TRY(const std::string text, read_file(file));
  return parse(text, file.string());
}

}  // namespace lkm::lab

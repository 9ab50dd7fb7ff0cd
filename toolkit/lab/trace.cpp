// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/trace.hpp"

#include <algorithm>
#include <charconv>

#include "toolkit/base/file.hpp"

namespace lkm::lab {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

Result<Trace> Trace::parse(std::string_view text, const std::string& shown) {
  const auto refuse = [&](std::size_t line, const std::string& why) {
    return Failure(Error({}, fmt::format("{}:{}: {}", shown, line, why))
                       .with_hint("a trace has a time in whole milliseconds on each line, none before the last one's"));
  };
  Trace trace;
  trace.name_ = shown;
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    std::uint32_t at = 0;
    const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), at);
    if (error != std::errc() || stop != line.data() + line.size()) return refuse(number, fmt::format("'{}'", line));
    if (!trace.at_ms_.empty() && at < trace.at_ms_.back())
      return refuse(number, fmt::format("{} comes after {}", at, trace.at_ms_.back()));
    trace.at_ms_.push_back(at);
  }
  if (trace.at_ms_.empty() || trace.at_ms_.back() == 0) return refuse(std::max<std::size_t>(number, 1), "nothing after 0");
  return trace;
}

Result<Trace> Trace::read(const std::filesystem::path& file) {
  LKM_TRY(const std::string text, read_file(file));
  return parse(text, file.string());
}

nanoseconds Trace::time_of(std::uint64_t number) const {
  const std::uint64_t round = number / at_ms_.size();
  return milliseconds(round * at_ms_.back() + at_ms_[number % at_ms_.size()]);
}

std::uint64_t Trace::count_before(nanoseconds at) const {
  // Time 0 of a round is the last of the one before.
  const nanoseconds period = milliseconds(at_ms_.back());
  const auto round = std::uint64_t(at / period);
  const nanoseconds rest = at % period;
  const auto first = std::ranges::lower_bound(at_ms_, rest, {}, [](std::uint32_t ms) -> nanoseconds { return milliseconds(ms); });
  std::uint64_t count = round * at_ms_.size() + std::uint64_t(first - at_ms_.begin());
  // Those at the very end of the round before are at this moment when nothing of this round was.
  if (rest == nanoseconds(0) && round > 0) {
    const auto last = std::ranges::lower_bound(at_ms_, at_ms_.back());
    count -= std::uint64_t(at_ms_.end() - last);
  }
  return count;
}

std::uint64_t Trace::rate(std::uint64_t packet_bytes) const {
  return std::uint64_t(double(at_ms_.size() * packet_bytes) * 8e3 / at_ms_.back());
}

}  // namespace lkm::lab

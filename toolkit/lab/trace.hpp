// SPDX-License-Identifier: GPL-2.0
//
// Trace: when a cellular link could deliver, in the format of Mahimahi (Netravali et al., USENIX ATC 2015): a line for
// each opportunity to deliver a full packet, with its time in milliseconds; equal times stand for several. After the
// last line the trace begins again.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm::lab {

class Trace {
 public:
  /// `shown` names the text in complaints. Errors without a code: a line that is no whole number, or less than the one
  /// before it; no opportunity, or none after 0.
  static Result<Trace> parse(std::string_view text, const std::string& shown);
  static Result<Trace> read(const std::filesystem::path& file);

  /// Of the file; where the text is from.
  [[nodiscard]] const std::string& name() const { return name_; }
  /// When the opportunity of that number is, counted from 0, from the start of the run.
  [[nodiscard]] std::chrono::nanoseconds time_of(std::uint64_t number) const;
  /// How many there were before that moment.
  [[nodiscard]] std::uint64_t count_before(std::chrono::nanoseconds at) const;
  /// bit/s over the whole trace, of packets with that many bytes.
  [[nodiscard]] std::uint64_t rate(std::uint64_t packet_bytes) const;

 private:
  std::string name_;
  std::vector<std::uint32_t> at_ms_;  // never decreasing; the last one is the period
};

}  // namespace lkm::lab

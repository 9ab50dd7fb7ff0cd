// SPDX-License-Identifier: GPL-2.0
//
// Replay: what a program once sent, and when: a line for each message, with its time in milliseconds after the start of
// the flow and its bytes, as in "12.5 1400". Made for example by
//
//   tshark -r old.pcap -Y 'tcp.len > 0 && ip.src == 10.0.0.1' -T fields -E separator=' ' -e frame.time_relative -e tcp.len |
//     awk '{ print $1 * 1000, $2 }'
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm::lab {

struct Replay {
  struct Message {
    std::chrono::nanoseconds at{};  ///< from the start of the flow
    std::uint64_t bytes = 0;
  };

  /// `shown` names the text in complaints. Errors without a code: a line that is not two numbers, a time before that of the
  /// line above, no bytes; no line at all.
  static Result<Replay> parse(std::string_view text, const std::string& shown);
  static Result<Replay> read(const std::filesystem::path& file);

  std::string name;  ///< of the file
  std::vector<Message> messages;
};

}  // namespace lkm::lab

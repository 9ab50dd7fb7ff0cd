// SPDX-License-Identifier: GPL-2.0
//
// LabTest: a test that runs a scenario. A process can have one stack, so a test that needs two runs makes the first
// ones in children.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "toolkit/lab/run.hpp"
#include "toolkit/lab/scenario.hpp"
#include "toolkit/lab/summary.hpp"

namespace lkm::lab {

class LabTest : public ::testing::Test {
 protected:
  void SetUp() override;
  /// In this process; the test fails when the run does, or when the kernel complains.
  RunResult run(const Scenario& scenario, Clock clock = Clock::kVirtual);
  /// In a child: all samples as text.
  std::string samples(const Scenario& scenario, Clock clock = Clock::kVirtual);

  /// The plugin of the module in `source`, built in `scratch`.
  std::string built(const std::filesystem::path& source, const std::filesystem::path& scratch);

  RunOptions options_;
};

/// A packet of a capture.
struct Packet {
  nanoseconds at{};
  std::uint32_t bytes = 0;  ///< with the Ethernet header
};
/// The test fails when the file is no pcap with time stamps in nanoseconds.
std::vector<Packet> packets_of(const std::string& capture);

/// The kept bytes of each.
void for_each_frame(const std::string& capture, const std::function<void(std::string_view)>& each);

/// The flow or the queue of that name.
template <typename Series>
const Series& named(const std::vector<Series>& all, const std::string& name) {
  for (const Series& one : all) {
    if (one.name == name) return one;
  }
  ADD_FAILURE() << "there is no " << name;
  return all.at(0);
}

/// The scenario in a file of examples/lab.
Scenario ready(const std::string& name);

}  // namespace lkm::lab

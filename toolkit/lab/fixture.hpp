// SPDX-License-Identifier: GPL-2.0
//
// GoogleTest fixtures with which the author of a module tests it in virtual time:
//
//   #include "toolkit/lab/fixture.hpp"
//
//   class Dumbbell : public lkm::lab::Dumbbell {
//    protected:
//     Dumbbell() { path.controls = {"mycc"}; }
//   };
//
//   TEST_F(Dumbbell, KeepsTheQueueShort) {
//     EXPECT_LT(run().queue("left-right").delay_ms.p95, 20);
//   }
//
// `lkm-run test DIR` builds the module in DIR and the tests in DIR/tests, and runs them. A test may make as many runs as
// it wants: each is in a process of its own, and the same each time. A run that cannot be, or in which the kernel
// complains (a warning, an oops), fails the test.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "toolkit/lab/presets.hpp"
#include "toolkit/lab/run.hpp"
#include "toolkit/lab/scenario.hpp"
#include "toolkit/lab/summary.hpp"

namespace lkm::lab {

/// A run, and what it comes to.
struct Outcome {
  RunResult result;  ///< all samples
  Summary summary;

  /// By name. Throws std::out_of_range, which names those that there are and fails the test.
  [[nodiscard]] const FlowSummary& flow(const std::string& name) const;
  [[nodiscard]] const QueueSummary& queue(const std::string& name) const;
};

/// Runs any scenario with the modules under test loaded.
class ScenarioTest : public ::testing::Test {
 protected:
  /// Takes the kernel from $LKM_RUN_IMAGE, and the modules from $LKM_RUN_MODULES: plugin files, those that others depend
  /// on first, with a ':' between them. `lkm-run test` sets both.
  void SetUp() override;

  /// The modules under test come before those of the scenario. Throws std::runtime_error, which fails the test.
  Outcome run(const Scenario& scenario);

  /// Parameters of the last module, as `lkm-run load` takes them: "alpha=2 beta=3".
  std::string parameters;

 private:
  RunOptions options_;
  std::vector<std::string> modules_;
};

/// Two routers with a bottleneck between them, "left-right", and pairs of hosts.
class Dumbbell : public ScenarioTest {
 protected:
  /// 20 Mbit/s, 40 ms, one bandwidth-delay product of buffer, 20 s, unless the test says otherwise. A flow has the name
  /// of its congestion control.
  DumbbellOptions path{.rate = 20'000'000, .duration = std::chrono::seconds(20)};

  using ScenarioTest::run;
  Outcome run() { return run(dumbbell(path)); }
};

}  // namespace lkm::lab

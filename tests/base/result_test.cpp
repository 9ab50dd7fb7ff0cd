// SPDX-License-Identifier: GPL-2.0
#include "toolkit/base/result.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace lkm {
namespace {

Result<std::unique_ptr<int>> half(int value) {
  if (value % 2 != 0) return fail_hint(EINVAL, "use an even number", "halve {}", value);
  return std::make_unique<int>(value / 2);
}

Result<int> quarter(int value) {
  LKM_TRY(const auto once, half(value));
  LKM_TRY(const auto twice, half(*once));
  return *twice;
}

Result<void> check_even(int value) {
  LKM_CHECK(half(value));
  return {};
}

TEST(Result, PassesValuesThatCanOnlyBeMoved) { EXPECT_EQ(*quarter(8), 2); }

TEST(Result, ReturnsTheErrorOfTheStepThatFailed) {
  const auto result = quarter(6);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "halve 3: Invalid argument");
  EXPECT_EQ(result.error().hint(), "use an even number");
  EXPECT_EQ(result.error().errno_value(), EINVAL);
  EXPECT_FALSE(check_even(5));
  EXPECT_TRUE(check_even(4));
}

TEST(Error, PutsWhatTheCallerWasDoingInFront) {
  const Error error = std::move(half(3).error()).while_doing("load 'mycc'");
  EXPECT_EQ(error.message(), "load 'mycc': halve 3: Invalid argument");
}

TEST(Error, WithoutACodeIsItsText) {
  EXPECT_EQ(Error({}, "nothing to build").message(), "nothing to build");
}

TEST(Error, OfSeveralLinesHasTheErrnosTextInTheFirst) {
  const auto error = fail(EINVAL, "init of 'mycc'\n  mycc: no such table").value();
  EXPECT_EQ(error.message(), "init of 'mycc': Invalid argument\n  mycc: no such table");
}

}  // namespace
}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/request.hpp"

#include <gtest/gtest.h>

#include <cerrno>

namespace lkm::fuse {
namespace {

TEST(ReplyErrno, PassesTheErrorsOfTheStackOnUnchanged) {
  for (const int error : {ENOENT, EACCES, EINVAL, EPERM, EIO, EINTR, EAGAIN, ESRCH, ENODEV, EBUSY,
                          ERANGE, ENOTCONN, EOPNOTSUPP}) {
    EXPECT_EQ(reply_errno(-error), error);
  }
}

TEST(ReplyErrno, IsZeroForASuccess) {
  EXPECT_EQ(reply_errno(0), 0);
  EXPECT_EQ(reply_errno(17), 0);
}

TEST(ReplyErrno, NeverSaysWhatTheHostKernelWouldMisunderstand) {
  EXPECT_EQ(reply_errno(-ENOSYS), EOPNOTSUPP);
  EXPECT_EQ(reply_errno(-524), EOPNOTSUPP);
  for (long error = 512; error < 1100; ++error) EXPECT_LT(reply_errno(-error), 512) << error;
}

}  // namespace
}  // namespace lkm::fuse

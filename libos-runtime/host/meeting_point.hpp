// SPDX-License-Identifier: GPL-2.0
//
// MeetingPoint: a path where two processes find each other, by a socket of AF_UNIX and SOCK_SEQPACKET.
#pragma once

#include <string>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

class MeetingPoint {
 public:
  /// Who listens there. With kEither the end that comes first does, and the second connects.
  enum class Role { kEither, kServer, kClient };

  MeetingPoint() = default;
  MeetingPoint(std::string path, Role role) : path_(std::move(path)), role_(role) {}
  MeetingPoint(MeetingPoint&&) = default;
  MeetingPoint& operator=(MeetingPoint&&) = default;
  ~MeetingPoint() { leave(); }

  /// The socket to the other end, or none: then listener() becomes readable when it comes, or, of a kClient, nobody
  /// listens yet. A socket that a killed process left there is replaced. Errors: as bind(2) and connect(2); ENOTSOCK when
  /// something else is there; EADDRINUSE when another server is.
  Result<UniqueFd> meet();
  /// -1: nobody is waited for.
  [[nodiscard]] int listener() const { return listener_.get(); }
  /// Who has come to the listener, which ends with that; none: nobody after all.
  UniqueFd accept();
  void leave();
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] Role role() const { return role_; }

 private:
  std::string path_;
  Role role_ = Role::kEither;
  UniqueFd listener_;
};

}  // namespace lkm

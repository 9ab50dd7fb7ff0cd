// SPDX-License-Identifier: GPL-2.0
//
// Visit: the calling fiber is in the netns of another task, for the time of one request.
#pragma once

#include <map>
#include <string>

#include "libos-runtime/host/stack.hpp"

namespace lkm::fuse {

class Visit {
 public:
  /// `task` is named as below the stack's /proc.
  Visit(Stack& stack, std::string task);
  ~Visit();

  /// -errno when the fiber is where it was: ESTALE when the task is gone.
  [[nodiscard]] long error() const { return error_; }
  [[nodiscard]] const std::string& task() const { return task_; }
  /// A directory of the task's tree (O_PATH), as long as the visit lasts; -1 where there is none.
  int directory(const std::string& path);

  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

 private:
  Stack& stack_;
  std::string task_;
  int own_ = -1;  ///< the netns to go back to
  long error_ = 0;
  std::map<std::string, int> directories_;
};

}  // namespace lkm::fuse

// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <csignal>

#include "libos-runtime/host/stack.hpp"

namespace lkm::embed {

/// Closes what the program has open, and waits until it is known at the other ends; two seconds at most. Of several
/// threads one does it.
void say_farewell();

/// While the stack boots: signals that end the process are handled by a farewell, and the stack's own threads have them
/// blocked.
class SignalsAtBoot {
 public:
  SignalsAtBoot();
  SignalsAtBoot(const SignalsAtBoot&) = delete;
  SignalsAtBoot& operator=(const SignalsAtBoot&) = delete;
  ~SignalsAtBoot();
  void booted(Stack& stack);

 private:
  sigset_t before_{};
};

}  // namespace lkm::embed

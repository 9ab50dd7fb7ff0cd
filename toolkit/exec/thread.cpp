// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/thread.hpp"

#include <linux/sched.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cerrno>

namespace lkm::exec {
namespace {

using namespace std::chrono_literals;

// The kernel's own errors of an interrupted call (linux/errno.h), which no program sees.
constexpr long kRestartSys = 512;
constexpr long kRestartNoIntr = 513;
constexpr long kRestartNoHand = 514;
constexpr long kRestartBlock = 516;

constexpr int kMostInARow = 4;  // calls of one thread, before others have a turn

}  // namespace

Result<void> Thread::start() {
  LKM_TRY(fiber_,
          programs_.stack().spawn(thread_name(tid_), [self = shared_from_this()] { self->run(); }));
  return {};
}

void Thread::give(const seccomp_notif& call, Arrival arrival) {
  next_ = call;
  next_arrival_ = arrival;
  // It makes another call, so it no longer waits for the one that we still work on.
  if (busy_) {
    interrupted_ = Interrupted::kGone;
    fiber_.interrupt();
  }
  fiber_.unpark();
}

void Thread::end() {
  ending_ = true;
  interrupted_ = Interrupted::kGone;
  fiber_.interrupt();
  fiber_.unpark();
}

void Thread::run() {
  const long error = netns().call(SYS_setns, CLONE_NEWNET);
  while (!ending_) {
    if (next_ && error < 0) {
      session_->notifications.answer(std::exchange(next_, std::nullopt)->id, error);
    } else if (next_) {
      call_ = *std::exchange(next_, std::nullopt);
      serve();
      // As a rule it was woken before we came to an end here, and has made its next call since.
      if (!next_ && ++in_a_row_ < kMostInARow) programs_.look_for_call(*session_);
    } else {
      in_a_row_ = 0;
      programs_.stack().park();
    }
  }
}

void Thread::serve() {
  busy_ = true;
  interrupted_ = Interrupted::kNo;
  arrival_ = next_arrival_;
  seen_calling_ = arrival_.seen;
  looked_at_ = began_ = arrival_.seen != StackTime{} ? arrival_.seen : programs_.stack().now();
  programs_.begins(*this);
  if (const Outcome result = dispatch()) {
    // A wrong guess: the signal was for another thread. Then the kernel would not restart the call.
    const bool sure = interrupted_ == Interrupted::kBySignal;
    const bool restart = *result <= -kRestartSys && *result >= -kRestartNoHand;
    session_->notifications.answer(
        call_.id, *result < -kRestartNoHand || (restart && !sure) ? -EINTR : *result);
  }
  busy_ = false;
  programs_.ends(*this);
}

void Thread::answer_for_the_dead() const { session_->notifications.answer(call_.id, -EFAULT); }

bool Thread::to_be_restarted(long result) {
  static_assert(kRestartNoIntr == kRestartSys + 1 && kRestartBlock > kRestartNoHand);
  const bool was_interrupted =
      result == -EINTR || (result <= -kRestartSys && result >= -kRestartBlock);
  // Somebody else interrupted the fiber: a module is being renewed.
  return was_interrupted && interrupted_ == Interrupted::kNo;
}

void Thread::look_after(StackTime now) {
  const auto every = now - began_ < 1s ? 0ms : 50ms;  // 0: whenever somebody looks
  if (!busy_ || interrupted_ != Interrupted::kNo || now - looked_at_ < every) return;
  looked_at_ = now;
  if (!session_->notifications.valid(call_.id)) {
    interrupted_ = Interrupted::kGone;
  } else {
    switch (pending_signal(*process_, tid_)) {
      case Pending::kNone:
        return;
      case Pending::kForIt:
        interrupted_ = Interrupted::kBySignal;
        break;
      case Pending::kForOneOf:
        interrupted_ = Interrupted::kPerhapsBySignal;
        break;
    }
  }
  fiber_.interrupt();
}

/// A thread that was killed could have been followed by another under its number, once the host has
/// given all other numbers in turn. That takes longer than this.
bool Thread::still_calls() noexcept {
  constexpr auto kForSure = 2ms;
  const StackTime now = programs_.stack().now();
  if (now - seen_calling_ < kForSure) return true;
  if (!session_->notifications.valid(call_.id)) return false;
  seen_calling_ = now;
  return true;
}

std::size_t Thread::read(void* to, const void* from, std::size_t size) noexcept {
  if (!still_calls()) return size;
  const iovec local{.iov_base = to, .iov_len = size};
  const iovec remote{.iov_base = const_cast<void*>(from), .iov_len = size};
  const ssize_t copied = ::process_vm_readv(tid_, &local, 1, &remote, 1, 0);
  return copied > 0 ? size - std::size_t(copied) : size;
}

std::size_t Thread::write(void* to, const void* from, std::size_t size) noexcept {
  if (!still_calls()) return size;
  const iovec local{.iov_base = const_cast<void*>(from), .iov_len = size};
  const iovec remote{.iov_base = to, .iov_len = size};
  const ssize_t copied = ::process_vm_writev(tid_, &local, 1, &remote, 1, 0);
  return copied > 0 ? size - std::size_t(copied) : size;
}

}  // namespace lkm::exec

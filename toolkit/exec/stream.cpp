// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/stream.hpp"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace lkm::exec {
namespace {

// Where a call finds the pair's bytes: an address like any program's.
constexpr std::uintptr_t kBase = 0x10000;
constexpr std::size_t kFew = 4096;  // bytes
// The kernel's own -ERESTARTSYS and its like (linux/errno.h).
constexpr long kRestartSys = 512;
constexpr long kRestartBlock = 516;

bool was_interrupted(long result) {
  return result == -EINTR || (result <= -kRestartSys && result >= -kRestartBlock);
}

/// The bytes in a pair as user memory, which can be read once, in order.
class PairMemory final : public UserMemory {
 public:
  explicit PairMemory(int pair) : pair_(pair) {}

  std::size_t read(void* to, const void* from, std::size_t size) noexcept override {
    if (reinterpret_cast<std::uintptr_t>(from) != kBase + taken_) return size;
    std::size_t left = size;
    while (left > 0) {
      const ssize_t got = ::recv(pair_, static_cast<char*>(to) + (size - left), left, MSG_DONTWAIT);
      if (got <= 0) break;
      left -= std::size_t(got);
      taken_ += std::size_t(got);
    }
    return left;
  }
  std::size_t write(void*, const void*, std::size_t size) noexcept override { return size; }

 private:
  int pair_;
  std::size_t taken_ = 0;
};

}  // namespace

StreamBuffers::Buffer StreamBuffers::take() {
  if (unused_.empty()) return std::make_unique_for_overwrite<char[]>(kSize);
  Buffer buffer = std::move(unused_.back());
  unused_.pop_back();
  return buffer;
}

void Stream::carry_out() {
  out_again_ = true;
  if (std::exchange(out_busy_, true)) return;
  while (std::exchange(out_again_, false)) carry_out_once();
  out_busy_ = false;
}

void Stream::carry_out_once() {
  held_up_ = false;
  if (out_ended_) return;
  for (;;) {
    const bool is_all = pair_ended_;  // that is there now
    const Sent sent = few_ || !unsent_.empty() ? send_few() : send_from_pair();
    if (sent.bytes == 0) break;
    if (sent.bytes == -EAGAIN) {
      held_up_ = true;
      return;
    }
    if (sent.bytes < 0 && !was_interrupted(sent.bytes)) {
      error_ = int(-sent.bytes);
      out_ended_ = true;
      return;
    }
    // What the program writes from here on raises another event.
    if (sent.all && !pair_ended_) return;
    if (sent.all && is_all) break;
  }
  if (!pair_ended_) return;
  if (!closed_) connection_.call(SYS_shutdown, SHUT_WR);
  out_ended_ = true;
}

Stream::Sent Stream::send_from_pair() {
  int waiting = 0;
  if (::ioctl(pair_, FIONREAD, &waiting) != 0 || waiting == 0) return {.bytes = 0, .all = true};
  few_ = std::size_t(waiting) < kFew;
  PairMemory memory(pair_);
  const unsigned long args[6] = {static_cast<unsigned long>(connection_.get()), kBase,
                                 static_cast<unsigned long>(waiting), MSG_DONTWAIT | MSG_NOSIGNAL};
  const long sent = stack_.syscall_for(memory, SYS_sendto, args);
  return {.bytes = sent, .all = sent == waiting};
}

Stream::Sent Stream::send_few() {
  const bool left = !unsent_.empty();
  StreamBuffers::Buffer buffer;
  std::span<const char> bytes = unsent_;
  if (!left) {
    buffer = buffers_.take();
    const ssize_t got = ::recv(pair_, buffer.get(), kFew, MSG_DONTWAIT);
    bytes = {buffer.get(), std::size_t(std::max<ssize_t>(got, 0))};
    few_ = bytes.size() < kFew;
  }
  long sent = 0;
  if (!bytes.empty()) sent = connection_.call(SYS_sendto, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0);
  const bool took_all = sent == long(bytes.size());
  std::vector<char> rest;
  if (!took_all) {
    const auto unsent = bytes.subspan(std::size_t(std::max(sent, 0L)));
    rest.assign(unsent.begin(), unsent.end());
  }
  unsent_ = std::move(rest);
  if (buffer) buffers_.put_back(std::move(buffer));
  return {.bytes = sent, .all = took_all && !left && few_};
}

void Stream::carry_in() {
  in_again_ = true;
  if (std::exchange(in_busy_, true)) return;
  while (std::exchange(in_again_, false)) carry_in_once();
  in_busy_ = false;
}

void Stream::carry_in_once() {
  if (!unplaced_.empty() && !place(std::exchange(unplaced_, {}))) return;
  if (in_ended_) return;
  StreamBuffers::Buffer buffer = buffers_.take();
  long got = 0;
  do {
    if (urgent_) place_urgent();
    got = connection_.call(SYS_recvfrom, buffer.get(), StreamBuffers::kSize, MSG_DONTWAIT, nullptr,
                           nullptr);
  } while (was_interrupted(got) || (got > 0 && place({buffer.get(), std::size_t(got)})));
  buffers_.put_back(std::move(buffer));
  if (got > 0 || got == -EAGAIN) return;
  in_ended_ = true;
  if (got < 0) {
    error_ = int(-got);
  } else {
    ::shutdown(pair_, SHUT_WR);
  }
}

void Stream::take_urgent() {
  char byte = 0;
  if (connection_.call(SYS_recvfrom, &byte, 1, MSG_OOB | MSG_DONTWAIT, nullptr, nullptr) == 1)
    urgent_ = byte;
}

/// If all before it is placed: TCP stops reading there once (tcp_recvmsg()).
void Stream::place_urgent() {
  int at_mark = 0;
  if (connection_.call(SYS_ioctl, SIOCATMARK, &at_mark) != 0 || at_mark == 0) return;
  // A host without AF_UNIX's MSG_OOB (CONFIG_AF_UNIX_OOB) does without.
  (void)!::send(pair_, &*urgent_, 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL);
  urgent_.reset();
}

bool Stream::has_unsent() const {
  int waiting = 0;
  return !unsent_.empty() || (::ioctl(pair_, FIONREAD, &waiting) == 0 && waiting > 0);
}

/// False when there is more than there was room for.
bool Stream::place(std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t placed = ::send(pair_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (placed >= 0) {
      bytes = bytes.subspan(std::size_t(placed));
    } else if (errno == EAGAIN) {
      unplaced_.assign(bytes.begin(), bytes.end());
      return false;
    } else {
      // The program reads no more, or is gone.
      in_ended_ = true;
      connection_.call(SYS_shutdown, SHUT_RD);
      return false;
    }
  }
  return true;
}

}  // namespace lkm::exec

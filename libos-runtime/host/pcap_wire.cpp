// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/pcap_wire.hpp"

#include <fcntl.h>
#include <linux/if_ether.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace lkm {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

/// Of the device: what it takes at once, and one frame more.
constexpr std::size_t kLargestFrame = 65536 + 128;

nanoseconds now(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

}  // namespace

Result<std::unique_ptr<PcapWire>> PcapWire::open(const PcapOptions& options) {
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return fail(errno, "make a timer");
  auto wire = std::unique_ptr<PcapWire>(new PcapWire(options, std::move(timer)));
  if (!options.in.empty()) {
    LKM_TRY(wire->in_, PcapReader::open(options.in));
  }
  if (!options.out.empty()) {
    LKM_TRY(wire->out_, UniqueFd::open(options.out, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0644));
    const pcap::FileHeader header;
    if (::write(wire->out_.get(), &header, sizeof header) != sizeof header) return fail(errno, "write '{}'", options.out);
  }
  wire->next_frame_.resize(kLargestFrame);
  return wire;
}

void PcapWire::begin() {
  if (!in_) return;
  begun_ = due_ = now(CLOCK_MONOTONIC);
  read_ahead();
  if (next_) first_ = next_->at;
  ring_at(begun_);
}

/// The next frame that is one. When it is due, frames of before have been due as well: time may have stepped back.
void PcapWire::read_ahead() {
  do {
    next_ = in_->next(next_frame_);
  } while (next_ && next_->kept < ETH_HLEN);
  if (next_ && next_->kept < next_->length) ++cut_;
  if (next_ && first_ && !options_.fast) due_ = std::max(due_, begun_ + (next_->at - *first_));
}

void PcapWire::ring_at(nanoseconds when) {
  const auto whole = std::chrono::duration_cast<seconds>(when);
  const itimerspec spec{.it_interval = {}, .it_value = {.tv_sec = whole.count(), .tv_nsec = (when - whole).count()}};
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
}

long PcapWire::receive(libos_frame_meta& meta, std::span<std::byte> frame) {
  if (!next_) {
    const itimerspec never{};  // at the end, or not begun
    ::timerfd_settime(timer_.get(), 0, &never, nullptr);
    return 0;
  }
  if (due_ > now(CLOCK_MONOTONIC)) {
    ring_at(due_);
    return 0;
  }
  meta = {};
  const std::size_t length = std::min(next_->kept, frame.size());
  std::memcpy(frame.data(), next_frame_.data(), length);
  ++received_;
  read_ahead();
  return long(length);
}

int PcapWire::send(const libos_frame_meta&, std::span<const libos_iov> frame) {
  if (!out_) return 0;
  std::array<iovec, 24> pieces;
  if (frame.size() + 1 > pieces.size()) return -E2BIG;
  std::size_t length = 0;
  for (std::size_t i = 0; i < frame.size(); ++i) {
    pieces[i + 1] = {frame[i].base, frame[i].len};
    length += frame[i].len;
  }
  const nanoseconds at = now(CLOCK_REALTIME);
  const auto whole = std::chrono::duration_cast<seconds>(at);
  pcap::RecordHeader header{std::uint32_t(whole.count()), std::uint32_t((at - whole).count()), std::uint32_t(length),
                            std::uint32_t(length)};
  pieces[0] = {&header, sizeof header};
  const off_t before = ::lseek(out_.get(), 0, SEEK_CUR);
  const ssize_t written = ::writev(out_.get(), pieces.data(), int(frame.size() + 1));
  if (written == ssize_t(sizeof header + length)) {
    ++sent_;
    return 0;
  }
  // A part of a packet makes the rest of the file unreadable. (A pipe takes all of it, or is full.)
  const int error = written < 0 ? errno : ENOSPC;
  if (before >= 0 && written > 0) {
    (void)!::ftruncate(out_.get(), before);
    ::lseek(out_.get(), before, SEEK_SET);
  }
  return error == EAGAIN ? -ENOBUFS : -error;  // the timer does not tell when there is room
}

std::string PcapWire::describe() const {
  std::string text = "pcap";
  if (in_) {
    text += fmt::format(" {}, {} frames in", options_.in, received_);
    if (cut_ > 0) text += fmt::format(" ({} of them cut short)", cut_);
    text += next_ ? "" : begun_ == nanoseconds{} ? ", waits" : ", at its end";
  }
  if (out_) text += fmt::format("{} {}, {} frames out", in_ ? ";" : "", options_.out, sent_);
  return text;
}

}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/pcap.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lkm {
namespace {

constexpr std::uint32_t kMicroseconds = 0xa1b2c3d4;
constexpr std::uint32_t kNanoseconds = 0xa1b23c4d;
constexpr std::uint32_t kPcapng = 0x0a0d0d0a;
constexpr std::uint32_t kEthernet = 1;
constexpr std::size_t kAtOnce = std::size_t{256} << 10;  // bytes read from the file

std::uint32_t in_order(std::uint32_t value, bool swapped) { return swapped ? __builtin_bswap32(value) : value; }

}  // namespace

Result<PcapReader> PcapReader::open(const std::string& path) {
  LKM_TRY(UniqueFd file, UniqueFd::open(path, O_RDONLY | O_NONBLOCK));
  struct stat about {};
  if (::fstat(file.get(), &about) != 0) return fail(errno, "look at '{}'", path);
  if (!S_ISREG(about.st_mode)) return fail(ESPIPE, "'{}' is no file", path);
  pcap::FileHeader header;
  const ssize_t got = ::pread(file.get(), &header, sizeof header, 0);
  if (got < 0) return fail(errno, "read '{}'", path);
  if (std::size_t(got) < sizeof header) return fail(EBADMSG, "'{}' is no pcap file", path);
  if (header.magic == kPcapng)
    return fail_hint(EBADMSG, fmt::format("editcap -F pcap {0} other.pcap", path), "'{}' is a pcapng file", path);
  const bool swapped = header.magic == __builtin_bswap32(kMicroseconds) || header.magic == __builtin_bswap32(kNanoseconds);
  const std::uint32_t magic = in_order(header.magic, swapped);
  if (magic != kMicroseconds && magic != kNanoseconds) return fail(EBADMSG, "'{}' is no pcap file", path);
  // The upper bits tell of a frame check sequence.
  const std::uint32_t type = in_order(header.type, swapped) & 0xffff;
  if (type != kEthernet) return fail(EMEDIUMTYPE, "'{}' has packets of link type {}, and not of Ethernet", path, type);
  return PcapReader(std::move(file), swapped, magic == kNanoseconds);
}

bool PcapReader::read(void* to, std::size_t size) {
  if (offset_ < buffered_at_ || offset_ + size > buffered_at_ + buffer_.size()) {
    buffer_.resize(std::max(kAtOnce, size));
    const ssize_t got = ::pread(file_.get(), buffer_.data(), buffer_.size(), off_t(offset_));
    buffer_.resize(std::size_t(std::max<ssize_t>(got, 0)));
    buffered_at_ = offset_;
    if (buffer_.size() < size) return false;
  }
  std::memcpy(to, buffer_.data() + (offset_ - buffered_at_), size);
  offset_ += size;
  return true;
}

std::optional<PcapReader::Packet> PcapReader::next(std::span<std::byte> frame) {
  const std::uint64_t begin = offset_;
  pcap::RecordHeader header;
  if (read(&header, sizeof header)) {
    const auto fraction = std::chrono::nanoseconds(in_order(header.nanoseconds, swapped_));
    const std::size_t kept = in_order(header.kept, swapped_);
    const std::size_t fits = std::min(kept, frame.size());
    if (kept <= pcap::kLongest && read(frame.data(), fits)) {
      offset_ += kept - fits;
      return Packet{.at = std::chrono::seconds(in_order(header.seconds, swapped_)) + (nanoseconds_ ? fraction : fraction * 1000),
                    .kept = fits,
                    .length = in_order(header.length, swapped_)};
    }
  }
  offset_ = begin;
  return std::nullopt;
}

}  // namespace lkm

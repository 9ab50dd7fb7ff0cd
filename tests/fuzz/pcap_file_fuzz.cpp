// SPDX-License-Identifier: GPL-2.0
//
// A capture file is refused or read to its end, whatever it holds.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "libos-runtime/host/pcap.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const lkm::UniqueFd file(::memfd_create("capture", MFD_CLOEXEC));
  static std::vector<std::byte> frame(1514);
  const std::string path = "/proc/self/fd/" + std::to_string(file.get());
  if (::ftruncate(file.get(), 0) != 0 || ::pwrite(file.get(), data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  auto reader = lkm::PcapReader::open(path);
  if (!reader) return 0;
  std::size_t packets = 0;
  while (const auto packet = reader->next(frame)) {
    if (packet->kept > frame.size()) std::abort();
    // Each takes sixteen bytes at least.
    if (++packets > size / 16) std::abort();
  }
  return 0;
}

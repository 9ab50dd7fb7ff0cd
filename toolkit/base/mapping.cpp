// SPDX-License-Identifier: GPL-2.0
#include "toolkit/base/mapping.hpp"

#include <sys/stat.h>

#include "toolkit/base/unique_fd.hpp"

namespace lkm {

Result<Mapping> Mapping::file(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not hang; it changes nothing for a regular file.
  LKM_TRY(const auto fd, UniqueFd::open(path, O_RDONLY | O_NONBLOCK));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail(errno, "stat '{}'", path);
  if (!S_ISREG(status.st_mode)) return fail(EINVAL, "map '{}': not a regular file", path);
  if (status.st_size == 0) return Mapping();
  const auto size = static_cast<std::size_t>(status.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) return fail(errno, "map '{}' ({} bytes)", path, size);
  return Mapping(data, size);
}

Result<Mapping> Mapping::memory(std::size_t size, int protection, int flags) {
  void* data = ::mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  if (data == MAP_FAILED) return fail(errno, "map {} bytes of memory", size);
  return Mapping(data, size);
}

Result<Mapping> Mapping::shared(int memory, std::size_t size) {
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (data == MAP_FAILED) return fail(errno, "map {} bytes of shared memory", size);
  return Mapping(data, size);
}

void Mapping::reset() {
  if (data_ == nullptr) return;
  const int saved = errno;
  ::munmap(std::exchange(data_, nullptr), std::exchange(size_, 0));
  errno = saved;
}

}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
//
// Mapping: owner of a range of mapped memory.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "toolkit/base/result.hpp"

namespace lkm {

class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      reset();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  /// The whole of a regular file, read-only and private. An empty file gives an empty Mapping.
  /// A file that is truncated while mapped raises SIGBUS at the access: map only files that are
  /// replaced by rename. Errors: as open(2), fstat(2), mmap(2), naming the path; EINVAL when it is
  /// no regular file.
  static Result<Mapping> file(const std::string& path);
  /// Zeroed private memory of `size` bytes, page-aligned; `flags` are added to
  /// MAP_PRIVATE | MAP_ANONYMOUS. Errors: as mmap(2).
  static Result<Mapping> memory(std::size_t size, int protection = PROT_READ | PROT_WRITE,
                                int flags = 0);
  /// The first bytes of memory that other processes have too (memfd_create(2)), to read and to write. Who may truncate it
  /// may raise SIGBUS here: see F_SEAL_SHRINK. Errors: as mmap(2).
  static Result<Mapping> shared(int memory, std::size_t size);

  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(data_); }
  /// Bytes.
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return {data(), size_}; }
  [[nodiscard]] std::string_view text() const { return {static_cast<const char*>(data_), size_}; }
  explicit operator bool() const { return data_ != nullptr; }
  /// Unmaps; errno survives.
  void reset();

 private:
  Mapping(void* data, std::size_t size) : data_(data), size_(size) {}

  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace lkm

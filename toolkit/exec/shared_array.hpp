// SPDX-License-Identifier: GPL-2.0
//
// SharedArray: memory that a process and its forks have in common. A stack that goes on from a snapshot
// (libos-runtime/host/snapshot.hpp) has all as it was; in here it finds what was done since.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include "toolkit/base/result.hpp"

namespace lkm::exec {

template <typename T>
class SharedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  /// All zero. Errors: as mmap(2).
  static Result<SharedArray> make(std::size_t count) {
    void* data = ::mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return fail(errno, "map shared memory");
    return SharedArray(static_cast<T*>(data), count);
  }

  SharedArray(SharedArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  SharedArray& operator=(SharedArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~SharedArray() {
    if (data_ != nullptr) ::munmap(data_, count_ * sizeof(T));
  }

  [[nodiscard]] std::span<T> all() const { return {data_, count_}; }
  [[nodiscard]] T& operator[](std::size_t index) const { return data_[index]; }
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  SharedArray(T* data, std::size_t count) : data_(data), count_(count) {}

  T* data_;
  std::size_t count_;
};

}  // namespace lkm::exec

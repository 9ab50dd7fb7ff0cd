// SPDX-License-Identifier: GPL-2.0
//
// Tells AddressSanitizer about stack switches, and what may read everything. Without it, everything here is empty.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define LKM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LKM_ASAN 1
#endif
#endif

#ifdef LKM_ASAN
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif

/// For what reads call stacks word by word, and with them what AddressSanitizer has put between variables.
#ifdef LKM_ASAN
#define LKM_READS_STACKS __attribute__((no_sanitize("address")))
#else
#define LKM_READS_STACKS
#endif

namespace lkm::sanitizer {

struct Bounds {
  const void* low = nullptr;
  std::size_t size = 0;
};

#ifdef LKM_ASAN
inline constexpr bool kEnabled = true;
/// Right before a switch to the stack `to`.
inline void leaving(Bounds to) { __sanitizer_start_switch_fiber(nullptr, to.low, to.size); }
/// Right after a switch, on the new stack.
inline void arrived() { __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr); }
/// A stack whose frames are gone, some of them without a return: their fiber has ended by a fault.
inline void forget_frames(void* low, std::size_t size) { __asan_unpoison_memory_region(low, size); }
/// A stack that a fiber runs on, until it is released. A library kernel that ends leaves its fibers where they are, and
/// LeakSanitizer, which knows of the stacks of threads only, would take what they hold for lost.
inline void claim_stack(const void* low, std::size_t size) { __lsan_register_root_region(low, size); }
inline void release_stack(const void* low, std::size_t size) { __lsan_unregister_root_region(low, size); }
inline Bounds this_thread() {
  pthread_attr_t attributes;
  void* low = nullptr;
  std::size_t size = 0;
  if (::pthread_getattr_np(::pthread_self(), &attributes) == 0) {
    ::pthread_attr_getstack(&attributes, &low, &size);
    ::pthread_attr_destroy(&attributes);
  }
  return {low, size};
}
#else
inline constexpr bool kEnabled = false;
inline void leaving(Bounds) {}
inline void arrived() {}
inline void forget_frames(void*, std::size_t) {}
inline void claim_stack(const void*, std::size_t) {}
inline void release_stack(const void*, std::size_t) {}
inline Bounds this_thread() { return {}; }
#endif

}  // namespace lkm::sanitizer

// SPDX-License-Identifier: GPL-2.0
//
// Allocations: of what type the memory is that a place in a module's code asks for. C does not say: kmalloc() is told
// a size, and gives a void pointer. What the result is assigned to says it: debug information has the variable that is
// in the register of results when the call returns, and the instruction behind the call may put it into a variable, or
// a member of a structure, whose type is known.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm {

/// What debug information knows about one call.
struct AllocationHints {
  struct Hint {
    std::string type;  ///< as in Layouts: "struct flow"; of the pointer's target
    std::uint64_t bytes = 0;  ///< 0: not known there
  };
  std::vector<Hint> results;    ///< of the variable or the member that the call's result is assigned to
  std::vector<Hint> variables;  ///< of pointers that the function has, and of those in what they point to

  struct Answer {
    std::string type;  ///< empty: it cannot be told, and
    std::string why;
  };
  /// Of a block of that size. The type may have another: of an array, or of what has something behind it.
  [[nodiscard]] Answer type_of(std::uint64_t bytes) const;
  /// The function has a pointer to one.
  [[nodiscard]] bool knows(const std::string& type) const;
};

/// By the call's address in the file: the byte before the one that it returns to. Errors: as read_layouts().
Result<std::map<std::uintptr_t, AllocationHints>> read_allocations(std::span<const std::byte> file,
                                                                   const std::string& shown,
                                                                   const std::vector<std::uintptr_t>& calls);

/// Structures that a function of the module's says are in a packet: it takes a `struct sk_buff *`, and returns a pointer
/// to one, as pi2_cb(). Errors: as read_layouts().
Result<std::vector<std::string>> packet_structures(std::span<const std::byte> file, const std::string& shown);

}  // namespace lkm

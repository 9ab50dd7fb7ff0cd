// SPDX-License-Identifier: GPL-2.0
//
// Layouts: the structures, unions and enumerations that a module's own sources define, from its debug
// information. When two builds agree on them, objects that the old code made can go on with the new code.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm {

struct MemberLayout {
  std::string name;         ///< empty: an anonymous structure
  std::string type;         ///< "u32", "struct list_head", "int (*)(struct sock *)"
  std::uint64_t bit = 0;    ///< where it begins; the value, for an enumerator
  std::uint64_t bits = 0;   ///< how many it has
  enum class Kind { kOther, kUnsigned, kSigned } kind = Kind::kOther;  ///< of an integer
  bool zeroable = true;     ///< zero is a value of it, as it is not of a list's head or a timer
  std::vector<MemberLayout> parts = {};  ///< when it is a structure without a name, or an array of such: of one

  bool operator==(const MemberLayout&) const = default;
};

struct TypeLayout {
  std::uint64_t bytes = 0;
  std::vector<MemberLayout> members;

  bool operator==(const TypeLayout&) const = default;
};

/// By "struct foo", "union bar", "enum baz"; by "foo_t" where the structure itself has no name. Two source
/// files may have a type each of one name.
using Layouts = std::map<std::string, std::vector<TypeLayout>>;

/// Reads a plugin or any ELF file that was compiled in the kernel's build folder: types of headers beside
/// that folder are the kernel's, and left out. Errors: ENODATA without debug information; ENOEXEC when it is damaged.
Result<Layouts> read_layouts(std::span<const std::byte> file, const std::string& shown);

/// The module's variables that are structures of its own, or arrays of them: the type of each, "struct foo" of
/// "struct foo[8]". Errors: as read_layouts().
Result<std::map<std::string, std::string>> read_variables(std::span<const std::byte> file, const std::string& shown);

/// "u32" of "u32[8]"; the type itself when it is no array.
std::string element_of(const std::string& type);
/// How many elements "u32[2][4]" has; 1 for what is no array.
std::uint64_t elements_in(const std::string& type);

/// One structure, "struct module", of the module or of the kernel's headers. ENODATA when no function of the module's
/// needs to know its members; else errors as read_layouts().
Result<TypeLayout> read_structure(std::span<const std::byte> file, const std::string& shown, const std::string& name);

/// The structures that functions of the module use as a socket's private state: those that a function with a
/// `struct sock *` has a pointer to. Errors: as read_layouts().
Result<std::vector<std::string>> socket_structures(std::span<const std::byte> file, const std::string& shown);

/// Structures of which some may be hashed byte by byte: those that a function has, or has a pointer to, which calls
/// jhash(), siphash() or another of their kind. Errors: as read_layouts().
Result<std::set<std::string>> hashed_structures(std::span<const std::byte> file, const std::string& shown);

/// One line a difference: "struct foo: 'rtt' is at byte 16, was at 8". Empty: they agree. A type that only
/// one of them has is no difference: no object of the other can be of it. Those of `except` may differ.
std::vector<std::string> layout_differences(const Layouts& before, const Layouts& after,
                                            const std::set<std::string>& except = {});

}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
//
// Reshape: the live objects of a module (sockets, qdiscs, devices, the data of namespaces) take the form that another
// build's structure has, where they are. Each object has room for more than its structure (arch/lib's
// plugin/objects.c), so it need not move: its members do, by name and type, and whatever points to one that has moved
// is corrected. What the new structure has besides is zero; init does not run for an object that exists.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "libos-runtime/abi/libos.h"
#include "libos-runtime/host/layout.hpp"
#include "libos-runtime/host/relocation.hpp"
#include "toolkit/base/result.hpp"

namespace lkm {

/// A member, or a part of it, of the old structure that the new one has too.
struct MovedMember {
  std::uint64_t from_bit = 0, from_bits = 0;
  std::uint64_t to_bit = 0, to_bits = 0;  ///< an integer may become wider or narrower
  bool is_signed = false;
};

/// How an object of one structure becomes one of another.
struct Form {
  std::string structure;  ///< "struct telex_sock"
  std::uint64_t from_bytes = 0, to_bytes = 0;
  std::vector<MovedMember> members;
  std::vector<std::string> remarks;  ///< one for each member that is not as it was

  /// Rearranges one object; `room` bytes are its own.
  void apply(std::byte* object) const;
  /// Where members of whole bytes are that have another place now.
  [[nodiscard]] std::vector<Relocation::Range> moves(const std::byte* object) const;
};

/// Of a structure that differs between two builds. `reshaped` are all structures that do and that objects are rearranged
/// for: a member of such a type is rearranged with the whole. Error EXDEV: the reasons why that cannot be, a line each.
Result<Form> make_form(const std::string& structure, const Layouts& before, const Layouts& after,
                       const std::set<std::string>& reshaped);

/// The reshapes of one swap.
class Reshape {
 public:
  struct Kind {
    libos_objects* kernel = nullptr;  ///< its own record
    std::uint64_t next_size = 0;      ///< of the structure in the next build
    std::string structure;            ///< empty: the objects stay as they are
    Form form;
    std::set<std::byte*> objects;
  };

  Reshape() = default;
  /// `kinds`: those of the running module, with `next_size`. What speaks against it is added to `reasons`.
  Reshape(std::vector<Kind> kinds, const Layouts& before, const Layouts& after, std::vector<std::string>& reasons);

  /// Structures that may differ.
  [[nodiscard]] const std::set<std::string>& structures() const { return structures_; }
  /// The structure that objects of this many bytes may be of; empty: none that changes.
  [[nodiscard]] std::string structure_of_size(std::uint64_t bytes) const;
  /// Some member has another place than before.
  [[nodiscard]] bool moves_members() const;

  /// To be given to the kernel's module_objects(). False: the kinds are others than those that were planned for.
  template <typename Objects>
  bool begin(const Objects& objects) {
    std::size_t known = 0;
    for (Kind& kind : kinds_) kind.objects.clear();
    for (const auto& now : objects) {
      const auto kind = std::ranges::find(kinds_, now.kind, &Kind::kernel);
      if (kind == kinds_.end()) return false;
      if (now.object == nullptr) {
        ++known;
      } else {
        kind->objects.insert(now.object);
      }
    }
    return known == kinds_.size();
  }
  /// The sizes in the module's tables: those of the running build's structures, or as large as the objects are.
  void show_sizes() const;
  void show_rooms() const;
  /// Rearranges all objects. What remains is to go over all memory with the result.
  [[nodiscard]] Relocation apply() const;
  /// A line a structure, and one for each member that is not as it was.
  [[nodiscard]] std::vector<std::string> remarks() const;

 private:
  std::vector<Kind> kinds_;
  std::set<std::string> structures_;
};

}  // namespace lkm

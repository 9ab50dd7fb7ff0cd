// SPDX-License-Identifier: GPL-2.0
//
// Reshape: the live objects of a module (sockets, qdiscs, devices, the data of namespaces, and blocks of memory that it
// asked for) take the form that another build's structure has. Each object has room for more than its structure
// (arch/lib's plugin/objects.c and blocks.c), so it need not move: its members do, by name and type, and whatever points
// to one that has moved is corrected. A block whose room does not suffice moves as a whole. What the new structure has
// besides is zero; init does not run for an object that exists.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "libos-runtime/abi/libos.h"
#include "libos-runtime/host/allocations.hpp"
#include "libos-runtime/host/layout.hpp"
#include "libos-runtime/host/relocation.hpp"
#include "toolkit/base/result.hpp"

namespace lkm {

/// A member, or a part of it, of the old structure that the new one has too.
struct MovedMember {
  std::uint64_t from_bit = 0, from_bits = 0;
  std::uint64_t to_bit = 0, to_bits = 0;  ///< an integer may become wider or narrower
  bool is_signed = false;
  bool is_scalar = false;  ///< a number or a pointer: nobody points to it
};

/// How an object of one structure becomes one of another.
struct Form {
  std::string structure;  ///< "struct telex_sock"
  std::uint64_t from_bytes = 0, to_bytes = 0;
  std::vector<MovedMember> members;
  std::vector<Relocation::Range> ranges;  ///< what has another place, counted from the object
  std::vector<std::string> remarks;  ///< one for each member that is not as it was

  /// Makes the new form at `to`, which may be the object's own place, of the old one at `object`.
  void apply(const std::byte* object, std::byte* to) const;
  void apply(std::byte* object) const { apply(object, object); }
  /// Where members of whole bytes are, and structures within, that have another place now.
  [[nodiscard]] std::vector<Relocation::Range> moves(const std::byte* object) const;
  /// The same when the object itself goes to another place, in a block that had this size.
  [[nodiscard]] std::vector<Relocation::Range> moves(const std::byte* object, const std::byte* to,
                                                     std::size_t size) const;
};

/// A block of memory that the module asked for, as libos_held, or (`at` nullptr) a place in its code that could.
struct HeldBlock {
  std::byte* at = nullptr;
  std::uint64_t size = 0, room = 0;
  std::string kind, why;
  bool movable = false;
  std::uint32_t build = 0;
  std::uintptr_t place = 0;
};

/// What a place in the module's code allocates.
struct AllocationSite {
  AllocationHints hints;
  std::string line;  ///< "mycc.c:88"
};
/// By build and address.
using AllocationSites = std::map<std::pair<std::uint32_t, std::uintptr_t>, AllocationSite>;

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

  /// A block that becomes another structure's.
  struct Block {
    std::byte* at = nullptr;
    std::byte* to = nullptr;  ///< nullptr: a new block is needed
    std::size_t size = 0;     ///< that was asked for
    const Form* form = nullptr;
  };

  Reshape() = default;
  /// `kinds`: those of the running module, with `next_size`. `hashed`: hashed_structures(). What speaks against it is
  /// added to `reasons`.
  Reshape(std::vector<Kind> kinds, const std::vector<HeldBlock>& held, AllocationSites sites, const Layouts& before,
          const Layouts& after, const std::set<std::string>& hashed, std::vector<std::string>& reasons);

  /// Structures that may differ.
  [[nodiscard]] const std::set<std::string>& structures() const { return structures_; }
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
  /// To be given all blocks of the module. The reason why it cannot be, or an empty text.
  std::string begin_blocks(const std::vector<HeldBlock>& held);
  /// Those that are rearranged.
  [[nodiscard]] std::vector<Block>& blocks() { return blocks_; }
  /// The sizes in the module's tables: those of the running build's structures, or as large as the objects are.
  void show_sizes() const;
  void show_rooms() const;
  /// Rearranges all objects. What remains is to go over all memory with the result.
  [[nodiscard]] Relocation apply() const;
  /// A line a structure, and one for each member that is not as it was.
  [[nodiscard]] std::vector<std::string> remarks() const;

 private:
  [[nodiscard]] AllocationHints::Answer type_of(const HeldBlock& block) const;
  [[nodiscard]] bool may_have(const HeldBlock& block, const std::string& structure, std::uint64_t bytes) const;
  [[nodiscard]] std::string line_of(const HeldBlock& block) const;
  std::string add(const HeldBlock& block);

  std::vector<Kind> kinds_;
  AllocationSites sites_;
  std::map<std::string, Form> forms_;  ///< of structures in blocks
  std::map<std::string, std::uint64_t> sizes_;  ///< of structures_, in the running build
  std::vector<Block> blocks_;
  std::set<std::string> structures_;
};

}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
//
// Renewal: a running module goes on with the code of another build, in place. Its variables stay where they
// are, and so do all objects that it made and everything that is registered: nothing is moved, nothing is
// initialised anew. That is possible for a module of any kind, as long as both builds agree on what their
// objects look like; where they do not, the reason is told, and nothing has changed.
//
//   variables   The new code is bound to the running module's variables. One that nobody has changed since
//               it was initialised takes the new source's initial value, word by word: a new default, a new
//               function in a table of operations. One that was changed keeps its value.
//   functions   Pointers to the old functions are all over the kernel: in sockets, timers, RCU callbacks. Each
//               old function becomes a jump to the new one of its name, so every such pointer works at once.
//   objects     must have the same layout in both builds (layout.hpp), but for those that can be rearranged where
//               they are (reshape.hpp).
//   init        does not run. That a module's init has changed is reported.
//
// Then the pointers are swept: each word of the stack's memory that holds the address of an old function gets
// that of the new one. When nothing points into the old build any more, it is unmapped.
//
// The technique of redirecting functions is that of ksplice and of the kernel's livepatch; binding new code to
// live variables is ksplice's (Arnold, Kaashoek: "Ksplice", EuroSys 2009).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "libos-runtime/host/code_map.hpp"
#include "libos-runtime/host/layout.hpp"
#include "libos-runtime/host/plugin_file.hpp"
#include "libos-runtime/host/reshape.hpp"
#include "toolkit/base/result.hpp"

namespace lkm {

/// A variable of a running module, in whichever build's mapping it lives.
struct LiveVariable {
  std::byte* at = nullptr;
  std::string shape;
  std::vector<std::byte> initial;  ///< as the last build that ran had initialised it
};

/// A running module as an heir of its builds.
struct ModuleBody {
  std::map<std::string, LiveVariable> variables;
  Layouts layouts;
  CodeMap code;              ///< of the build that runs
  std::uintptr_t bias = 0;   ///< of the build that runs
  const void* handle = nullptr;  ///< the plugin that the kernel knows the module by
  AllocationSites sites;         ///< of blocks that builds asked for which are mapped no more
};

/// One build of a module that is mapped but does not run any more: addresses of its functions.
struct OldCode {
  std::map<std::string, PluginFunction> functions;
  std::uintptr_t bias = 0;
};

/// A build, read. The slow part (debug information), and it needs no running stack: for another thread.
struct ReadBuild {
  CodeMap code;
  Layouts layouts;
  std::map<std::string, std::string> structures_of_variables;  ///< read_variables()
};
Result<ReadBuild> read_build(const PluginFile& file);

/// The body of a module that runs as it was loaded. `pristine` is what PluginFile::writable() held before init.
ModuleBody make_body(const PluginFile& file, ReadBuild build, const std::vector<std::byte>& pristine);

class Renewal {
 public:
  /// Compares, and binds `next`, which nothing runs yet, to the body's variables. Error: EXDEV with the
  /// reasons why the module cannot go on in place; others of mprotect(2).
  /// What the kernel tells of the module's objects and blocks, which may be rearranged.
  struct Objects {
    std::vector<libos_objects*> kinds;
    std::vector<HeldBlock> held;
    AllocationSites sites;  ///< of the blocks
    std::vector<std::string> in_packets;  ///< packet_structures()
    std::set<std::string> hashed;         ///< hashed_structures()
  };
  static Result<Renewal> prepare(ModuleBody& body, const PluginFile& next, ReadBuild build, Objects objects);

  /// Writes to variables, and turns the functions of `old` builds into jumps. Does not fail or allocate.
  void commit(const std::vector<OldCode*>& old);
  /// After commit(): the body is the new build's, and what was writable for commit() is so no more.
  void finish();

  /// Of the objects. Begun before commit(), and applied after it.
  [[nodiscard]] Reshape& reshape() { return reshape_; }
  [[nodiscard]] bool init_changed() const { return init_changed_; }
  /// Variables that keep a value which the old code gave them.
  [[nodiscard]] std::size_t kept() const { return kept_; }
  /// `next` has variables of its own, which must stay mapped as long as the module lives.
  [[nodiscard]] bool adds_variables() const { return !added_.empty(); }

 private:
  struct Bound {
    LiveVariable* live = nullptr;
    const std::byte* fresh = nullptr;  ///< in `next`
    bool merge = true;
  };

  explicit Renewal(ModuleBody& body) : body_(&body) {}
  Result<void> bind(const PluginFile& next);

  ModuleBody* body_;
  ReadBuild build_;
  std::uintptr_t bias_ = 0;
  std::vector<Bound> bound_;
  std::map<std::string, LiveVariable> added_;
  std::vector<std::string> dropped_;
  Reshape reshape_;
  bool init_changed_ = false;
  std::size_t kept_ = 0;
};

/// Makes the code of a mapping writable as well, or not any more.
Result<void> open_code(const PluginFile& file, bool writable);
/// Makes also those constants writable that hold addresses, which were so only while they were relocated.
Result<void> open_variables(const PluginFile& file);

}  // namespace lkm

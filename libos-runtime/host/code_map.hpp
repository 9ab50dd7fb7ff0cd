// SPDX-License-Identifier: GPL-2.0
//
// CodeMap: what a plugin is made of, by name: its functions, its variables, and every reference from its
// code to a variable. Two builds of a module are compared and joined by it. The module is compiled with
// -fdata-sections and linked with --emit-relocs (Kbuild/plugin), so a variable is a section of its own and
// each reference names that section.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm {

/// A function; addresses are the file's own.
struct PluginFunction {
  std::uintptr_t at = 0;
  std::size_t room = 0;  ///< bytes up to the next function
};

/// A writable section. Usually one variable; those with an attribute (__read_mostly, per-CPU…) hold several.
struct PluginVariable {
  std::uintptr_t at = 0;
  std::size_t size = 0;
  std::string shape;  ///< "name:offset:size;…" of the variables in it
};

struct CodeMap {
  /// Reads a file that parse_plugin() accepts. `shown` names it in messages. Errors: ENOEXEC when it was
  /// linked without relocations, or its tables are damaged.
  static Result<CodeMap> read(std::span<const std::byte> file, const std::string& shown);

  /// By name, local ones with their source file in front. Clones that a compiler made are not in it: nobody
  /// outside of the module has their address.
  std::map<std::string, PluginFunction> functions;
  /// By section name. Static locals have no number of the compiler's: of several with one name, the second
  /// is "name#2" and so on.
  std::map<std::string, PluginVariable> variables;
  /// 32-bit places, relative to themselves, that refer to a variable.
  struct Reference {
    std::uintptr_t at = 0;
    std::string variable;
  };
  std::vector<Reference> references;
  /// 64-bit places that hold an address of the plugin's own, as the file has them (R_X86_64_RELATIVE).
  struct Pointer {
    std::uintptr_t at = 0;
    std::uintptr_t to = 0;
  };
  std::vector<Pointer> pointers;
  /// Calls that ask for memory, of those that can be seen: the byte before the one that each returns to.
  std::vector<std::uintptr_t> allocations;
  /// Parameters, and exported symbols: what is registered when the module is loaded.
  std::vector<std::string> parameters, exports;
  /// Its sockets can be moved to another build's code (arch/lib's plugin/tcp_cc.c), whose init then runs.
  bool registers_control = false;
  /// Of a congestion control's private state, by LKM_MIGRATE() of lkm/migrate.h; 0 without.
  std::uint32_t state_version = 0;
  /// The init function without addresses: equal text, equal init.
  std::string init;

  /// The variable that the file's address lies in; nullptr for none.
  [[nodiscard]] const std::pair<const std::string, PluginVariable>* variable_at(
      std::uintptr_t address) const;

 private:
  std::map<std::uintptr_t, const std::pair<const std::string, PluginVariable>*> by_address_;
};

}  // namespace lkm

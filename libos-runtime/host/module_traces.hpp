// SPDX-License-Identifier: GPL-2.0
//
// ModuleTraces: what the kernel's back traces tell of modules. The log gets source lines from it, and who watches a
// module learns what it did, and where.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "libos-runtime/abi/libos.h"
#include "libos-runtime/host/source_line.hpp"

namespace lkm {

class PluginFile;

class ModuleTraces {
 public:
  /// Code of a module, and where in it.
  struct Place {
    std::string module;
    std::string text;  ///< "cong_avoid (mycc.c:62)"
  };
  enum class Kind {
    kFault,    ///< ends a task or the stack
    kWarning,  ///< WARN()
    kAtomic,   ///< slept, or could have, where that is forbidden
    kFailed,   ///< an allocation was made to fail
    kPanic,    ///< panic()
  };
  struct Seen {
    Kind kind = Kind::kFault;
    std::optional<Place> place;  ///< innermost code of a module
    std::string text;            ///< "divide error in cong_avoid (mycc.c:62), in softirq"
  };

  /// A plugin is mapped, or about to be unmapped. Code of one that was unmapped is still known by its name.
  void add(const PluginFile& file);
  void remove(const PluginFile& file);

  /// What to print behind a frame: "mycc.c:88", with what it was inlined into; "" for what is no module's code.
  std::string line(std::uintptr_t address);
  /// "cong_avoid (mycc.c:62)"
  std::optional<Place> place(std::uintptr_t address);

  /// Kernel log text; tells what the next trace is of.
  void log(std::string_view text);
  /// A trace; nullopt for one that is of no interest.
  std::optional<Seen> trace(const libos_trace& trace);

 private:
  struct Code {
    std::uintptr_t low = 0, high = 0;
    std::string module;
    const PluginFile* file = nullptr;  ///< nullptr: it is unmapped
    std::optional<SourceLines> lines;  ///< opened at first use
  };
  Code* find(std::uintptr_t address);
  std::vector<SourceLine> frames(std::uintptr_t address, Code& code);

  std::vector<std::unique_ptr<Code>> codes_;  ///< the newest last
  std::unordered_map<std::uintptr_t, std::string> known_;
  std::optional<Kind> announced_;
};

}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
//
// SourceLines: where in the source an address of a plugin's code is, from its debug information.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm {

/// A place in a function. Without debug information, line is 0 and the rest is what the symbol table says.
struct SourceLine {
  std::string function;  ///< "mycc_init"
  std::string file;      ///< as the compiler was given it; empty if that is not known
  int line = 0;
  std::uintptr_t offset = 0;  ///< from the function's begin, when line is 0

  /// "mycc.c:88", "mycc_init+0x12"
  [[nodiscard]] std::string place() const;
};

/// The debug information of one plugin, open. The file's bytes must outlive it.
class SourceLines {
 public:
  /// `shown` names the file in messages. Errors: ENOEXEC when it is no ELF file.
  static Result<SourceLines> open(std::span<const std::byte> file, const std::string& shown);

  SourceLines(SourceLines&&) noexcept;
  SourceLines& operator=(SourceLines&&) = delete;
  ~SourceLines();

  /// Where an instruction is that covers `address`, which is the file's own. Innermost first: functions that the
  /// compiler put into their caller, then the function itself. Of a return address, give the byte before it:
  /// the call is meant, and what follows may be of another line or function. Empty: no code of this file.
  [[nodiscard]] std::vector<SourceLine> at(std::uintptr_t address) const;

 private:
  struct Debug;
  explicit SourceLines(std::unique_ptr<Debug> debug);

  std::unique_ptr<Debug> debug_;
};

}  // namespace lkm

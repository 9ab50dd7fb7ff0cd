// SPDX-License-Identifier: GPL-2.0
//
// What loading (modules.cpp) and swapping (swap.cpp) of modules share.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "libos-runtime/host/stack_impl.hpp"

namespace lkm {

/// The kernel's rule: '-' and '_' in module names are the same, and files may have either.
std::string canonical(std::string name);
/// What the kernel said, one line per message, without what it says of every module of ours.
std::string log_for_error(const std::string& log);
/// Values of the parameters that can be read, by name.
std::map<std::string, std::string> read_parameters(Stack& stack, const std::string& module);
/// For the kernel. `parameters` must live as long as it.
libos_plugin describe(LoadedPlugin& plugin, const std::string& parameters);

inline std::vector<std::byte> copy_of(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

}  // namespace lkm

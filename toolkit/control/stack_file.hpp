// SPDX-License-Identifier: GPL-2.0
//
// Stack file: what a stack is made of, as TOML: namespaces, links, devices, captures, addresses, routes, modules and sysctls.
//
//   [[link]]
//   a = "client"
//   b = "server"
//   rate = "100mbit"
//
//   [[module]]
//   source = "./mycc"
//   parameters = "alpha=3"
//
//   [sysctl]
//   "net.ipv4.tcp_congestion_control" = "mycc"
//   [sysctl.client]                 # of a namespace
//   "net.ipv4.ip_forward" = 1
//
// Each table is one request to a stack (methods.hpp, network_methods.hpp), and its keys are those of the request.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "toolkit/control/protocol.hpp"

namespace lkm::control {

struct Command {
  std::string method;
  Json params;  ///< of "load", "what" may be a folder
  std::string where = {};  ///< "stack.toml:12:1"
};

/// In the order in which they are to be done: namespaces, links, devices, captures, addresses, routes, modules, sysctls;
/// within these as in the file. `shown` names the text in complaints; paths are relative to `folder`. Errors without a code, with
/// the place: whatever can be known without a stack.
Result<std::vector<Command>> parse_stack_file(std::string_view text, const std::string& shown,
                                              const std::filesystem::path& folder);
Result<std::vector<Command>> read_stack_file(const std::filesystem::path& file);

/// The file of these commands; those that have no place in it are left out.
std::string to_stack_file(const std::vector<Command>& commands);

}  // namespace lkm::control

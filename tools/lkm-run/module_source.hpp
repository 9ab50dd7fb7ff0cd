// SPDX-License-Identifier: GPL-2.0
//
// From what a user names, a folder or a file, to plugins that a running stack can map.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "toolkit/build/module_build.hpp"
#include "toolkit/control/client.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

/// The running stack as modules are made for it.
struct StackPlace {
  control::StateFolder folder;
  std::filesystem::path image;  ///< that it booted
  Json about;
};
Result<StackPlace> place_of(const control::StateFolder& folder, control::Client& client);

struct Plugin {
  std::string name;  ///< "mycc"
  std::string build_id;
  std::filesystem::path path;
};

enum class SourceKind { kName, kFolder, kFile };
/// A folder or file of that name if there is one, else the name of an in-tree module.
SourceKind source_kind(const std::string& operand);

/// Whether a folder may be built without Kbuild, by replaying what Kbuild did last. Then Kbuild is to
/// judge it afterwards.
enum class Speed { kKbuild, kFast };

/// A builder of `folder` for the stack's kernel, with plugins in the stack's folder.
Result<ModuleBuild> builder(const std::filesystem::path& folder, const StackPlace& place, Speed speed);

struct Made {
  std::vector<Plugin> plugins;
  /// Of a folder.
  std::optional<ModuleBuild> build;
  BuildResult built;
};
/// Builds a folder, or links (.ko) or copies (.so) a file. What the tools print goes to stderr; SIGINT
/// stops the build (ECANCELED). Errors: is_build_failure() for sources that are wrong.
Result<Made> make_plugins(const std::string& operand, const StackPlace& place, Terminal& terminal,
                          Speed speed);
std::vector<Plugin> plugins_of(const BuildResult& built);

/// Shows an error of make_plugins() and gives the exit code for it.
int explain(Terminal& terminal, const Error& error);

/// Removes plugin files of old builds that no module of the stack is mapped from; the newest few stay,
/// and those of `kept`.
void drop_old_plugins(const control::StateFolder& folder, const Json& modules,
                      const std::vector<Plugin>& kept = {});

}  // namespace lkm::cli

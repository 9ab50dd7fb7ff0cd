// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/module_source.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "toolkit/base/child.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/build/module_file.hpp"
#include "toolkit/build/plugin_store.hpp"
#include "tools/lkm-run/image.hpp"
#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace fs = std::filesystem;
namespace {

// Of each module; enough to go back by hand.
constexpr std::size_t kPluginsKept = 8;

// A plugin of a file: a .ko is linked first.
Result<Plugin> import_file(const fs::path& file, const StackPlace& place) {
  LKM_TRY(const auto scratch, TempDir::make("lkm-run-", place.folder.path()));
  LKM_TRY(const auto facts, read_module_file(file));
  fs::path so = file;
  if (file.extension() == ".ko") {
    LKM_TRY(const auto home, home_folder());
    so = scratch.path() / (facts.name + ".so");
    LKM_TRY(auto linker, Child::spawn({.argv = {home / "Kbuild" / "plugin", file, so, "--image", place.image}}));
    LKM_TRY(const ExitStatus status, linker.wait());
    if (!status.success()) return fail(ENOEXEC, "make a plugin of '{}'", file.string());
  }
  LKM_TRY(const std::string build_id, read_build_id(so));
  LKM_TRY(const auto stored, store_plugin(so, facts.name, build_id, place.folder.plugins()));
  return Plugin{facts.name, build_id, stored.path};
}

}  // namespace

Result<StackPlace> place_of(const control::StateFolder& folder, control::Client& client) {
  LKM_TRY(Json about, client.call("about"));
  const fs::path library = about.value("library", std::string());
  return StackPlace{folder, library.parent_path(), std::move(about)};
}

SourceKind source_kind(const std::string& operand) {
  std::error_code ignored;
  if (fs::is_directory(operand, ignored)) return SourceKind::kFolder;
  if (operand.find('/') != std::string::npos || operand.ends_with(".ko") || operand.ends_with(".so")) {
    return SourceKind::kFile;
  }
  return SourceKind::kName;
}

Result<ModuleBuild> builder(const fs::path& folder, const StackPlace& place, Speed speed) {
  LKM_TRY(const auto home, home_folder());
  return ModuleBuild::open({.folder = folder,
                            .kernel = place.image,
                            .work = cache_folder() / "builds",
                            .plugins = place.folder.plugins(),
                            .linker = home / "Kbuild" / "plugin",
                            .fast = speed == Speed::kFast});
}

std::vector<Plugin> plugins_of(const BuildResult& built) {
  std::vector<Plugin> plugins;
  for (const BuiltModule& module : built.modules) {
    plugins.push_back({module.name, module.build_id, module.plugin});
  }
  return plugins;
}

Result<Made> make_plugins(const std::string& operand, const StackPlace& place, Terminal& terminal,
                          Speed speed) {
  Made made;
  if (source_kind(operand) == SourceKind::kFile) {
    LKM_TRY(auto plugin, import_file(operand, place));
    made.plugins.push_back(std::move(plugin));
    return made;
  }
  LKM_TRY(auto build, builder(operand, place, speed));
  terminal.transient(fmt::format("building {}", build.folder().string()));
  LKM_TRY(const auto interrupt, Interrupt::block());
  LKM_TRY(made.built,
          build.run([&](std::string_view line) { terminal.note(line.substr(0, line.size() - 1)); },
                    interrupt.fd()));
  made.plugins = plugins_of(made.built);
  made.build = std::move(build);
  return made;
}

int explain(Terminal& terminal, const Error& error) {
  if (error.code() == std::errc::operation_canceled) {
    terminal.note("interrupted");
    return kInterrupted;
  }
  terminal.error(error);
  return is_build_failure(error) ? kBuildFailed : kFailed;
}

void drop_old_plugins(const control::StateFolder& folder, const Json& modules,
                      const std::vector<Plugin>& kept) {
  std::set<fs::path> needed;
  for (const Plugin& plugin : kept) needed.insert(plugin.path);
  for (const Json& module : modules) needed.insert(module.value("path", ""));
  // By module, then by generation: "mycc@12-<build id>.so" (toolkit/build/plugin_store.hpp).
  std::map<std::string, std::map<unsigned, fs::path>> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder.plugins(), ignored)) {
    const std::string file = entry.path().filename();
    const std::size_t at = file.find('@');
    unsigned generation = 0;
    if (at == std::string::npos) continue;
    std::from_chars(file.data() + at + 1, file.data() + file.size(), generation);
    files[file.substr(0, at)][generation] = entry.path();
  }
  for (auto& [name, builds] : files) {
    while (builds.size() > kPluginsKept) {
      const auto oldest = builds.begin();
      if (!needed.contains(oldest->second)) fs::remove(oldest->second, ignored);
      builds.erase(oldest);
    }
  }
}

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
//
// Modules of a stack: finding, mapping, loading, unloading and swapping plugins. What a module's own code
// runs in (init, exit) is a fiber of its own, so that an oops there ends that fiber and not the caller.
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/syscall.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include "libos-runtime/host/fiber.hpp"
#include "libos-runtime/host/stack_impl.hpp"
#include "toolkit/base/defer.hpp"
#include "toolkit/base/file.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;
using std::chrono::nanoseconds;

/// The kernel's rule: '-' and '_' in module names are the same, and files may have either.
std::string canonical(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name;
}

bool is_file_name(const std::string& what) {
  return what.find('/') != std::string::npos || what.ends_with(".so");
}

/// What the kernel said, one line per message, without what it says of every module of ours.
std::string log_for_error(const std::string& log) {
  std::string text;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    if (const auto end = line.find("] "); line.starts_with("[") && end != std::string::npos) {
      line.erase(0, end + 2);
    }
    if (line.find("taints kernel") != std::string::npos) continue;
    text += fmt::format("\n  kernel: {}", line);
  }
  return text;
}

std::map<std::string, std::string> read_parameters(Stack& stack, const std::string& module) {
  std::map<std::string, std::string> values;
  const std::string folder = fmt::format("/sys/module/{}/parameters", module);
  const long fd = stack.syscall(SYS_open, folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) return values;
  alignas(8) char buffer[4096];
  long n = 0;
  while ((n = stack.syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0) {
    for (long at = 0; at < n;) {
      std::uint16_t size = 0;
      std::memcpy(&size, buffer + at + 16, sizeof(size));
      const std::string name = buffer + at + 19;
      at += size;
      if (name[0] == '.') continue;
      if (auto value = stack.read_file(folder + "/" + name)) {
        while (value->ends_with('\n')) value->pop_back();
        values[name] = *value;
      }
    }
  }
  stack.syscall(SYS_close, fd);
  return values;
}

/// Names in "alpha=3 beta" as typed.
std::vector<std::pair<std::string, std::string>> split_parameters(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> items;
  std::string item;
  bool quoted = false;
  const auto flush = [&] {
    if (item.empty()) return;
    items.emplace_back(canonical(item.substr(0, item.find('='))), item);
    item.clear();
  };
  for (const char c : text) {
    if (c == '"') quoted = !quoted;
    if (c == ' ' && !quoted) {
      flush();
    } else {
      item += c;
    }
  }
  flush();
  return items;
}

/// What the new generation starts with: what the user gave to the old one or changed in it since, and then
/// what is asked for now. A default that nobody touched stays the source's, which may have a new one.
std::string carried_parameters(const LoadedPlugin& old, const std::map<std::string, std::string>& now,
                               const std::string& wanted) {
  std::map<std::string, std::string> items;
  for (const auto& [name, item] : split_parameters(old.given)) items[name] = item;
  for (const auto& [name, value] : now) {
    const auto initial = old.initial.find(name);
    const bool changed = initial == old.initial.end() || initial->second != value;
    if (!changed) continue;
    items[name] = value.find(' ') == std::string::npos ? fmt::format("{}={}", name, value)
                                                       : fmt::format("{}=\"{}\"", name, value);
  }
  for (const auto& [name, item] : split_parameters(wanted)) items[name] = item;
  std::string text;
  for (const auto& [name, item] : items) text += (text.empty() ? "" : " ") + item;
  return text;
}

libos_plugin describe(LoadedPlugin& plugin, const std::string& parameters) {
  return {.handle = &plugin,
          .load_bias = plugin.file.bias(),
          .image = plugin.file.bytes().data(),
          .image_len = plugin.file.bytes().size(),
          .args = parameters.c_str()};
}

}  // namespace

LoadedPlugin* Stack::Impl::find(const std::string& name) {
  LoadedPlugin* newest = nullptr;
  for (const auto& plugin : plugins) {
    if (plugin->file.facts().name != name || plugin->zombie) continue;
    if (newest == nullptr || plugin->generation > newest->generation) newest = plugin.get();
  }
  return newest;
}

/// The kernel has let go of these; nothing of them is on a stack, since their exit has returned.
void Stack::Impl::unmap_freed() {
  for (void* handle : runtime->take_freed_plugins()) {
    std::erase_if(plugins, [&](const auto& plugin) { return plugin.get() == handle; });
  }
}

void Stack::install_module_hooks() {
  Runtime& runtime = *impl_->runtime;
  runtime.on_console = [this](std::string_view line) {
    if (impl_->capturing > 0) impl_->captured_log += line;
  };
  runtime.on_modprobe = [this](const char* name) -> int {
    const std::string wanted = name;
    std::string module = canonical(wanted);
    if (!impl_->aliases_read) {
      impl_->aliases_read = true;
      for (const auto& folder : options().module_path) {
        std::ifstream file(folder / "modules.alias");
        for (std::string keyword, pattern, target; file >> keyword >> pattern >> target;) {
          if (keyword == "alias") impl_->aliases.emplace_back(canonical(pattern), canonical(target));
        }
      }
    }
    std::vector<std::string> candidates{module};
    for (const auto& [pattern, target] : impl_->aliases) {
      if (::fnmatch(pattern.c_str(), module.c_str(), 0) == 0) candidates.push_back(target);
    }
    int err = -ENOENT;
    for (const auto& candidate : candidates) {
      auto loaded = load(candidate);
      if (loaded || loaded.error().errno_value() == EEXIST) return 0;
      err = -loaded.error().errno_value();
    }
    return err;
  };
}

Result<ModuleInfo> Stack::load(const std::string& what, const std::string& parameters) {
  return impl_->on_fiber([&] { return load_on_fiber(what, parameters); });
}

Result<void> Stack::unload(const std::string& name) {
  return impl_->on_fiber([&] { return unload_on_fiber(name); });
}

Result<SwapReport> Stack::swap(const fs::path& plugin, const SwapOptions& options) {
  return impl_->on_fiber([&] { return swap_on_fiber(plugin, options); });
}

Result<std::vector<ModuleInfo>> Stack::modules() {
  return impl_->on_fiber([&] { return modules_on_fiber(); });
}

Result<ModuleInfo> Stack::load_on_fiber(const std::string& what, const std::string& parameters) {
  fs::path path = what;
  if (!is_file_name(what)) {
    const std::string name = canonical(what);
    if (impl_->find(name) != nullptr) {
      return fail_hint(EEXIST, fmt::format("lkm-run swap replaces '{}' in place", name),
                       "load '{}'", name);
    }
    const auto& folders = options().module_path;
    const auto found = std::ranges::find_if(
        folders, [&](const auto& folder) { return fs::exists(folder / (name + ".so")); });
    if (found == folders.end()) {
      return fail_hint(ENOENT, "lkm-run ls --available lists what can be loaded by name",
                       "no module '{}' in the kernel's own modules", name);
    }
    path = *found / (name + ".so");
  }

  LKM_TRY(const auto bytes, Mapping::file(path.string()));
  LKM_TRY(const auto facts, parse_plugin(bytes.bytes(), path.string()));
  if (impl_->find(facts.name) != nullptr) {
    return fail_hint(EEXIST, fmt::format("lkm-run swap replaces '{}' in place", facts.name),
                     "load '{}'", path.string());
  }
  for (const auto& dependency : facts.depends) {
    if (impl_->find(canonical(dependency)) != nullptr) continue;
    const fs::path beside = path.parent_path() / (canonical(dependency) + ".so");
    auto loaded = load_on_fiber(is_file_name(what) && fs::exists(beside) ? beside.string() : dependency, "");
    if (!loaded && loaded.error().errno_value() != EEXIST) {
      return Failure(std::move(loaded).error().while_doing(
          fmt::format("load '{}', which needs '{}'", path.string(), dependency)));
    }
  }

  LKM_TRY(auto file, PluginFile::open(path, release()));
  const std::string name = facts.name;
  auto owned = std::make_unique<LoadedPlugin>(std::move(file));
  LoadedPlugin& plugin = *owned;
  plugin.generation = ++impl_->generations[name];
  plugin.given = parameters;
  impl_->plugins.push_back(std::move(owned));

  int err = 0;
  ++impl_->capturing;
  impl_->captured_log.clear();
  const auto stop_capturing = defer([&] { --impl_->capturing; });
  LKM_TRY(auto fiber, spawn("insmod", [&] {
            const auto description = describe(plugin, parameters);
            err = impl_->runtime->kernel().module_load(&description);
          }));
  if (fiber.join() == FiberEnd::kOopsed) {
    plugin.zombie = true;  // still in the kernel's list: unmapping it would be the next oops
    return fail_hint(EFAULT, "lkm-run log shows the oops", "'{}': oops in its init{}", name,
                     log_for_error(impl_->captured_log));
  }
  if (err != 0) {
    const auto log = log_for_error(impl_->captured_log);
    impl_->unmap_freed();
    std::erase_if(impl_->plugins, [&](const auto& other) { return other.get() == &plugin; });
    return fail(-err, "load '{}'{}", name, log.empty() ? ": its init failed" : log);
  }
  plugin.initial = read_parameters(*this, name);

  LKM_TRY(const auto all, modules_on_fiber());
  const auto self = std::ranges::find(all, name, &ModuleInfo::name);
  if (self == all.end()) return fail(ENOENT, "load '{}': it is gone again", name);
  return *self;
}

Result<void> Stack::unload_on_fiber(const std::string& wanted) {
  const std::string name = canonical(wanted);
  long err = 0;
  LKM_TRY(auto fiber, spawn("rmmod", [&] {
            err = syscall(SYS_delete_module, name.c_str(), O_NONBLOCK);
          }));
  if (fiber.join() == FiberEnd::kOopsed) {
    if (auto* plugin = impl_->find(name)) plugin->zombie = true;
    return fail_hint(EFAULT, "lkm-run log shows the oops", "'{}': oops in its exit", name);
  }
  impl_->unmap_freed();
  if (err == 0) return {};
  if (err == -ENOENT) return fail_hint(ENOENT, "lkm-run ls shows what is loaded", "unload '{}'", name);
  std::string users;
  if (const auto all = modules_on_fiber()) {
    const auto self = std::ranges::find(*all, name, &ModuleInfo::name);
    if (self != all->end()) {
      users = fmt::format(", {} reference{}", self->refcount, self->refcount == 1 ? "" : "s");
      for (const auto& user : self->used_by) users += fmt::format(", by module {}", user);
    }
  }
  if (err == -EWOULDBLOCK || err == -EBUSY) {
    return fail_hint(EBUSY, "lkm-run swap replaces a congestion control while it is in use",
                     "unload '{}'{}", name, users);
  }
  return fail(int(-err), "unload '{}'", name);
}

Result<SwapReport> Stack::swap_on_fiber(const fs::path& path, const SwapOptions& options) {
  const auto start = host_ns();
  LKM_TRY(auto file, PluginFile::open(path, release()));
  const std::string name = file.facts().name;
  LoadedPlugin* old = impl_->find(name);
  if (old == nullptr) {
    return fail_hint(ENOENT, fmt::format("lkm-run load {}", path.string()),
                     "swap '{}': it is not loaded", name);
  }
  for (const auto& dependency : file.facts().depends) {
    if (impl_->find(canonical(dependency)) == nullptr) LKM_CHECK(load_on_fiber(dependency, ""));
  }

  const std::string parameters =
      carried_parameters(*old, read_parameters(*this, name), options.parameters);
  auto owned = std::make_unique<LoadedPlugin>(std::move(file));
  LoadedPlugin& plugin = *owned;
  plugin.generation = ++impl_->generations[name];
  plugin.given = parameters;
  impl_->plugins.push_back(std::move(owned));

  SwapReport report;
  report.module = name;
  report.from_generation = old->generation;
  report.to_generation = plugin.generation;
  report.map = nanoseconds(host_ns() - start);
  yield();  // the blackout begins after what could be done beside the running stack

  libos_swap_report kernel{};
  int err = 0;
  ++impl_->capturing;
  impl_->captured_log.clear();
  const auto stop_capturing = defer([&] { --impl_->capturing; });
  LKM_TRY(auto fiber, spawn("swap", [&] {
            const auto description = describe(plugin, parameters);
            err = impl_->runtime->kernel().module_swap(&description, 0, &kernel);
          }));
  if (fiber.join() == FiberEnd::kOopsed) {
    plugin.zombie = true;
    return fail_hint(EFAULT, "lkm-run log shows the oops",
                     "swap '{}': oops in the new init; generation {} serves on{}", name,
                     report.from_generation, log_for_error(impl_->captured_log));
  }
  if (err == -EOPNOTSUPP) {
    auto done = swap_idle(*old, plugin, parameters, report);
    impl_->unmap_freed();
    return done;
  }
  if (err != 0) {
    const auto log = log_for_error(impl_->captured_log);
    impl_->unmap_freed();
    std::erase_if(impl_->plugins, [&](const auto& other) { return other.get() == &plugin; });
    return fail(-err, "swap '{}': generation {} serves on{}", name, report.from_generation,
                log.empty() ? "; the new init failed" : log);
  }

  impl_->unmap_freed();
  plugin.initial = read_parameters(*this, name);
  report.sockets = kernel.sockets;
  report.established = kernel.established;
  report.netns_defaults = kernel.netns_defaults;
  report.zombie = kernel.zombie != 0;
  report.init = nanoseconds(kernel.init_ns);
  report.transfer = nanoseconds(kernel.transfer_ns);
  report.blackout = nanoseconds(kernel.blackout_ns);
  report.retire = nanoseconds(kernel.retire_ns);
  return report;
}

/// A kind of module that has no objects we could move: out with the idle old one, in with the new one, and
/// back with the old one when the new init fails.
Result<SwapReport> Stack::swap_idle(LoadedPlugin& old, LoadedPlugin& plugin,
                                    const std::string& parameters, SwapReport report) {
  const auto forget = [&](LoadedPlugin& which) {
    std::erase_if(impl_->plugins, [&](const auto& other) { return other.get() == &which; });
  };
  const std::string name = report.module;
  const std::string old_given = old.given;
  const fs::path old_path = old.file.path();
  const auto start = host_ns();

  plugin.zombie = true;  // not to be found by name meanwhile
  auto unloaded = unload_on_fiber(name);
  plugin.zombie = false;
  if (!unloaded) {
    forget(plugin);
    return fail_hint(EBUSY, "end what uses it, or load the new code under another name",
                     "swap '{}': in use, and of a kind that is swapped only while idle ({}); "
                     "generation {} serves on",
                     name, unloaded.error().what(), report.from_generation);
  }

  int err = 0;
  LKM_TRY(auto fiber, spawn("insmod", [&] {
            const auto description = describe(plugin, parameters);
            err = impl_->runtime->kernel().module_load(&description);
          }));
  const bool oopsed = fiber.join() == FiberEnd::kOopsed;
  if (err == 0 && !oopsed) {
    plugin.initial = read_parameters(*this, name);
    report.init = report.blackout = nanoseconds(host_ns() - start);
    return report;
  }
  const auto log = log_for_error(impl_->captured_log);
  if (oopsed) {
    plugin.zombie = true;
  } else {
    impl_->unmap_freed();
    forget(plugin);
  }
  auto back = load_on_fiber(old_path.string(), old_given);
  if (!back) {
    return Failure(std::move(back).error().while_doing(
        fmt::format("swap '{}': the new init failed, and so did the old one", name)));
  }
  return fail(oopsed ? EFAULT : -err, "swap '{}': the new init failed; the old code serves on{}", name,
              log);
}

/// /proc/modules has a line per module: name, size, references, "user,user," or "-", state, address.
Result<std::vector<ModuleInfo>> Stack::modules_on_fiber() {
  LKM_TRY(const auto text, read_file("/proc/modules"));
  std::vector<ModuleInfo> modules;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    ModuleInfo info;
    std::string references;
    std::string users;
    std::string state;
    fields >> info.name >> info.size >> references >> users >> state;
    info.refcount = std::atoi(references.c_str());
    std::istringstream list(users);
    for (std::string user; std::getline(list, user, ',');) {
      if (!user.empty() && user[0] != '-' && user[0] != '[') info.used_by.push_back(user);
    }
    info.state = state == "Live" ? "live" : state == "Loading" ? "loading" : "unloading";
    // A retired or dead module goes by "name@…".
    const auto at = info.name.find('@');
    if (at != std::string::npos) info.state = "zombie";
    const std::string base = info.name.substr(0, at);
    const LoadedPlugin* plugin = nullptr;
    if (at == std::string::npos) {
      plugin = impl_->find(base);
    } else {
      for (const auto& other : impl_->plugins) {
        if (other->file.facts().name == base && other.get() != impl_->find(base)) plugin = other.get();
      }
    }
    if (plugin != nullptr) {
      info.build_id = plugin->file.facts().build_id;
      info.path = plugin->file.path();
      info.generation = plugin->generation;
      info.size = plugin->file.mapped_size();
    }
    modules.push_back(std::move(info));
  }
  return modules;
}

}  // namespace lkm

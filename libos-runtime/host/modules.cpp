// SPDX-License-Identifier: GPL-2.0
//
// Modules of a stack: finding, mapping, loading, unloading and swapping plugins. What a module's own code
// runs in (init, exit) is a fiber of its own, so that an oops there ends that fiber and not the caller.
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/syscall.h>

#include <elf.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include "libos-runtime/host/fiber.hpp"
#include "libos-runtime/host/modules.hpp"
#include "libos-runtime/host/stack_impl.hpp"
#include "toolkit/base/defer.hpp"
#include "toolkit/base/file.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;
using std::chrono::nanoseconds;

bool is_file_name(const std::string& what) {
  return what.find('/') != std::string::npos || what.ends_with(".so");
}

}  // namespace

std::string canonical(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name;
}

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

libos_plugin describe(LoadedPlugin& plugin, const std::string& parameters) {
  return {.handle = &plugin,
          .load_bias = plugin.file.bias(),
          .image = plugin.file.bytes().data(),
          .image_len = plugin.file.bytes().size(),
          .args = parameters.c_str(),
          .generation = plugin.generation,
          .build = plugin.build};
}

bool Stack::Impl::forget(const LoadedPlugin& plugin) {
  const auto at = std::ranges::find_if(plugins, [&](const auto& other) { return other.get() == &plugin; });
  if (at == plugins.end()) return true;
  if ((*at)->zombie) return false;
  plugins.erase(at);
  return true;
}

LoadedPlugin* Stack::Impl::find(const std::string& name) {
  LoadedPlugin* newest = nullptr;
  for (const auto& plugin : plugins) {
    if (plugin->file.facts().name != name || plugin->zombie || plugin->retired) continue;
    if (newest == nullptr || plugin->generation > newest->generation) newest = plugin.get();
  }
  return newest;
}

/// The kernel has let go of these; nothing of them is on a stack, since their exit has returned. With a module
/// go all builds that it has run.
void Stack::Impl::unmap_freed() {
  for (void* handle : runtime->take_freed_plugins()) {
    std::erase_if(plugins, [&](const auto& plugin) {
      return plugin.get() == handle || (plugin->body && plugin->body->handle == handle);
    });
  }
}

void Stack::install_module_hooks() {
  Runtime& runtime = *impl_->runtime;
  runtime.ledger = impl_.get();
  runtime.on_console = [this](std::string_view line) {
    if (impl_->capturing > 0) impl_->captured_log += line;
    impl_->traces.log(line);
  };
  runtime.on_source_line = [this](std::uintptr_t address) { return impl_->traces.line(address); };
  runtime.on_back_trace = [this](const libos_trace& trace) { impl_->take_trace(trace); };
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

Result<std::vector<ModuleInfo>> Stack::modules() {
  return impl_->on_fiber([&] { return modules_on_fiber(); });
}

/// On the fiber whose allocations it is about: of those that are made under the plugin's code, that one fails. It is
/// the kernel's own fault injection (Documentation/fault-injection/fault-injection.rst).
Result<void> Stack::let_allocations_fail(const PluginFile& plugin, unsigned number) {
  for (const auto& segment : plugin.segments()) {
    if ((segment.flags & PF_X) == 0) continue;
    for (const std::string point : {"failslab", "fail_page_alloc"}) {
      const std::string folder = "/sys/kernel/debug/" + point + "/";
      const std::pair<const char*, std::string> settings[] = {
          {"require-start", fmt::format("{:#x}", segment.at)},
          {"require-end", fmt::format("{:#x}", segment.at + segment.size)},
          {"stacktrace-depth", "32"},
          {"ignore-gfp-wait", "N"},
          {"verbose", "2"},
          {"verbose_ratelimit_interval_ms", "0"}};
      for (const auto& [name, value] : settings) LKM_CHECK(write_file(folder + name, value));
      if (point == "fail_page_alloc") LKM_CHECK(write_file(folder + "min-order", "0"));
    }
  }
  return write_file("/proc/thread-self/fail-nth", fmt::format("{}", number));
}

/// On the same fiber: how many more it would have had to make. 0: the one has failed.
unsigned Stack::allocations_left() {
  const auto left = read_file("/proc/thread-self/fail-nth");
  (void)write_file("/proc/thread-self/fail-nth", "0");
  return left ? unsigned(std::atoi(left->c_str())) : 0;
}

Result<ModuleInfo> Stack::load_on_fiber(const std::string& what, const std::string& parameters,
                                        FailingAllocation* failing) {
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
  auto owned = std::make_unique<LoadedPlugin>(std::move(file), impl_->traces);
  LoadedPlugin& plugin = *owned;
  impl_->watch_code_of(plugin);
  plugin.generation = ++impl_->generations[name];
  plugin.build = ++impl_->builds;
  plugin.given = parameters;
  plugin.pristine = copy_of(plugin.file.writable());
  impl_->plugins.push_back(std::move(owned));

  int err = 0;
  ++impl_->capturing;
  impl_->captured_log.clear();
  const auto stop_capturing = defer([&] { --impl_->capturing; });
  // An oops of an init is contained, and no reason to give up what another module's probation protects.
  const bool contained = impl_->panic_on_oops && impl_->change && impl_->change->module != name;
  if (contained) LKM_CHECK(sysctl("kernel.panic_on_oops", "0"));
  const auto panic_again = defer([&] {
    if (contained && impl_->panic_on_oops) (void)sysctl("kernel.panic_on_oops", "1");
  });
  impl_->failed_at.clear();
  const auto forget_place = defer([&] { impl_->failed_at.clear(); });
  Result<void> armed;
  LKM_TRY(auto fiber, spawn("insmod", [&] {
            const auto description = describe(plugin, parameters);
            if (failing != nullptr) armed = let_allocations_fail(plugin.file, failing->number);
            if (armed) err = impl_->runtime->kernel().module_load(&description);
            if (failing != nullptr) failing->reached = allocations_left() == 0;
          }));
  const auto end = fiber.join();
  if (failing != nullptr) failing->place = impl_->failed_at;
  if (!armed) {
    std::erase_if(impl_->plugins, [&](const auto& other) { return other.get() == &plugin; });
    return Failure(std::move(armed).error().while_doing("let an allocation fail"));
  }
  if (end == FiberEnd::kOopsed) {
    plugin.zombie = true;  // still in the kernel's list: unmapping it would be the next oops
    return fail_hint(EFAULT, "lkm-run log shows the oops", "'{}': oops in its init: {}{}", name, impl_->fault,
                     log_for_error(impl_->captured_log));
  }
  if (err != 0) {
    const auto log = log_for_error(impl_->captured_log);
    impl_->unmap_freed();
    impl_->forget(plugin);
    if (failing != nullptr && failing->reached) {
      return fail(-err, "load '{}': its init failed, as it should", name);
    }
    return fail(-err, "load '{}'{}", name, log.empty() ? ": its init failed" : log);
  }
  (void)serves_on_probation(name);
  plugin.initial = read_parameters(*this, name);

  LKM_TRY(const auto all, modules_on_fiber());
  const auto self = std::ranges::find(all, name, &ModuleInfo::name);
  if (self == all.end()) return fail(ENOENT, "load '{}': it is gone again", name);
  return *self;
}

Result<void> Stack::unload_on_fiber(const std::string& wanted) {
  const std::string name = canonical(wanted);
  if (impl_->swapping.contains(name)) {
    return fail_hint(EBUSY, "wait for its end", "unload '{}': a swap of it is under way", name);
  }
  long err = 0;
  LKM_TRY(auto fiber, spawn("rmmod", [&] {
            err = syscall(SYS_delete_module, name.c_str(), O_NONBLOCK);
          }));
  if (fiber.join() == FiberEnd::kOopsed) {
    impl_->runtime->kernel().module_died(name.c_str());
    if (auto* plugin = impl_->find(name)) plugin->zombie = true;
    return fail_hint(EFAULT, "lkm-run log shows the oops", "'{}': oops in its exit: {}", name, impl_->fault);
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

std::vector<SourceLine> Stack::source_lines(std::uintptr_t address) const {
  for (const auto& plugin : impl_->plugins) {
    const auto offset = address - plugin->file.bias();
    if (offset >= plugin->file.mapped_size()) continue;
    const auto lines = SourceLines::open(plugin->file.bytes(), plugin->file.path().string());
    return lines ? lines->at(offset) : std::vector<SourceLine>();
  }
  return {};
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
    const auto left = std::ranges::find_if(
        impl_->plugins, [&](const auto& other) { return !other->why.empty() && other->kept_as == info.name; });
    if (left != impl_->plugins.end()) {
      plugin = left->get();
      info.why = plugin->why;
    } else if (at == std::string::npos) {
      plugin = impl_->find(base);
    } else {
      for (const auto& other : impl_->plugins) {
        if (other->file.facts().name == base && other->why.empty() && other.get() != impl_->find(base)) {
          plugin = other.get();
        }
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

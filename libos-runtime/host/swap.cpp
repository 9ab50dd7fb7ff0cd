// SPDX-License-Identifier: GPL-2.0
//
// Swapping a module for another build of it. In the order of preference:
//   renewed   the module goes on in place, with all that it holds (renewal.hpp): any kind of module
//   moved     the new build is loaded beside the old one, and the sockets move (arch/lib's plugin/tcp_cc.c) with
//             what of their private state has a place in the new structure: congestion controls
//   reloaded  out with the old, in with the new, while nothing uses it
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <thread>

#include "libos-runtime/host/fiber.hpp"
#include "libos-runtime/host/modules.hpp"
#include "libos-runtime/host/private_state.hpp"
#include "libos-runtime/host/stack_impl.hpp"
#include "libos-runtime/host/sweep.hpp"
#include "toolkit/base/assert.hpp"
#include "toolkit/base/defer.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;
using std::chrono::nanoseconds;

/// How long, in stack time, a swap waits for tasks that sleep in the old code, before and after it interrupts
/// them.
constexpr auto kPatience = std::chrono::milliseconds(500);
constexpr auto kPatienceAfterInterrupt = std::chrono::milliseconds(200);
/// How long a module may stay in use by sockets that a reset has ended.
constexpr auto kPatienceWithTheEnded = std::chrono::seconds(5);
constexpr int kNiceBesideTheStack = 10;
/// Of memory that is swept at a time: below 100 microseconds.
constexpr std::size_t kSweepPiece = std::size_t{512} << 10;
/// Of which the host is asked at a time what is in memory.
constexpr std::size_t kLookedUpPiece = std::size_t{64} << 20;

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

/// Runs something slow that needs no stack on a thread of its own, while other fibers run. Not in virtual time: how far
/// they came meanwhile would depend on the host, and there is nobody whom a pause could keep waiting.
void beside_the_stack(Stack& stack, const std::function<void()>& work) {
  if (stack.options().clock == Clock::kVirtual) return work();
  const UniqueFd done(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!done) return work();
  const std::jthread thread([&] {
    // The stack's own thread goes first, where both have one CPU; a tenth of it is this one's at least.
    (void)::setpriority(PRIO_PROCESS, id_t(::gettid()), kNiceBesideTheStack);
    work();
    const std::uint64_t one = 1;
    (void)!::write(done.get(), &one, sizeof(one));
  });
  while (true) {
    const auto ready = stack.wait_fd(done.get(), POLLIN);
    if (ready || ready.error().errno_value() != EINTR) return;
  }
}

/// How long the caller keeps the stack's CPU at most while this lives.
class Stretch {
 public:
  explicit Stretch(const libos_entry& kernel) : kernel_(kernel) { kernel_.stretch_begin(&measured_); }
  ~Stretch() { end(); }
  Stretch(const Stretch&) = delete;
  Stretch& operator=(const Stretch&) = delete;

  nanoseconds end() {
    if (!std::exchange(ended_, true)) kernel_.stretch_end();
    return nanoseconds(measured_.longest_ns);
  }

 private:
  const libos_entry& kernel_;
  libos_stretch measured_{};
  bool ended_ = false;
};

/// Memory for blocks that have to move. It is asked for before the last look at the blocks, for an allocation lets
/// interrupts in, and those run the module's timers.
class NewPlaces {
 public:
  explicit NewPlaces(const libos_entry& kernel) : kernel_(kernel) {}
  ~NewPlaces() {
    for (const auto& [size, place] : free_) kernel_.block_free(place);
  }
  NewPlaces(const NewPlaces&) = delete;
  NewPlaces& operator=(const NewPlaces&) = delete;

  /// Gives each block that needs one its place; false: there are not as many, and none has one.
  bool give(std::vector<Reshape::Block>& blocks) {
    auto rest = free_;
    for (auto& block : blocks) {
      if (block.to != nullptr) continue;
      const auto place = rest.find(block.form->to_bytes);
      if (place == rest.end()) return false;
      block.to = place->second;
      rest.erase(place);
    }
    free_ = std::move(rest);
    return true;
  }
  /// As many as there are blocks that need one. -ENOMEM.
  int find(const std::vector<Reshape::Block>& blocks) {
    std::map<std::size_t, std::size_t> wanted;
    for (const auto& block : blocks) ++wanted[block.form->to_bytes];
    for (const auto& [size, n] : wanted) {
      while (free_.count(size) < n) {
        auto* place = static_cast<std::byte*>(kernel_.block_alloc(size));
        if (place == nullptr) return -ENOMEM;
        free_.emplace(size, place);
      }
    }
    return 0;
  }

 private:
  const libos_entry& kernel_;
  std::multimap<std::size_t, std::byte*> free_;
};

}  // namespace

/// The module's body, read at its first renewal: most modules never see one.
Result<std::shared_ptr<ModuleBody>> Stack::Impl::body_of(Stack& stack, LoadedPlugin& plugin) {
  if (plugin.body) return plugin.body;
  Result<ReadBuild> build = fail(ENODATA, "not read");
  beside_the_stack(stack, [&] { build = read_build(plugin.file); });
  if (!build) return Failure(std::move(build).error());
  plugin.body =
      std::make_shared<ModuleBody>(make_body(plugin.file, std::move(*build), plugin.pristine));
  plugin.body->handle = &plugin;
  plugin.owns_variables = true;
  return plugin.body;
}

/// Every build of the module that is still mapped: its functions lead to the newest code.
std::vector<LoadedPlugin*> Stack::Impl::mapped_builds(const ModuleBody& body) {
  std::vector<LoadedPlugin*> mapped;
  for (const auto& plugin : plugins) {
    if (plugin->body.get() == &body) mapped.push_back(plugin.get());
  }
  return mapped;
}

/// Tries again as long as it gives -EAGAIN: a task sleeps in the module's code. Its result, -EAGAIN when somebody
/// stays there although interrupted. Who was interrupted is kept out of the module until the end.
int Stack::Impl::when_nobody_is_inside(const std::function<int(bool interrupt)>& attempt) {
  const std::uint64_t since = runtime->now();
  bool interrupt = false;
  const auto let_in = defer([&] { interrupting -= int(interrupt); });
  for (;;) {
    const int err = attempt(interrupt);
    if (err != -EAGAIN) return err;
    const nanoseconds waited(runtime->now() - since);
    if (waited > kPatience + kPatienceAfterInterrupt) return err;
    if (!interrupt && waited > kPatience) {
      interrupt = true;
      ++interrupting;
    }
    // Not by syscall(): this fiber, if it is interrupted, is not one to be kept out.
    const timespec moment{.tv_sec = 0, .tv_nsec = 1'000'000};
    const unsigned long sleep[6] = {reinterpret_cast<unsigned long>(&moment)};
    runtime->kernel().syscall(SYS_nanosleep, sleep);
  }
}

/// The kinds of a module's objects, and then the objects, as libos_entry::module_objects() tells.
int Stack::Impl::objects_of(const std::string& name, Objects& objects) const {
  objects.clear();
  const auto visit = [](void* cookie, libos_objects* kind, void* object, const char* called) noexcept {
    static_cast<Objects*>(cookie)->push_back({kind, static_cast<std::byte*>(object), called});
  };
  return runtime->kernel().module_objects(name.c_str(), visit, &objects);
}

std::vector<std::string> Stack::Impl::devices_of(const std::string& name) const {
  Objects objects;
  objects_of(name, objects);
  std::vector<std::string> names;
  for (const auto& kernel : objects) {
    if (!kernel.name.empty()) names.push_back(kernel.name);
  }
  return names;
}

/// Corrects all pointers to what has moved, in one go: nothing else may run before the last of them is right.
void Stack::Impl::relocate(Relocation& relocation) const {
  if (relocation.empty()) return;
  for (const auto memory : runtime->memory()) {
    for (const auto piece : resident(memory, memory.size())) {
      relocation.over(piece.data(), piece.data() + piece.size());
    }
  }
  for (const auto& plugin : plugins) {
    const auto variables = plugin->file.writable();
    relocation.over(variables.data(), variables.data() + variables.size());
  }
  runtime->kernel().stacks(
      [](void* cookie, void* low, void* high) {
        static_cast<Relocation*>(cookie)->over(static_cast<std::byte*>(low), static_cast<std::byte*>(high));
      },
      &relocation, 0);
}

std::vector<HeldBlock> Stack::Impl::memory_of(const std::string& name) const {
  std::vector<HeldBlock> held;
  const auto visit = [](void* cookie, const libos_held* block) noexcept {
    static_cast<std::vector<HeldBlock>*>(cookie)->push_back({.at = static_cast<std::byte*>(block->at),
                                                             .size = block->size,
                                                             .room = block->room,
                                                             .kind = block->kind,
                                                             .why = block->why,
                                                             .movable = block->movable != 0,
                                                             .build = block->build,
                                                             .place = std::uintptr_t(block->place)});
  };
  runtime->kernel().module_memory(name.c_str(), visit, &held);
  return held;
}

/// Of places in builds that are mapped.
AllocationSites Stack::Impl::sites_of(Stack& stack, const std::vector<HeldBlock>& held) const {
  struct Calls {
    const LoadedPlugin* plugin = nullptr;  // of the module that is swapped, so it stays meanwhile
    std::vector<std::uintptr_t> at;
    Result<std::map<std::uintptr_t, AllocationHints>> hints = fail(ENODATA, "not read");
  };
  std::vector<Calls> all;
  for (const auto& plugin : plugins) {
    std::set<std::uintptr_t> calls;
    for (const auto& block : held) {
      if (block.build == plugin->build) calls.insert(block.place);
    }
    if (!calls.empty()) all.push_back({.plugin = plugin.get(), .at = {calls.begin(), calls.end()}});
  }
  if (all.empty()) return {};
  beside_the_stack(stack, [&] {
    for (Calls& calls : all) {
      const PluginFile& file = calls.plugin->file;
      calls.hints = read_allocations(file.bytes(), file.path().string(), calls.at);
    }
  });
  AllocationSites sites;
  for (Calls& calls : all) {
    if (!calls.hints) continue;
    const auto build = calls.plugin->build;
    for (auto& [call, hint] : *calls.hints) {
      const auto lines = lines_of(build, call);
      sites[{build, call}] = {.hints = std::move(hint), .line = lines.empty() ? "" : lines.front().place()};
    }
  }
  return sites;
}

/// Before a build is unmapped.
void Stack::Impl::keep_sites_of(Stack& stack, const LoadedPlugin& plugin) {
  auto held = memory_of(plugin.file.facts().name);
  AllocationSites& known = plugin.body->sites;
  std::erase_if(known, [&](const auto& site) {
    return std::ranges::none_of(
        held, [&](const HeldBlock& block) { return std::pair(block.build, block.place) == site.first; });
  });
  std::erase_if(held, [&](const HeldBlock& block) { return block.build != plugin.build; });
  known.merge(sites_of(stack, held));
}

/// Error EXDEV: not in place, for the reasons that it tells, and nothing has changed.
Result<void> Stack::renew(LoadedPlugin& old, LoadedPlugin& plugin, SwapReport& report) {
  const std::string name = report.module;
  const auto start = host_ns();
  LKM_TRY(const auto body, impl_->body_of(*this, old));
  Result<ReadBuild> build = fail(ENODATA, "not read");
  beside_the_stack(*this, [&] { build = read_build(plugin.file); });
  if (!build) return Failure(std::move(build).error());

  const auto builds = impl_->mapped_builds(*body);
  for (LoadedPlugin* other : builds) LKM_CHECK(open_code(other->file, true));
  const auto close_code = defer([&] {
    for (LoadedPlugin* other : impl_->mapped_builds(*body)) (void)open_code(other->file, false);
  });
  Impl::Objects objects;
  const bool used_by_others = impl_->objects_of(name, objects) == 1;
  Renewal::Objects known;
  for (const auto& kernel : objects) {
    if (kernel.object == nullptr) known.kinds.push_back(kernel.kind);
  }
  if (!layout_differences(body->layouts, build->layouts).empty()) {
    known.held = impl_->memory_of(name);
    for (const auto call : body->code.allocations) known.held.push_back({.build = old.build, .place = call});
    known.sites = body->sites;
    known.sites.merge(impl_->sites_of(*this, known.held));
    if (auto packets = packet_structures(old.file.bytes(), old.file.path().string())) known.in_packets = std::move(*packets);
    if (auto hashed = hashed_structures(old.file.bytes(), old.file.path().string())) known.hashed = std::move(*hashed);
  }
  LKM_TRY(auto renewal, Renewal::prepare(*body, plugin.file, std::move(*build), std::move(known)));
  if (used_by_others && !renewal.reshape().structures().empty()) {
    return fail(EXDEV, "cannot go on in place\n  structures have changed, which the modules that use it may know");
  }
  std::vector<OldCode*> codes;
  for (LoadedPlugin* other : builds) {
    if (other == &old) other->code = {.functions = body->code.functions, .bias = body->bias};
    codes.push_back(&other->code);
  }
  report.check = nanoseconds(host_ns() - start);

  // The kernel's half, when nobody sleeps in the old code.
  char who[256] = "";
  NewPlaces places(impl_->runtime->kernel());
  const auto look = [&](Reshape& reshape) -> std::string {
    if (impl_->objects_of(name, objects) < 0 || !reshape.begin(objects)) {
      return "one of its objects is half made, or half gone";
    }
    return reshape.structures().empty() ? std::string() : reshape.begin_blocks(impl_->memory_of(name));
  };
  std::function<int()> switch_code = [&] {
    Reshape& reshape = renewal.reshape();
    do {
      if (const int err = places.find(reshape.blocks()); err != 0) return err;
      if (const auto problem = look(reshape); !problem.empty()) {
        fmt::format_to_n(who, sizeof(who) - 1, "{}", problem);
        return -EAGAIN;
      }
    } while (!places.give(reshape.blocks()));
    reshape.show_sizes();
    renewal.commit(codes);
    reshape.show_rooms();
    Relocation relocation = reshape.apply();
    relocation.leave_to(impl_->runtime->kernel().check_of);
    impl_->relocate(relocation);
    const libos_entry& kernel = impl_->runtime->kernel();
    for (const auto& block : reshape.blocks()) kernel.block_is(block.at, block.to, block.form->to_bytes);
    return 0;
  };
  const auto before = read_parameters(*this, name);
  const auto description = describe(plugin, old.given);
  libos_renewal request{.switch_code =
                            [](void* cookie) noexcept { return (*static_cast<std::function<int()>*>(cookie))(); },
                        .cookie = &switch_code,
                        .interrupt = 0,
                        .who = who,
                        .who_len = sizeof(who)};
  const auto waiting_since = host_ns();
  nanoseconds attempted{};  // the last of them
  const int err = impl_->when_nobody_is_inside([&](bool interrupt) {
    request.interrupt = interrupt ? 1 : 0;
    const auto attempt = host_ns();
    const int result = impl_->runtime->kernel().module_renew(&description, &request);
    attempted = nanoseconds(host_ns() - attempt);
    return result;
  });
  report.quiesce = nanoseconds(host_ns() - waiting_since) - attempted;
  if (err == -EAGAIN) {
    return fail_hint(EBUSY, "end what waits there, then save again", "'{}' is in use: {}", name, who);
  }
  if (err != 0) {
    return fail(-err, "renew '{}'{}", name, log_for_error(impl_->captured_log));
  }

  (void)serves_on_probation(name);
  // Not before: a free lets interrupts in.
  for (const auto& block : renewal.reshape().blocks()) {
    if (block.to != block.at) impl_->runtime->kernel().block_free(block.at);
  }
  renewal.finish();
  plugin.body = body;
  plugin.owns_variables = renewal.adds_variables();
  plugin.given = old.given;
  for (const auto& [parameter, value] : read_parameters(*this, name)) {
    const auto initial = old.initial.find(parameter);
    const auto was = before.find(parameter);
    const bool changed =
        initial != old.initial.end() && was != before.end() && initial->second != was->second;
    plugin.initial[parameter] = changed ? initial->second : value;
  }
  old.retired = true;
  report.method = SwapMethod::kRenewed;
  report.variables_kept = renewal.kept();
  report.state_remarks = renewal.reshape().remarks();
  report.init_changed = renewal.init_changed();
  return {};
}

/// Finds what still points into builds of the module that nothing runs any more, corrects it, and unmaps the
/// builds that nothing points into.
void Stack::retire_builds(const LoadedPlugin& current, SwapReport& report) {
  const auto start = host_ns();
  const auto body = current.body;
  std::vector<LoadedPlugin*> retired = impl_->mapped_builds(*body);
  std::erase_if(retired, [](const LoadedPlugin* build) { return !build->retired; });
  // Symbols of this module, bound into others, are among their constants.
  const bool opened = std::ranges::all_of(
      impl_->plugins, [](const auto& plugin) { return bool(open_variables(plugin->file)); });
  std::vector<Sweep::Build> builds;
  for (const LoadedPlugin* old : retired) {
    Sweep::Build build{.low = old->file.bias(), .size = old->file.mapped_size(), .replacements = {}};
    // It stays for its variables anyway.
    build.stays = old->owns_variables;
    for (const auto& [name, function] : old->code.functions) {
      const auto now = body->code.functions.find(name);
      if (now != body->code.functions.end()) {
        build.replacements[old->code.bias + function.at] = body->bias + now->second.at;
      }
    }
    builds.push_back(std::move(build));
  }
  // What runs already goes first.
  const long nice = 20 - syscall(SYS_getpriority, PRIO_PROCESS, 0);
  syscall(SYS_setpriority, PRIO_PROCESS, 0, std::max<long>(nice, kNiceBesideTheStack));
  const auto as_before = defer([&] { syscall(SYS_setpriority, PRIO_PROCESS, 0, nice); });
  Sweep sweep(std::move(builds));
  for (int round = 0; opened && round < 3 && (round == 0 || !sweep.settled()); ++round) {
    sweep.begin();
    sweep_memory(sweep);
    sweep.finish();
  }
  for (std::size_t i = 0; i < retired.size(); ++i) {
    if (!sweep.may_go(i)) continue;
    impl_->keep_lines_of(*retired[i]);
    impl_->keep_sites_of(*this, *retired[i]);
    std::erase_if(impl_->plugins, [&](const auto& plugin) { return plugin.get() == retired[i]; });
  }
  report.builds_mapped = impl_->mapped_builds(*body).size();
  report.retire = nanoseconds(host_ns() - start);
}

void Stack::sweep_memory(Sweep& sweep) {
  std::size_t since_yield = 0;
  const auto over = [&](std::span<std::byte> memory) {
    sweep.over(memory.data(), memory.data() + memory.size());
    since_yield += memory.size();
    if (since_yield < kSweepPiece) return;
    since_yield = 0;
    yield();
  };
  for (auto memory : impl_->runtime->memory()) {
    while (!memory.empty()) {
      const auto part = memory.first(std::min(memory.size(), kLookedUpPiece));
      for (const auto piece : resident(part, kSweepPiece)) over(piece);
      memory = memory.subspan(part.size());
    }
  }
  for (const auto& plugin : impl_->plugins) {  // at once: meanwhile others come and go
    // A build that was retired and has none of the module's variables has copies that nothing uses.
    if (plugin->retired && !plugin->owns_variables) continue;
    const auto variables = plugin->file.writable();
    sweep.over(variables.data(), variables.data() + variables.size());
  }
  yield();
  impl_->runtime->kernel().stacks(
      [](void* cookie, void* low, void* high) {
        static_cast<Sweep*>(cookie)->over(static_cast<std::byte*>(low), static_cast<std::byte*>(high));
      },
      &sweep, 1);
}

Result<SwapReport> Stack::swap_on_fiber(const fs::path& path, const SwapOptions& options) {
  Stretch stretch(impl_->runtime->kernel());
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

  if (!impl_->swapping.insert(name).second) {
    return fail_hint(EBUSY, "wait for its end", "swap '{}': another swap of it is under way", name);
  }
  const auto swapped = defer([&] { impl_->swapping.erase(name); });

  auto owned = std::make_unique<LoadedPlugin>(std::move(file), impl_->traces);
  LoadedPlugin& plugin = *owned;
  impl_->watch_code_of(plugin);
  plugin.generation = impl_->generations[name] + 1;
  plugin.build = ++impl_->builds;
  plugin.pristine = copy_of(plugin.file.writable());
  SwapReport report;
  report.module = name;
  report.from_generation = old->generation;
  report.to_generation = plugin.generation;
  report.map = nanoseconds(host_ns() - start);
  yield();  // each piece of the work is a pause of its own

  ++impl_->capturing;
  impl_->captured_log.clear();
  const auto stop_capturing = defer([&] { --impl_->capturing; });
  if (options.state == StatePolicy::kKeep && options.parameters.empty()) {
    if (auto renewed = renew(*old, plugin, report); renewed) {
      ++impl_->generations[name];
      impl_->plugins.push_back(std::move(owned));
      retire_builds(plugin, report);
      report.blackout = stretch.end();
      return report;
    } else if (const int code = renewed.error().errno_value();
               code != EXDEV && code != ENODATA && code != ENOEXEC) {
      return Failure(std::move(renewed).error().while_doing(
          fmt::format("swap '{}': generation {} serves on", name, report.from_generation)));
    } else {
      report.not_in_place = renewed.error().what();
    }
  }

  const std::string parameters =
      carried_parameters(*old, read_parameters(*this, name), options.parameters);
  ++impl_->generations[name];
  plugin.given = parameters;
  impl_->plugins.push_back(std::move(owned));
  std::optional<PrivateState> kept;
  if (options.state == StatePolicy::kKeep) {
    Result<PrivateState> state = fail(ENODATA, "not read");
    beside_the_stack(*this, [&] { state = private_state(old->file, plugin.file); });
    if (state) {
      kept = std::move(*state);
    } else {
      report.state_remarks = {fmt::format("private state is initialised: {}", state.error().what())};
    }
  }
  libos_keep keep{};
  if (kept) keep = {.members = kept->members.data(), .n = std::uint32_t(kept->members.size())};
  std::function<void()> serves = [&] { (void)serves_on_probation(name); };
  libos_swap_report kernel{};
  kernel.serves = [](void* cookie) noexcept { (*static_cast<std::function<void()>*>(cookie))(); };
  kernel.cookie = &serves;
  int err = 0;
  nanoseconds kernels_stretch{};
  LKM_TRY(auto fiber, spawn("swap", [&] {
            const auto description = describe(plugin, parameters);
            Stretch in_the_kernel(impl_->runtime->kernel());
            err = impl_->runtime->kernel().module_swap(&description, options.state == StatePolicy::kKeep ? &keep : nullptr,
                                                       options.state == StatePolicy::kDrain ? 1 : 0, &kernel);
            kernels_stretch = in_the_kernel.end();
          }));
  if (fiber.join() == FiberEnd::kOopsed) {
    plugin.zombie = true;
    return fail_hint(EFAULT, "lkm-run log shows the oops",
                     "swap '{}': oops in the new init: {}; generation {} serves on{}", name, impl_->fault,
                     report.from_generation, log_for_error(impl_->captured_log));
  }
  if (err == -EOPNOTSUPP) {
    auto ended = options.state == StatePolicy::kDrain ? refuse_to_drain(name)
                 : options.state == StatePolicy::kReset ? reset_sockets(name, report)
                                                        : refuse_to_delete_devices(name, report);
    if (!ended) {
      impl_->forget(plugin);
      --impl_->generations[name];
      return Failure(std::move(ended).error().while_doing(
          fmt::format("swap '{}': generation {} serves on", name, report.from_generation)));
    }
    auto done = swap_idle(*old, plugin, parameters, report);
    impl_->unmap_freed();
    return done;
  }
  if (err != 0) {
    const auto log = log_for_error(impl_->captured_log);
    impl_->unmap_freed();
    if (impl_->forget(plugin)) --impl_->generations[name];
    return fail(-err, "swap '{}': generation {} serves on{}{}{}", name, report.from_generation,
                log.empty() ? "; the new init failed" : log,
                report.not_in_place.empty() ? "" : "\n  it ", report.not_in_place);
  }

  impl_->unmap_freed();
  plugin.initial = read_parameters(*this, name);
  report.sockets = kernel.sockets;
  report.established = kernel.established;
  report.netns_defaults = kernel.netns_defaults;
  report.zombie = kernel.zombie != 0;
  report.states_kept = kernel.kept;
  if (kernel.migrated + kernel.unmigrated != 0) {
    report.states_kept = kernel.migrated;
    report.state_remarks = {fmt::format("private state is taken over by the module's migrate hook, of {} of {} sockets{}",
                                        kernel.migrated, kernel.migrated + kernel.unmigrated,
                                        kernel.unmigrated == 0 ? "" : fmt::format("; of the others it is initialised: {}", std::strerror(-kernel.migrate_error)))};
  } else if (kernel.releases != 0) {
    report.state_remarks = {"the control has a release(): its private state may own memory, and is initialised"};
  } else if (kept) {
    report.state_remarks = std::move(kept->remarks);
  }
  report.init = nanoseconds(kernel.init_ns);
  report.transfer = nanoseconds(kernel.transfer_ns);
  report.blackout = std::max(stretch.end(), kernels_stretch);
  report.retire = nanoseconds(kernel.retire_ns);
  if (report.zombie && options.state == StatePolicy::kDrain) {
    LKM_CHECK(spawn("drain", [this, retired = fmt::format("{}@{}", name, report.from_generation)] {
      unload_when_idle(retired);
    }));
  }
  return report;
}

Result<void> Stack::refuse_to_drain(const std::string& name) {
  return fail_hint(EOPNOTSUPP, "with the state policy reset its sockets end, and the new code takes over",
                   "drain '{}': only congestion controls can serve in two generations", name);
}

/// Devices hold no reference on their module: with its exit they would be gone.
Result<void> Stack::refuse_to_delete_devices(const std::string& name, const SwapReport& report) {
  const auto devices = impl_->devices_of(name);
  if (devices.empty()) return {};
  return fail_hint(EBUSY, "with the state policy reset they are deleted, and the module is loaded anew",
                   "'{}' has devices ({}), which would be deleted{}{}", name, fmt::join(devices, ", "),
                   report.not_in_place.empty() ? "" : "\n  it ", report.not_in_place);
}

/// Ends the sockets of the module; the report names them, and the devices that will go with it.
Result<void> Stack::reset_sockets(const std::string& name, SwapReport& report) {
  char who[256] = "";
  libos_reset request{.interrupt = 0,
                      .undo = 0,
                      .who = who,
                      .who_len = sizeof(who),
                      .ended =
                          [](void* cookie, const char* what) noexcept {
                            static_cast<SwapReport*>(cookie)->reset.emplace_back(what);
                          },
                      .cookie = &report};
  const int err = impl_->when_nobody_is_inside([&](bool interrupt) {
    request.interrupt = interrupt ? 1 : 0;
    return impl_->runtime->kernel().module_reset(name.c_str(), &request);
  });
  // One of several qdiscs could not be ended: the others are made anew in the code that serves on.
  if (err != 0) undo_reset(name);
  if (err == -EAGAIN) {
    return fail_hint(EBUSY, "end what waits there, then save again", "'{}' is in use: {}", name, who);
  }
  if (err == -EBUSY) {
    return fail_hint(EBUSY, "sysctl net.core.default_qdisc names what is there by default", "reset '{}': {}", name, who);
  }
  if (err != 0) return fail(-err, "end the sockets and the qdiscs of '{}'", name);
  for (const auto& device : impl_->devices_of(name)) report.reset.push_back("device " + device);
  return {};
}

void Stack::undo_reset(const std::string& name) {
  libos_reset undo{};
  undo.undo = 1;
  impl_->runtime->kernel().module_reset(name.c_str(), &undo);
}

/// On a fiber of its own: takes a drained generation out when its last connection is gone.
void Stack::unload_when_idle(const std::string& retired) {
  while (syscall(SYS_delete_module, retired.c_str(), O_NONBLOCK) == -EWOULDBLOCK) {
    sleep_for(std::chrono::milliseconds(100));
  }
  impl_->unmap_freed();
}

/// A kind of module that has no objects we could move: out with the idle old one, in with the new one, and
/// back with the old one when the new init fails.
Result<SwapReport> Stack::swap_idle(LoadedPlugin& old, LoadedPlugin& plugin,
                                    const std::string& parameters, SwapReport report) {
  const auto forget = [&](const LoadedPlugin& which) {
    if (impl_->forget(which)) --impl_->generations[report.module];
  };
  const std::string name = report.module;
  const std::string old_given = old.given;
  const fs::path old_path = old.file.path();
  const auto start = host_ns();

  plugin.zombie = true;  // not to be found by name meanwhile
  impl_->swapping.erase(name);
  auto unloaded = unload_on_fiber(name);
  // The last references of sockets that were ended go with RCU, or when their peers have answered.
  for (const StackTime since = Stack::now();
       !unloaded && !report.reset.empty() && Stack::now() - since < kPatienceWithTheEnded;
       unloaded = unload_on_fiber(name)) {
    sleep_for(std::chrono::milliseconds(10));
  }
  impl_->swapping.insert(name);
  plugin.zombie = false;
  if (!unloaded) {
    forget(plugin);
    std::string ended;
    for (const auto& what : report.reset) ended += "\n  ended before that: " + what;
    if (!report.reset.empty()) undo_reset(name);
    // The kernel asks for the module of a qdisc by that name.
    const auto by_default = sysctl("net.core.default_qdisc");
    if (by_default && name == "sch_" + *by_default) ended += "\n  net.core.default_qdisc names it";
    return fail_hint(EBUSY, "end what uses it, or load the new code under another name",
                     "swap '{}': in use, and of a kind that is swapped only while idle ({}); "
                     "generation {} serves on{}{}{}",
                     name, unloaded.error().what(), report.from_generation,
                     report.not_in_place.empty() ? "" : "\n  it ", report.not_in_place, ended);
  }

  int err = 0;
  LKM_TRY(auto fiber, spawn("insmod", [&] {
            const auto description = describe(plugin, parameters);
            err = impl_->runtime->kernel().module_load(&description);
          }));
  const bool oopsed = fiber.join() == FiberEnd::kOopsed;
  if (err == 0 && !oopsed) {
    (void)serves_on_probation(name);
    plugin.initial = read_parameters(*this, name);
    report.init = report.blackout = nanoseconds(host_ns() - start);
    report.method = SwapMethod::kReloaded;
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

}  // namespace lkm

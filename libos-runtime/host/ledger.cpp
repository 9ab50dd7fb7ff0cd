// SPDX-License-Identifier: GPL-2.0
//
// The host's half of the ledger (arch/lib's plugin/ledger.h): source lines, and the search for pointers to memory that
// a module has not freed.
#include <algorithm>
#include <cstring>
#include <set>

#include "libos-runtime/host/modules.hpp"
#include "libos-runtime/host/pointer_search.hpp"
#include "libos-runtime/host/stack_impl.hpp"
#include "libos-runtime/host/sweep.hpp"

namespace lkm {
namespace {

constexpr std::size_t kPiece = std::size_t{4} << 20;

std::uintptr_t word_at(const std::byte* at) {
  std::uintptr_t word = 0;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

/// Without the functions of kernel headers that the compiler has put into the module's: who called kmalloc() is asked.
std::vector<SourceLine> own(std::vector<SourceLine> lines) {
  const auto is_own = [](const SourceLine& line) { return line.file.find("/include/") == std::string::npos; };
  const auto first = std::ranges::find_if(lines, is_own);
  if (first != lines.end()) lines.erase(lines.begin(), first);
  return lines;
}

}  // namespace

Result<Ledger> Stack::ledger(const std::string& name) {
  return impl_->on_fiber([&] { return ledger_on_fiber(name); });
}

/// Without source lines, which cost a look into debug information.
Result<Ledger> Stack::Impl::read_ledger(const std::string& name) const {
  Ledger ledger;
  const auto visit = [](void* cookie, const libos_ledger_entry* from) noexcept {
    static_cast<Ledger*>(cookie)->entries.push_back({.kind = from->kind,
                                                     .verb = from->verb,
                                                     .function = from->function,
                                                     .what = from->what,
                                                     .count = from->count,
                                                     .bytes = from->bytes,
                                                     .place = {},
                                                     .build = from->build,
                                                     .at = std::uintptr_t(from->at)});
  };
  const int result = runtime->kernel().module_ledger(name.c_str(), visit, &ledger);
  if (result < 0) return fail_hint(ENOENT, "lkm-run ls shows what is loaded", "the ledger of '{}'", name);
  ledger.complete = result == 0;
  return ledger;
}

Result<Ledger> Stack::ledger_on_fiber(const std::string& name) {
  LKM_TRY(Ledger ledger, impl_->read_ledger(canonical(name)));
  for (auto& entry : ledger.entries) entry.place = impl_->lines_of(entry.build, entry.at);
  return ledger;
}

std::vector<SourceLine> Stack::Impl::lines_of(std::uint32_t build, std::uintptr_t at) const {
  for (const auto& plugin : plugins) {
    if (plugin->build != build) continue;
    const auto lines = SourceLines::open(plugin->file.bytes(), plugin->file.path().string());
    return lines ? own(lines->at(at)) : std::vector<SourceLine>();
  }
  const auto old = old_lines.find({build, at});
  return old == old_lines.end() ? std::vector<SourceLine>() : old->second.lines;
}

void Stack::Impl::keep_lines_of(const LoadedPlugin& plugin) {
  const std::string& name = plugin.file.facts().name;
  const auto ledger = read_ledger(name);
  if (!ledger) return;
  std::map<std::pair<std::uint32_t, std::uintptr_t>, OldLines> kept;
  for (const auto& old : old_lines) {
    const bool asked = std::ranges::any_of(
        ledger->entries, [&](const auto& entry) { return std::pair(entry.build, entry.at) == old.first; });
    if (old.second.module != name || asked) kept.insert(old);
  }
  for (const auto& entry : ledger->entries) {
    if (entry.build == plugin.build) kept[{entry.build, entry.at}] = {name, lines_of(entry.build, entry.at)};
  }
  old_lines = std::move(kept);
}

/// Without debug information the kernel's own symbol is all there is to tell.
std::string Stack::Impl::source_line(std::uint32_t build, std::uint64_t at) {
  const auto lines = lines_of(build, std::uintptr_t(at));
  return lines.empty() || lines.front().line == 0 ? std::string() : lines.front().place();
}

void Stack::Impl::plugin_kept(void* plugin, const char* name, const char* why) {
  auto* kept = static_cast<LoadedPlugin*>(plugin);
  for (const auto& other : plugins) {
    // Its older builds have its variables, and code that something may still point to.
    if (other.get() != kept && !(other->body && other->body->handle == kept)) continue;
    other->zombie = true;
    if (other->retired) continue;
    other->kept_as = name;
    other->why = why;
  }
}

void Stack::Impl::look_for_pointers(void* plugin, std::span<libos_block> blocks) {
  std::vector<PointerSearch::Block> wanted;
  wanted.reserve(blocks.size());
  for (const auto& block : blocks) wanted.push_back({.at = ~std::uintptr_t(block.not_at), .size = block.size});
  PointerSearch search(std::move(wanted), runtime->kernel().check_of);

  std::set<const LoadedPlugin*> its_own;
  for (const auto& other : plugins) {
    if (other.get() == plugin || (other->body && other->body->handle == plugin)) its_own.insert(other.get());
  }
  for (const auto memory : runtime->memory()) {
    for (const auto piece : resident(memory, kPiece)) search.over(piece.data(), piece.data() + piece.size());
  }
  for (const auto& other : plugins) {
    const auto variables = other->file.writable();
    if (!its_own.contains(other.get())) search.over(variables.data(), variables.data() + variables.size());
  }
  runtime->kernel().stacks(
      [](void* cookie, void* low, void* high) {
        static_cast<PointerSearch*>(cookie)->over(static_cast<std::byte*>(low), static_cast<std::byte*>(high));
      },
      &search, 0);

  const auto points_into_the_module = [&](std::uintptr_t word) {
    return std::ranges::any_of(its_own, [&](const LoadedPlugin* build) {
      return word - build->file.bias() < build->file.mapped_size();
    });
  };
  const auto& found = search.finish();
  for (auto& block : blocks) {
    const auto at = ~std::uintptr_t(block.not_at);
    const auto same = std::ranges::lower_bound(found, at, {}, &PointerSearch::Block::at);
    block.pointers = same->pointed_to ? 1 : 0;
    const auto* bytes = reinterpret_cast<const std::byte*>(at);
    for (std::size_t i = 0; i + sizeof(std::uintptr_t) <= block.size && block.calls == 0; i += sizeof(std::uintptr_t)) {
      block.calls = points_into_the_module(word_at(bytes + i)) ? 1 : 0;
    }
  }
}

}  // namespace lkm

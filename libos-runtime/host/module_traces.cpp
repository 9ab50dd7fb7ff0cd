// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/module_traces.hpp"

#include <algorithm>
#include <array>
#include <ranges>
#include <utility>

#include "libos-runtime/host/plugin_file.hpp"
#include "toolkit/base/result.hpp"

namespace lkm {
namespace {

using Kind = ModuleTraces::Kind;

/// How the kernel begins what it then prints a trace of.
struct Announcement {
  std::string_view text;
  Kind kind;
};
constexpr std::array kAnnouncements = {
    Announcement{"WARNING: CPU: ", Kind::kWarning},                                    // kernel/panic.c
    Announcement{"BUG: scheduling while atomic", Kind::kAtomic},                       // kernel/sched/core.c
    Announcement{"BUG: sleeping function called from invalid context", Kind::kAtomic},  // the same
    Announcement{"Kernel panic - not syncing: ", Kind::kPanic},                         // kernel/panic.c
    Announcement{"FAULT_INJECTION: forcing a failure", Kind::kFailed},                 // lib/fault-inject.c
};

constexpr const char* kWhat[] = {"a fault", "a warning", "it slept where that is forbidden",
                                 "an allocation was made to fail", "a panic"};
/// Unmapped code whose names are kept.
constexpr std::size_t kUnmappedKept = 64;

std::string named(const SourceLine& line) {
  return line.line == 0 ? line.place() : fmt::format("{} ({})", line.function, line.place());
}

}  // namespace

void ModuleTraces::add(const PluginFile& file) {
  auto code = std::make_unique<Code>();
  code->low = file.bias();
  code->high = file.bias() + file.mapped_size();
  code->module = file.facts().name;
  code->file = &file;
  known_.clear();
  std::erase_if(codes_, [&](const auto& other) {
    return other->file == nullptr && other->low < code->high && code->low < other->high;
  });
  codes_.push_back(std::move(code));
}

void ModuleTraces::remove(const PluginFile& file) {
  known_.clear();
  for (auto& code : codes_) {
    if (code->file != &file) continue;
    code->file = nullptr;
    code->lines.reset();
  }
  const auto unmapped = [](const auto& code) { return code->file == nullptr; };
  if (std::size_t(std::ranges::count_if(codes_, unmapped)) > kUnmappedKept) {
    codes_.erase(std::ranges::find_if(codes_, unmapped));
  }
}

ModuleTraces::Code* ModuleTraces::find(std::uintptr_t address) {
  const auto at = std::ranges::find_if(
      codes_, [&](const auto& code) { return address >= code->low && address < code->high; });
  return at == codes_.end() ? nullptr : at->get();
}

std::vector<SourceLine> ModuleTraces::frames(std::uintptr_t address, Code& code) {
  if (code.file == nullptr) return {};
  if (!code.lines) {
    auto lines = SourceLines::open(code.file->bytes(), code.file->path().string());
    if (!lines) return {};
    code.lines.emplace(std::move(*lines));
  }
  return code.lines->at(address - code.low);
}

std::string ModuleTraces::line(std::uintptr_t address) {
  Code* code = find(address);
  if (code == nullptr) return {};
  const auto [at, is_new] = known_.try_emplace(address);
  if (!is_new) return at->second;
  std::string& text = at->second;
  if (code->file == nullptr) return text = fmt::format("code of '{}', which is unmapped", code->module);
  for (const SourceLine& frame : frames(address, *code)) {
    if (frame.line == 0) continue;  // the kernel prints the function and the offset itself
    text += text.empty() ? frame.place() : fmt::format(", inlined into {} at {}", frame.function, frame.place());
  }
  return text;
}

std::optional<ModuleTraces::Place> ModuleTraces::place(std::uintptr_t address) {
  Code* code = find(address);
  if (code == nullptr) return std::nullopt;
  if (code->file == nullptr) return Place{code->module, fmt::format("code of '{}', which is unmapped", code->module)};
  const auto inlined = frames(address, *code);
  if (inlined.empty()) return Place{code->module, code->module};
  // What a header's function does is done by who uses it.
  const auto own = std::ranges::find_if(inlined, [](const SourceLine& line) { return line.file.ends_with(".c"); });
  return Place{code->module, named(own == inlined.end() ? inlined.front() : *own)};
}

void ModuleTraces::log(std::string_view text) {
  for (const auto& announcement : kAnnouncements) {
    if (text.find(announcement.text) != std::string_view::npos) announced_ = announcement.kind;
  }
}

std::optional<ModuleTraces::Seen> ModuleTraces::trace(const libos_trace& trace) {
  const auto announced = std::exchange(announced_, std::nullopt);
  if (trace.what == nullptr && !announced) return std::nullopt;
  Seen seen{.kind = trace.what != nullptr ? Kind::kFault : *announced, .place = {}, .text = {}};
  bool innermost = false;
  for (std::uint32_t i = 0; i < trace.n && !seen.place; ++i) {
    seen.place = place(trace.frames[i]);
    innermost = i == 0;
  }
  seen.text = trace.what != nullptr ? trace.what : kWhat[int(seen.kind)];
  if (seen.place) {
    // A function of the kernel may have been given what made it fail.
    const bool itself = innermost || trace.what == nullptr;
    seen.text += fmt::format(" in {}{}", itself ? "" : "a function that was called by ", seen.place->text);
  }
  seen.text += fmt::format(", in {}", trace.context);
  return seen;
}

}  // namespace lkm

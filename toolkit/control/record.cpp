// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/record.hpp"

#include <algorithm>

#include "toolkit/base/file.hpp"

namespace lkm::control {
namespace {

namespace fs = std::filesystem;

/// Whoever swaps may remove the file of the old code. Its path when there is no room for a copy.
std::string kept_copy(const fs::path& folder, const std::string& name, const std::string& path) {
  const fs::path copy = folder / (name + ".so");
  std::error_code error;
  fs::create_directory(folder, error);
  if (!error) fs::copy_file(path, copy, fs::copy_options::overwrite_existing, error);
  return error ? path : copy.string();
}

std::string text(const Json& object, const char* name) { return object.value(name, std::string()); }

/// Of a load: the folder, or the name of one of the kernel's tree; "" for a file.
std::string source_of(const Json& params) {
  const std::string what = text(params, "what");
  return what.find('/') == std::string::npos ? what : text(params, "source");
}

}  // namespace

Result<Record> Record::read(const std::filesystem::path& file) {
  LKM_TRY(const std::string bytes, read_file(file));
  const Json json = Json::parse(bytes, nullptr, false);
  if (!json.is_object()) return fail(EBADMSG, "'{}' is no record of a stack", file.string());
  Record record(file);
  try {
    for (const Json& from : json.at("commands")) {
      Entry entry{.command = {text(from, "method"), from.at("params")}, .key = text(from, "key")};
      if (const auto module = from.find("module"); module != from.end()) {
        entry.is_module = true;
        entry.now = {text(*module, "path"), text(*module, "parameters"), text(*module, "shown"), text(*module, "source")};
        entry.before = {text(*module, "path_before"), text(*module, "parameters_before"),
                        text(*module, "shown_before")};
        entry.changed_ns = module->value("changed_ns", std::uint64_t{0});
      }
      record.entries_.push_back(std::move(entry));
    }
    for (const Json& flow : json.at("flows")) record.flows_.insert(flow.get<unsigned>());
    record.why_ = text(json, "why");
    record.log_ = text(json, "log");
    record.of_one_under_way_ = json.value("of_one_under_way", false);
    record.died_ns_ = json.value("died_ns", std::uint64_t{0});
    record.again_ns_ = json.value("again_ns", std::uint64_t{0});
  } catch (const Json::exception& error) {
    return fail(EBADMSG, "'{}': {}", file.string(), error.what());
  }
  return record;
}

void Record::save() const {
  Json commands = Json::array();
  for (const Entry& entry : entries_) {
    Json json{{"method", entry.command.method}, {"params", entry.command.params}, {"key", entry.key}};
    if (entry.is_module) {
      json["module"] = {{"path", entry.now.path},
                        {"parameters", entry.now.parameters},
                        {"shown", entry.now.shown},
                        {"source", entry.now.source},
                        {"path_before", entry.before.path},
                        {"parameters_before", entry.before.parameters},
                        {"shown_before", entry.before.shown},
                        {"changed_ns", entry.changed_ns}};
    }
    commands.push_back(std::move(json));
  }
  const Json json{{"commands", std::move(commands)},
                  {"flows", flows_},
                  {"why", why_},
                  {"log", log_},
                  {"died_ns", died_ns_},
                  {"of_one_under_way", of_one_under_way_},
                  {"again_ns", again_ns_}};
  // The kernel's log may hold any bytes. A record that cannot be written is no reason to fail a request.
  (void)replace_file(file_, json.dump(-1, ' ', false, Json::error_handler_t::replace), 0600);
}

void Record::put(Entry entry) {
  const auto same = std::ranges::find(entries_, entry.key, &Entry::key);
  if (same != entries_.end()) {
    *same = std::move(entry);
  } else {
    entries_.push_back(std::move(entry));
  }
}

void Record::drop(const std::string& key) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.key == key; });
}

void Record::note(const std::string& method, const Json& params, const Json& result, std::uint64_t now_ns) {
  const std::string name = text(params, "name");
  if (method == "netns.add") {
    put({{method, params}, "netns " + name});
  } else if (method == "netns.del") {
    drop("netns " + name);
    std::erase_if(entries_, [&](const Entry& entry) { return text(entry.command.params, "netns") == name; });
  } else if (method == "link.add") {
    put({{method, params}, fmt::format("link {}", result.value("id", 0u))});
  } else if (method == "link.del") {
    drop(fmt::format("link {}", params.value("id", 0u)));
  } else if (method == "device.add") {
    put({{method, params}, "device " + name});
  } else if (method == "device.del") {
    drop("device " + name);
  } else if (method == "capture.start") {
    put({{method, params}, "capture " + text(params, "file")});
  } else if (method == "capture.stop") {
    drop("capture " + text(params, "file"));
  } else if (method == "address.add") {
    put({{method, params}, fmt::format("address {} {} {}", text(params, "netns"), text(params, "device"), text(params, "address"))});
  } else if (method == "route.add") {
    put({{method, params}, fmt::format("route {} {}", text(params, "netns"), text(params, "to"))});
  } else if (method == "sysctl") {
    if (!params.contains("value")) return;
    put({{method, params}, fmt::format("sysctl {} {}", text(params, "netns"), name)});
  } else if (method == "load") {
    const auto module = result.find("module");
    if (module == result.end()) return;
    put({.command = {method, Json::object()},
         .key = "module " + text(*module, "name"),
         .now = {text(*module, "path"), text(params, "parameters"),
                 fmt::format("{}@{}", text(*module, "name"), module->value("generation", 0u)), source_of(params)},
         .before = {},
         .changed_ns = now_ns,
         .is_module = true});
  } else if (method == "unload") {
    drop("module " + name);
  } else if (method == "swap") {
    swap(params, result, now_ns);
  } else if (method == "flow.start") {
    flows_.insert(result.value("id", 0u));
  } else if (method == "flow.stop" || method == "flow.wait") {
    flows_.erase(params.value("id", 0u));
  } else {
    return;
  }
  save();
}

/// The new code takes the old one's place, also in the order: what came later may need it.
void Record::swap(const Json& params, const Json& result, std::uint64_t now_ns) {
  const std::string name = text(result, "module");
  const auto entry = std::ranges::find(entries_, "module " + name, &Entry::key);
  if (entry == entries_.end()) return;  // a dependency: it comes back with what needs it
  // One that has not proved itself is not gone back to, and keeps its predecessor.
  entry->before = entry->now;
  entry->before.path = kept_copy(file_.parent_path() / "before", name, entry->now.path);
  const std::string more = text(params, "parameters");
  entry->now.path = text(params, "plugin");
  if (!more.empty()) entry->now.parameters += (entry->now.parameters.empty() ? "" : " ") + more;
  entry->now.shown = fmt::format("{}@{}", name, result.value("to_generation", 0u));
  entry->changed_ns = now_ns;
}

namespace {

bool changes_a_module(const std::string& method) { return method == "load" || method == "swap" || method == "unload"; }

}  // namespace

void Record::begin(const std::string& method) {
  if (!changes_a_module(method)) return;
  ++under_way_;
  again_ns_ = 0;  // it was not in vain: what dies from now on may die of this
}
void Record::end(const std::string& method) { under_way_ -= changes_a_module(method) ? 1 : 0; }

void Record::note_death(const std::string& why, const std::string& log, std::uint64_t now_ns) {
  why_ = why;
  log_ = log;
  died_ns_ = now_ns;
  of_one_under_way_ = under_way_ > 0;
  save();
}

void Record::start_again(std::uint64_t now_ns) {
  again_ns_ = now_ns;
  why_.clear();
  log_.clear();
  flows_.clear();
  save();
}

bool Record::in_vain(std::uint64_t now_ns, std::chrono::milliseconds soon) const {
  return again_ns_ != 0 && std::chrono::nanoseconds(now_ns - again_ns_) < soon;
}

bool Record::young(const Entry& entry, std::chrono::milliseconds probation) const {
  return !of_one_under_way_ && entry.is_module && died_ns_ >= entry.changed_ns &&
         std::chrono::nanoseconds(died_ns_ - entry.changed_ns) < probation;
}

std::vector<Command> Record::to_redo(std::chrono::milliseconds probation) const {
  std::vector<Command> commands;
  for (const Entry& entry : entries_) {
    if (!entry.is_module) {
      commands.push_back(entry.command);
      continue;
    }
    const Module& module = young(entry, probation) ? entry.before : entry.now;
    if (module.path.empty()) continue;
    commands.push_back({entry.command.method, {{"what", module.path}, {"parameters", module.parameters}}});
  }
  return commands;
}

std::vector<Command> Record::commands() const {
  std::vector<Command> commands;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    const Module& module = entry.now;
    if (!entry.is_module) {
      commands.push_back(entry.command);
      continue;
    }
    // Of several modules of one folder the last one has the parameters.
    const bool again = std::any_of(entries_.begin() + std::ptrdiff_t(i) + 1, entries_.end(), [&](const Entry& later) {
      return later.is_module && !module.source.empty() && later.now.source == module.source;
    });
    if (again) continue;
    commands.push_back({entry.command.method,
                        {{"what", module.source.empty() ? module.path : module.source}, {"parameters", module.parameters}}});
  }
  return commands;
}

std::string Record::suspect(std::chrono::milliseconds probation) const {
  for (const Entry& entry : entries_) {
    if (young(entry, probation)) return entry.key.substr(entry.key.find(' ') + 1);
  }
  return {};
}

std::vector<std::string> Record::lost(std::chrono::milliseconds probation) const {
  std::vector<std::string> lost{"all connections, queues and counters", "programs that ran by lkm-run exec"};
  for (const unsigned flow : flows_) lost.push_back(fmt::format("flow {}", flow));
  for (const Entry& entry : entries_) {
    if (!young(entry, probation)) continue;
    lost.push_back(entry.before.path.empty()
                       ? fmt::format("{}, which was loaded just before", entry.now.shown)
                       : fmt::format("{}: in its place is the build of {}", entry.now.shown, entry.before.shown));
  }
  return lost;
}

}  // namespace lkm::control

// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/fast_path.hpp"

#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "toolkit/base/file.hpp"
#include "toolkit/base/fnv.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/build/kbuild_files.hpp"
#include "toolkit/build/object_diff.hpp"
#include "toolkit/build/preamble.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kPreamblesKept = 8;  // 90 MB each

constexpr std::string_view kFile = "file ";      // of the folder: a hash of its bytes
constexpr std::string_view kHeader = "header ";  // elsewhere: size and time

bool is_product(std::string_view name) {
  static constexpr std::string_view kSuffixes[] = {".o",   ".mod",   ".mod.c",
                                                   ".cmd", ".order", ".symvers"};
  return std::any_of(std::begin(kSuffixes), std::end(kSuffixes),
                     [&](std::string_view suffix) { return name.ends_with(suffix); });
}

std::string stamp_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return "missing";
  return fmt::format("{}:{}.{:09}", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

fs::path note_of(const fs::path& folder, const fs::path& target) {
  return folder / target.parent_path() / fmt::format(".{}.cmd", target.filename().native());
}

// The compiler that a recorded command calls.
std::string compiler_of(std::string_view command) {
  if (command.starts_with("ccache ")) command.remove_prefix(7);
  return std::string(command.substr(0, command.find(' ')));
}

std::vector<std::string> shell(std::string command) { return {"sh", "-c", std::move(command)}; }

Result<void> make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail(error.value(), "make the folder '{}'", path.string());
  return {};
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

struct FastPath::Unit {
  fs::path object;  // in the folder
  fs::path source;  // in the folder
  CompileStep step;
  bool alone = true;  // Kbuild does nothing after the compiler

  // Where its precompiled header lies, without the .gch.
  [[nodiscard]] fs::path header(const fs::path& root) const {
    std::string name = object;
    std::replace(name.begin(), name.end(), '/', ':');
    return root / "preamble" / (name + ".h");
  }
};

Result<FastPath> FastPath::open(const Kernel& kernel, const Mirror& kbuild) {
  LKM_TRY(Mirror mirror, Mirror::open(kbuild.source(), kbuild.root() / "fast"));
  return FastPath(kernel, kbuild, std::move(mirror));
}

Result<UniqueFd> FastPath::lock() const {
  LKM_TRY(auto fd, UniqueFd::open(mirror_.root() / "lock", O_RDWR | O_CREAT, 0600));
  if (::flock(fd.get(), LOCK_EX) != 0) {
    return fail(errno == EINTR ? ECANCELED : errno, "lock '{}'", mirror_.root().string());
  }
  return fd;
}

// A path in Kbuild's copy becomes the same path in this one.
std::string FastPath::turned(std::string text) const {
  const std::string from = kbuild_.tree().native();
  const std::string to = mirror_.tree().native();
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// -- facts ---------------------------------------------------------------------------------------

Result<FastPath::Facts> FastPath::facts_of(const Mirror& mirror) const {
  Facts facts;
  LKM_TRY(const auto files, mirror.copied());
  for (const auto& file : files) {
    LKM_TRY(const std::string content, read_file(mirror.folder() / file));
    facts[std::string(kFile) + file.native()] = fmt::format("{:016x}", fnv1a(content));
  }
  return facts;
}

// Of this copy, and of the same headers as those of `adopted`.
Result<FastPath::Facts> FastPath::facts_now(const Facts& adopted) const {
  LKM_TRY(Facts facts, facts_of(mirror_));
  for (const auto& [name, stamp] : adopted) {
    if (name.starts_with(kHeader)) facts[name] = stamp_of(name.substr(kHeader.size()));
  }
  return facts;
}

Result<void> FastPath::add_environment(Facts& facts, const std::vector<fs::path>& notes) const {
  const std::string own = mirror_.source().native() + "/";
  for (const auto& note : notes) {
    LKM_TRY(const std::string text, read_file(note));
    for (const auto& file : saved_dependencies(text)) {
      const std::string path =
          fs::path(kbuild_.as_user_sees((kernel_.build / file).native())).lexically_normal();
      if (!path.starts_with(own)) facts[std::string(kHeader) + path];
    }
    if (const auto step = parse_cmd(text)) {
      facts[std::string(kHeader) + find_program(compiler_of(step->command)).native()];
    }
  }
  for (const char* file : {"Module.symvers", "scripts/module.lds", "scripts/mod/modpost"}) {
    facts[std::string(kHeader) + (kernel_.build / file).native()];
  }
  for (auto& [name, stamp] : facts) {
    if (name.starts_with(kHeader)) stamp = stamp_of(name.substr(kHeader.size()));
  }
  return {};
}

// "HASH-OR-STAMP NAME" a line. No facts: Kbuild's work was not taken over yet.
Result<FastPath::Facts> FastPath::adopted_facts() const {
  Facts facts;
  const auto text = read_file(mirror_.root() / "facts");
  if (!text) return facts;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t blank = line.find(' ');
    if (blank != std::string::npos) facts[line.substr(blank + 1)] = line.substr(0, blank);
  }
  return facts;
}

namespace {

using Facts = std::map<std::string, std::string>;

std::string hash_of(const Facts& facts, const std::set<std::string>& without, bool files_only) {
  std::uint64_t hash = kFnvStart;
  for (const auto& [name, value] : facts) {
    if (without.contains(name) || (files_only && !name.starts_with(kFile))) continue;
    hash = fnv1a(name + ' ' + value + '\n', hash);
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace

Result<std::vector<FastPath::Unit>> FastPath::units() const {
  std::vector<Unit> units;
  std::error_code error;
  for (fs::recursive_directory_iterator it(basis(), error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename();
    if (!name.starts_with(".") || !name.ends_with(".o.cmd")) continue;
    LKM_TRY(const std::string text, read_file(it->path()));
    auto step = parse_cmd(text);
    if (!step) continue;
    const fs::path source = step->source.lexically_relative(mirror_.folder());
    if (source.empty() || *source.begin() == ".." || source.native().ends_with(".mod.c")) continue;
    Unit unit{.object = it->path().parent_path().lexically_relative(basis()) /
                        name.substr(1, name.size() - 5),
              .source = source,
              .step = std::move(*step)};
    unit.object = unit.object.lexically_normal();
    unit.alone = saved_command(text).value_or("").find(" ;") == std::string::npos;
    units.push_back(std::move(unit));
  }
  if (error) return fail(error.value(), "list the folder '{}'", basis().string());
  return units;
}

Result<std::set<std::string>> FastPath::names_of_sources() const {
  LKM_TRY(const auto all, units());
  std::set<std::string> names;
  for (const Unit& unit : all) names.insert(std::string(kFile) + unit.source.native());
  return names;
}

// Why make has to run, judging by what changed; "" when it need not. `edited` gets the one file
// that changed, if one did.
std::string FastPath::refusal(const Facts& before, const Facts& now, std::string& edited) const {
  std::vector<std::string> files;
  for (const auto& [name, value] : now) {
    const auto known = before.find(name);
    if (known != before.end() && known->second == value) continue;
    if (name.starts_with(kHeader)) return fmt::format("{} changed", name.substr(kHeader.size()));
    const std::string file = name.substr(kFile.size());
    if (known == before.end()) return fmt::format("{} is new", file);
    files.push_back(file);
  }
  for (const auto& [name, value] : before) {
    if (!now.contains(name)) return fmt::format("{} is gone", name.substr(kFile.size()));
  }
  if (files.size() > 1) return fmt::format("{} changed together", joined(files));
  if (!files.empty()) edited = files.front();
  return "";
}

// -- replay --------------------------------------------------------------------------------------

Result<FastPath::Replay> FastPath::replay(const Tools& tools) const {
  const auto started = Clock::now();
  const auto refused = [](std::string why) { return Replay{.why = std::move(why)}; };
  if (kernel_.llvm) return refused("the kernel was built by clang");
  LKM_TRY(const Facts before, adopted_facts());
  if (before.empty()) return refused("there is no build to start from");
  LKM_CHECK(mirror_.sync());
  LKM_TRY(const Facts now, facts_now(before));
  std::string edited;
  if (std::string why = refusal(before, now, edited); !why.empty()) return refused(std::move(why));

  LKM_TRY(const auto all, units());
  const auto unit =
      std::find_if(all.begin(), all.end(), [&](const Unit& one) { return one.source == edited; });
  if (!edited.empty()) {
    if (unit == all.end() || unit->source.extension() != ".c") {
      return refused(fmt::format("{} changed", edited));
    }
    if (!unit->alone) return refused("Kbuild does more than to compile " + edited);
  }
  LKM_TRY(const auto sources, names_of_sources());
  const auto disagreed = read_file(mirror_.root() / "disagreed");
  if (disagreed && *disagreed == hash_of(before, sources, true)) {
    return refused("Kbuild did not agree the last time");
  }

  LKM_CHECK(restore());
  const auto copied = Clock::now();
  LKM_TRY(Replay replay, build(unit == all.end() ? nullptr : &*unit, tools));
  replay.steps.insert(replay.steps.begin(), {.name = "copy", .duration = copied - started});
  replay.contents = hash_of(now, {}, true);
  return replay;
}

// Puts what Kbuild made back in place: a replay before this one may have been of another file.
Result<void> FastPath::restore() const {
  std::error_code error;
  for (fs::recursive_directory_iterator it(basis(), error), end; !error && it != end;
       it.increment(error)) {
    const fs::path to = mirror_.folder() / it->path().lexically_relative(basis());
    if (it->is_directory(error)) LKM_CHECK(make_folder(to));
    if (!is_product(it->path().filename().native())) continue;
    fs::copy_file(it->path(), to, fs::copy_options::overwrite_existing, error);
  }
  if (error) return fail(error.value(), "copy '{}'", basis().string());
  return {};
}

namespace {

// True when all that a compiler says is about `source` itself. What it says of headers, or of a
// macro's definition there, names them by the way in which they were included, which is another
// with a precompiled header.
bool is_about(std::string_view said, const std::string& source) {
  while (!said.empty()) {
    const std::string_view line = said.substr(0, said.find('\n'));
    said.remove_prefix(std::min(said.size(), line.size() + 1));
    if (!line.starts_with(' ') && !line.starts_with(source + ":")) return false;
  }
  return true;
}

// What modpost writes of a module, but for the hash of its sources that a MODULE_VERSION() asks
// for.
std::string without_srcversion(std::string text) {
  const std::size_t at = text.find("MODULE_INFO(srcversion, ");
  if (at != std::string::npos) text.erase(at, text.find('\n', at) - at);
  return text;
}

// The first line of a text to precompile: names all that it is made of but its lines.
std::string first_line(const std::string& key, const CompileStep& step) {
  return fmt::format("/* {} {:016x} */\n", key, fnv1a(step.command));
}

}  // namespace

Result<FastPath::Replay> FastPath::build(const Unit* unit, const Tools& tools) const {
  Replay replay;
  auto started = Clock::now();
  const auto end_step = [&](const char* name) {
    const auto now = Clock::now();
    replay.steps.push_back({name, now - started});
    started = now;
  };
  const auto refuse = [&](std::string why) {
    replay.why = std::move(why);
    return replay;
  };
  // Runs the command that Kbuild noted for `target`.
  const auto run_noted = [&](const fs::path& target, std::string& said) -> Result<bool> {
    const auto note = read_file(note_of(basis(), target));
    auto command = note ? saved_command(*note) : std::nullopt;
    if (!command || command->find(" ;") != std::string::npos) return false;
    LKM_TRY(const int status,
            tools.run_silently(shell(std::move(*command)), mirror_, kernel_.build, said));
    return status == 0;
  };

  std::string said;
  if (unit != nullptr) {
    const std::string source = mirror_.as_user_sees(unit->step.source.native());
    LKM_TRY(const std::string text, read_file(mirror_.folder() / unit->source));
    const fs::path header = unit->header(mirror_.root());
    const auto commands =
        preamble_commands(unit->step.command, preamble_of(text), header, kernel_.build);
    LKM_TRY(const Facts adopted, adopted_facts());
    LKM_TRY(const std::string key, key_of_preambles(adopted));
    const std::string first = first_line(key, unit->step);
    const auto prepared = read_file(header);
    if (!prepared || !prepared->starts_with(first)) {
      return refuse(fmt::format("{} has no precompiled header yet", unit->source.native()));
    }
    if (*prepared != first + commands.header) {
      return refuse(fmt::format("the #include lines of {} changed", unit->source.native()));
    }
    if (::access((header.native() + ".gch").c_str(), R_OK) != 0) {
      return refuse(fmt::format("a precompiled header does not suit {}", unit->source.native()));
    }
    std::error_code ignored;  // used last: see drop_old_preambles()
    fs::last_write_time(header.native() + ".gch", fs::file_time_type::clock::now(), ignored);
    LKM_TRY(const int status,
            tools.run_silently(shell(commands.compile), mirror_, kernel_.build, said));
    if (!is_about(said, source)) {
      return refuse(fmt::format("the compiler has more to say than of {}", unit->source.native()));
    }
    tools.show(said);
    if (status != 0) {
      replay.end = Replay::End::kErrors;
      return replay;
    }
  }

  LKM_TRY(const std::string order, read_file(mirror_.folder() / "modules.order"));
  const auto modules = parse_modules_order(order, mirror_.folder());
  std::vector<fs::path> names;  // "mycc", in the folder
  for (const auto& ko : modules) {
    names.push_back(fs::path(ko).replace_extension("").lexically_relative(mirror_.folder()));
  }
  for (const auto& name : names) {
    if (unit == nullptr || unit->object == name.native() + ".o") continue;
    const auto parts = read_file(mirror_.folder() / (name.native() + ".mod"));
    const std::string part = (mirror_.folder() / unit->object).native() + "\n";
    if (!parts || parts->find(part) == std::string::npos) continue;
    LKM_TRY(const bool linked, run_noted(name.native() + ".o", said));
    if (!linked) return refuse(fmt::format("{}.o cannot be linked by itself", name.native()));
  }
  end_step("compile");

  // modpost's warnings are as new as what it looks at; its errors are for make to show.
  std::string checks;
  LKM_TRY(const bool checked, run_noted("Module.symvers", checks));
  if (!checked) return refuse("modpost has something to say");
  tools.show(checks);
  for (const auto& name : names) {
    const auto before = read_file(basis() / (name.native() + ".mod.c"));
    const auto now = read_file(mirror_.folder() / (name.native() + ".mod.c"));
    if (before && now && *before == *now) continue;
    if (before && now && without_srcversion(*before) == without_srcversion(*now)) {
      std::string words;
      LKM_TRY(const bool compiled, run_noted(name.native() + ".mod.o", words));
      if (!compiled)
        return refuse(fmt::format("{}.mod.c cannot be compiled by itself", name.native()));
    } else {
      return refuse(
          fmt::format("what {} needs or offers changed: dependencies, exports, aliases or version",
                      name.native()));
    }
  }
  end_step("check");

  for (const auto& name : names) {
    std::string words;
    LKM_TRY(const bool linked, run_noted(name.native() + ".ko", words));
    if (!linked) return refuse(fmt::format("{}.ko cannot be linked by itself", name.native()));
  }
  end_step("link");
  replay.end = Replay::End::kBuilt;
  return replay;
}

// -- after Kbuild --------------------------------------------------------------------------------

Result<std::string> FastPath::adopt() const {
  LKM_TRY(const UniqueFd locked, lock());
  std::error_code error;
  // Without facts there is no basis: what is half copied is not taken for whole.
  fs::remove(mirror_.root() / "facts", error);
  fs::remove_all(basis(), error);
  LKM_TRY(Facts facts, facts_of(kbuild_));
  std::vector<fs::path> files;
  std::vector<fs::path> notes;
  for (fs::recursive_directory_iterator it(kbuild_.folder(), error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename();
    if (!it->is_regular_file(error) || !is_product(name)) continue;
    files.push_back(it->path().lexically_relative(kbuild_.folder()));
    if (name.ends_with(".o.cmd")) notes.push_back(it->path());
  }
  if (error) return fail(error.value(), "list the folder '{}'", kbuild_.folder().string());
  // The sources that the objects are of: prepare() compiles them once more.
  for (const auto& note : notes) {
    LKM_TRY(const std::string text, read_file(note));
    const auto step = parse_cmd(text);
    if (!step) continue;
    const fs::path source = step->source.lexically_relative(kbuild_.folder());
    if (facts.contains(std::string(kFile) + source.native())) files.push_back(source);
  }
  for (const auto& file : files) {
    LKM_TRY(std::string content, read_file(kbuild_.folder() / file));
    const std::string extension = file.extension();
    if (extension == ".cmd" || extension == ".mod" || extension == ".order") {
      content = turned(std::move(content));
    }
    LKM_CHECK(make_folder((basis() / file).parent_path()));
    LKM_CHECK(replace_file(basis() / file, content));
  }
  LKM_CHECK(add_environment(facts, notes));
  // For prepare(): the headers as they were.
  LKM_CHECK(mirror_.sync());
  for (const auto& [name, value] : facts) {
    if (!name.starts_with(kFile)) continue;
    const fs::path file = name.substr(kFile.size());
    LKM_TRY(const std::string content, read_file(kbuild_.folder() / file));
    LKM_CHECK(make_folder((mirror_.folder() / file).parent_path()));
    LKM_CHECK(replace_file(mirror_.folder() / file, content));
  }
  std::string text;
  for (const auto& [name, value] : facts) text += fmt::format("{} {}\n", value, name);
  LKM_CHECK(replace_file(mirror_.root() / "facts", text));
  return hash_of(facts, {}, true);
}

Result<std::string> FastPath::contents_of(const Mirror& mirror) const {
  LKM_TRY(const Facts facts, facts_of(mirror));
  return hash_of(facts, {}, true);
}

Result<void> FastPath::distrust() const {
  LKM_TRY(const UniqueFd locked, lock());
  LKM_TRY(const Facts facts, adopted_facts());
  LKM_TRY(const auto sources, names_of_sources());
  return replace_file(mirror_.root() / "disagreed", hash_of(facts, sources, true));
}

Result<void> FastPath::forget() const {
  LKM_TRY(const UniqueFd locked, lock());
  std::error_code error;
  fs::remove(mirror_.root() / "facts", error);
  if (error) return fail(error.value(), "remove '{}/facts'", mirror_.root().string());
  return {};
}

// Of all that a precompiled header depends on but the #include lines and the command.
Result<std::string> FastPath::key_of_preambles(const Facts& facts) const {
  LKM_TRY(const auto sources, names_of_sources());
  return hash_of(facts, sources, false);
}

Result<bool> FastPath::prepare(const Tools& tools) const {
  if (kernel_.llvm) return false;
  std::string text;
  PreambleCommands commands;
  Unit unit;
  fs::path header;
  LKM_TRY(const auto scratch, TempDir::make("new-", mirror_.root()));
  {
    LKM_TRY(const UniqueFd locked, lock());
    LKM_TRY(const auto all, units());
    const auto changed_at = [&](const Unit& one) {
      std::error_code ignored;
      return fs::last_write_time(kbuild_.folder() / one.source, ignored);
    };
    const auto newest = std::max_element(all.begin(), all.end(), [&](const Unit& a, const Unit& b) {
      return changed_at(a) < changed_at(b);
    });
    if (newest == all.end() || newest->source.extension() != ".c" || !newest->alone) return false;
    unit = *newest;
    header = unit.header(mirror_.root());
    LKM_TRY(const std::string source, read_file(basis() / unit.source));
    LKM_TRY(const Facts adopted, adopted_facts());
    if (adopted.empty()) return false;
    LKM_TRY(const std::string key, key_of_preambles(adopted));
    text = first_line(key, unit.step) +
           preamble_commands(unit.step.command, preamble_of(source), header, kernel_.build).header;
    if (const auto present = read_file(header); present && *present == text) {
      return ::access((header.native() + ".gch").c_str(), R_OK) == 0;
    }
    commands = preamble_commands(unit.step.command, preamble_of(source),
                                 scratch.path() / header.filename(), kernel_.build);
  }

  // Without the lock: a save meanwhile takes the full path, and need not wait for this.
  const fs::path made = scratch.path() / header.filename();
  LKM_CHECK(replace_file(made, text));
  std::string said;
  LKM_TRY(const int status,
          tools.run_silently(shell(commands.prepare), mirror_, kernel_.build, said));

  LKM_TRY(const UniqueFd locked, lock());
  LKM_TRY(const std::string source, read_file(basis() / unit.source));
  LKM_TRY(const Facts adopted, adopted_facts());
  LKM_TRY(const std::string key, key_of_preambles(adopted));
  LKM_TRY(const auto note, read_file(note_of(basis(), unit.object)));
  unit.step = parse_cmd(note).value_or(CompileStep{});
  commands = preamble_commands(unit.step.command, preamble_of(source), header, kernel_.build);
  if (first_line(key, unit.step) + commands.header != text)
    return false;  // Kbuild has been there again
  LKM_TRY(const Facts now, facts_now(adopted));
  LKM_TRY(const std::string key_now, key_of_preambles(now));
  if (key_now != key) return false;  // a save has changed what was being included
  LKM_CHECK(make_folder(header.parent_path()));
  std::error_code error;
  fs::remove(header.native() + ".gch", error);
  LKM_CHECK(replace_file(header, text));
  if (status != 0) return false;
  fs::rename(made.native() + ".gch", header.native() + ".gch", error);
  if (error) return fail(error.value(), "make '{}.gch'", header.string());
  // The proof: with it, the source gives the object that Kbuild made of it. The copy's source is
  // brought up to date again at the next replay.
  LKM_CHECK(replace_file(mirror_.folder() / unit.source, source));
  LKM_TRY(const int compiled,
          tools.run_silently(shell(commands.compile), mirror_, kernel_.build, said));
  bool same = compiled == 0;
  if (same) {
    LKM_TRY(const auto differences,
            object_differences(mirror_.folder() / unit.object, basis() / unit.object));
    same = differences.empty();
  }
  if (!same) fs::remove(header.native() + ".gch", error);
  drop_old_preambles();
  return same;
}

void FastPath::drop_old_preambles() const {
  std::error_code error;
  std::vector<std::pair<fs::file_time_type, fs::path>> headers;
  // <work>/<folder>/fast/preamble/x.o.h.gch
  const fs::path work = mirror_.root().parent_path().parent_path();
  for (const auto& folder : fs::directory_iterator(work, error)) {
    std::error_code none;
    for (const auto& file : fs::directory_iterator(folder.path() / "fast" / "preamble", none)) {
      if (file.path().extension() != ".gch") continue;
      headers.emplace_back(fs::last_write_time(file.path(), none), file.path());
    }
  }
  std::sort(headers.begin(), headers.end());
  for (std::size_t i = 0; i + kPreamblesKept < headers.size(); ++i) {
    // The text first: a text without its header says that none suits.
    fs::remove(fs::path(headers[i].second).replace_extension(), error);
    fs::remove(headers[i].second, error);
  }
}

}  // namespace lkm

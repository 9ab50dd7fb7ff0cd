// SPDX-License-Identifier: GPL-2.0
//
// Record: the commands that made a stack what it is, kept in a file, so that another stack can be made like it when
// the first one dies and there is no snapshot to go on in. What a command took back is not in it any more.
//
// Recorded are network namespaces, links, devices, sysctls and modules, as far as they came by the control socket. Not
// recorded: what was written through the mount, flows, and programs of exec.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "toolkit/control/stack_file.hpp"

namespace lkm::control {

class Record {
 public:
  /// Kept in `file`, which is written at each change.
  explicit Record(std::filesystem::path file) : file_(std::move(file)) {}
  /// As the file has it. Errors: as open(2); EBADMSG.
  static Result<Record> read(const std::filesystem::path& file);

  /// A request that is about to be served. Of a change of a module that is under way when the stack dies, it has died.
  void begin(const std::string& method);
  /// The same ended; noted if it was answered well.
  void end(const std::string& method);
  /// A request that was answered well. `now_ns` is of CLOCK_MONOTONIC.
  void note(const std::string& method, const Json& params, const Json& result, std::uint64_t now_ns);
  /// The stack has died. `why` and the end of its log are kept with it.
  void note_death(const std::string& why, const std::string& log, std::uint64_t now_ns);

  /// What to do again, in order. A module that was swapped less than `probation` before the death is of the build
  /// before; one that was loaded in that time is left out.
  [[nodiscard]] std::vector<Command> to_redo(std::chrono::milliseconds probation) const;
  /// What makes a stack like this one, with modules by the folders that they were built from, where those are known.
  [[nodiscard]] std::vector<Command> commands() const;
  /// What cannot be done again, for people.
  [[nodiscard]] std::vector<std::string> lost(std::chrono::milliseconds probation) const;
  /// Of the death.
  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] const std::string& log() const { return log_; }
  /// The module that was on probation then; empty if none was.
  [[nodiscard]] std::string suspect(std::chrono::milliseconds probation) const;
  /// The stack that is made after this record died soon after it was made, and no module was changed in it.
  [[nodiscard]] bool in_vain(std::uint64_t now_ns, std::chrono::milliseconds soon) const;
  /// A new stack has been made after it.
  void start_again(std::uint64_t now_ns);

 private:
  struct Module {
    std::string path, parameters;
    std::string shown;  ///< "mycc@3"
    std::string source = {};  ///< folder, or a name; may be empty
  };
  struct Entry {
    Command command;
    std::string key;  ///< what takes it back, or its place
    // Of a module.
    Module now, before;
    std::uint64_t changed_ns = 0;
    bool is_module = false;
  };

  [[nodiscard]] bool young(const Entry& entry, std::chrono::milliseconds probation) const;
  void put(Entry entry);
  void drop(const std::string& key);
  void swap(const Json& params, const Json& result, std::uint64_t now_ns);
  void save() const;

  std::filesystem::path file_;
  std::vector<Entry> entries_;
  std::set<unsigned> flows_;
  std::string why_, log_;
  std::uint64_t died_ns_ = 0, again_ns_ = 0;
  unsigned under_way_ = 0;      ///< changes of modules
  bool of_one_under_way_ = false;
};

}  // namespace lkm::control

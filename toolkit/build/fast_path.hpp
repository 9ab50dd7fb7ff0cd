// SPDX-License-Identifier: GPL-2.0
//
// FastPath: builds a module after an edit of one source file, without make.
//
// What Kbuild did last is replayed with its own recorded commands (.x.o.cmd): the compiler, with
// the leading #include lines precompiled; ld for an object of several; modpost over all modules of
// the folder; ld for the .ko. So there is no second set of rules: where these commands are not
// enough, the answer is a refusal, and make has to run. It refuses when anything but one source
// file differs from what Kbuild built last: another file, a header anywhere, the compiler, the
// kernel.
//
// The work is done in a second copy of the folder, with the commands' paths turned to it, so that
// neither make nor a replay ever sees what the other one made:
//
//   <root>/tree/mycc/        Kbuild's copy
//   <root>/fast/tree/mycc/   the copy here
//   <root>/fast/basis/       what Kbuild made last, paths turned: objects, .cmd files, sources
//   <root>/fast/facts        what it made it from
//   <root>/fast/preamble/    precompiled headers, one for a source file
//   <root>/fast/disagreed    the Kbuild files with which a replay gave something else than Kbuild
//
// All state is in these files, so any process may take the fast path that another one prepared.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"
#include "toolkit/build/kernel.hpp"
#include "toolkit/build/mirror.hpp"
#include "toolkit/build/tools.hpp"

namespace lkm {

struct BuildStep {
  std::string name;  ///< "copy", "compile", "check", "link"
  std::chrono::nanoseconds duration{};
};

class FastPath {
 public:
  /// Beside Kbuild's copy `kbuild`. Errors: as of making folders.
  static Result<FastPath> open(const Kernel& kernel, const Mirror& kbuild);

  [[nodiscard]] const Mirror& mirror() const { return mirror_; }
  /// Held until closed; to be held for replay() and as long as what it made is used.
  [[nodiscard]] Result<UniqueFd> lock() const;

  struct Replay {
    enum class End {
      kBuilt,    ///< the .ko files lie in mirror().folder()
      kRefused,  ///< make has to run
      kErrors,   ///< the source does not compile; the compiler's words have been shown
    };
    End end = End::kRefused;
    std::string why;       ///< kRefused: "mycc.h changed"
    std::string contents;  ///< names what was built: equal for equal files
    std::vector<BuildStep> steps;
  };
  Result<Replay> replay(const Tools& tools) const;

  /// Takes over what Kbuild made in its copy from the files that it holds; Kbuild's lock must be
  /// held. Returns what Replay::contents says for these files.
  Result<std::string> adopt() const;

  /// What Replay::contents says for the files that a copy holds.
  Result<std::string> contents_of(const Mirror& mirror) const;

  /// Makes the precompiled header for the source file of the folder that was changed last, which
  /// takes a second or two; nothing is done when it is there already. It is kept when the object
  /// that comes of it is the one that Kbuild made; else the file stays off the fast path until its
  /// #include lines or the headers change. True when the next edit of that file can be replayed.
  /// Headers are large: of all folders beside this one, the eight used last stay.
  Result<bool> prepare(const Tools& tools) const;

  /// A replay gave something else than Kbuild: refuse until the Kbuild files change.
  Result<void> distrust() const;
  /// Kbuild failed where a replay did not: refuse until the next adopt().
  Result<void> forget() const;

 private:
  // What a build depends on, each with a text that changes when it does: "file mycc.c" (of the
  // folder), "header /usr/…", "compiler gcc", "kernel …".
  using Facts = std::map<std::string, std::string>;
  struct Unit;  // one source file

  FastPath(Kernel kernel, Mirror kbuild, Mirror mirror)
      : kernel_(std::move(kernel)), kbuild_(std::move(kbuild)), mirror_(std::move(mirror)) {}

  [[nodiscard]] std::filesystem::path basis() const { return mirror_.root() / "basis"; }
  [[nodiscard]] std::string turned(std::string text) const;
  Result<Facts> facts_of(const Mirror& mirror) const;
  Result<void> add_environment(Facts& facts, const std::vector<std::filesystem::path>& notes) const;
  Result<Facts> adopted_facts() const;
  Result<std::vector<Unit>> units() const;
  std::string refusal(const Facts& before, const Facts& now, std::string& edited) const;
  Result<Facts> facts_now(const Facts& adopted) const;
  Result<std::set<std::string>> names_of_sources() const;
  Result<std::string> key_of_preambles(const Facts& facts) const;
  Result<void> restore() const;
  void drop_old_preambles() const;
  Result<Replay> build(const Unit* unit, const Tools& tools) const;

  Kernel kernel_;
  Mirror kbuild_;
  Mirror mirror_;  // the fast copy; its root is <root>/fast
};

}  // namespace lkm

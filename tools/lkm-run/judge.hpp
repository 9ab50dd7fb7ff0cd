// SPDX-License-Identifier: GPL-2.0
//
// Judge: what follows a build at leisure, beside the saves that come meanwhile: Kbuild's word on a
// build that was replayed, and the precompiled header for the next one.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "toolkit/base/unique_fd.hpp"
#include "toolkit/build/module_build.hpp"

namespace lkm::cli {

/// One thread; each function may be called from one other.
class Judge {
 public:
  Judge();
  Judge(const Judge&) = delete;
  Judge& operator=(const Judge&) = delete;
  ~Judge();

  /// Readable when take() has something.
  [[nodiscard]] int fd() const { return ready_.get(); }
  struct News {
    std::optional<Result<Verdict>> verdict;
    bool prepared = false;  ///< all is done that makes the next build fast
  };
  /// What there is since the last call.
  News take();

  /// Has `replayed` judged, or after a full build (`replayed.fast` is false) only the header made.
  /// What was asked before, and has not come to an end, is dropped: the new build stands in its
  /// place.
  void ask(ModuleBuild build, BuildResult replayed);
  /// Gives the CPU back to the build that comes now: no verdict will come. A header that is being
  /// made is made.
  void drop();

 private:
  struct Job {
    ModuleBuild build;
    BuildResult replayed;
  };
  void work();

  UniqueFd ready_;
  UniqueFd cancel_verdict_;
  UniqueFd cancel_all_;
  std::mutex mutex_;  // for all below
  std::condition_variable changed_;
  std::optional<Job> next_;
  bool judging_ = false;
  bool dropped_ = false;  // what is being judged
  bool ending_ = false;
  News news_;
  std::jthread thread_;  // the last member: it uses the others
};

/// What to tell of a verdict that is not the replay's; with what is done about it as HINT.
Error verdict_error(const Verdict& verdict, const std::string& folder);

}  // namespace lkm::cli

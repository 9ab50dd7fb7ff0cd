// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/judge.hpp"

#include <sys/eventfd.h>

#include "toolkit/base/assert.hpp"
#include "toolkit/base/log.hpp"

namespace lkm::cli {
namespace {

constexpr std::size_t kNamed = 4;  // differences that a message lists

UniqueFd event() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  LKM_ASSERT(fd);  // only a table of descriptors that is full
  return fd;
}

void raise(const UniqueFd& event) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(event.get(), &one, sizeof one);
}

void lower(const UniqueFd& event) {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(event.get(), &count, sizeof count);
}

}  // namespace

Judge::Judge()
    : ready_(event()), cancel_verdict_(event()), cancel_all_(event()), thread_([this] { work(); }) {}

Judge::~Judge() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  raise(cancel_verdict_);
  raise(cancel_all_);
  changed_.notify_one();
}

Judge::News Judge::take() {
  const std::lock_guard lock(mutex_);
  lower(ready_);
  return std::exchange(news_, {});
}

void Judge::ask(ModuleBuild build, BuildResult replayed) {
  drop();
  {
    const std::lock_guard lock(mutex_);
    next_ = Job{std::move(build), std::move(replayed)};
  }
  changed_.notify_one();
}

void Judge::drop() {
  const std::lock_guard lock(mutex_);
  next_.reset();
  news_.verdict.reset();
  if (!judging_) return;
  dropped_ = true;
  raise(cancel_verdict_);
}

void Judge::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ending_ || next_; });
    if (ending_) return;
    Job job = std::move(*next_);
    next_.reset();
    if (job.replayed.fast) {
      judging_ = true;
      dropped_ = false;
      lower(cancel_verdict_);
      lock.unlock();
      auto verdict = job.build.judge(job.replayed, cancel_verdict_.get());
      lock.lock();
      judging_ = false;
      if (dropped_ || ending_) continue;
      news_.verdict = std::move(verdict);
      raise(ready_);
    }
    lock.unlock();
    const auto prepared = job.build.prepare(cancel_all_.get());
    if (!prepared) log::debug("build", "{}", prepared.error().message());
    lock.lock();
    if (prepared && *prepared) {
      news_.prepared = true;
      raise(ready_);
    }
  }
}

Error verdict_error(const Verdict& verdict, const std::string& folder) {
  if (verdict.kind == Verdict::Kind::kRefuses) {
    return Error({}, fmt::format("Kbuild does not build {}, which the fast path did", folder))
        .with_hint("what Kbuild built last takes its place, where it is known");
  }
  std::string named;
  for (std::size_t i = 0; i < std::min(kNamed, verdict.differences.size()); ++i) {
    named += (i != 0 ? ", " : "") + verdict.differences[i];
  }
  if (verdict.differences.size() > kNamed) {
    named += fmt::format(" and {} more", verdict.differences.size() - kNamed);
  }
  return Error({}, fmt::format("Kbuild does not agree with the fast path ({})", named))
      .with_hint(fmt::format(
          "Kbuild's build takes its place, and builds {} alone until its Kbuild file changes",
          folder));
}

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/in_child.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <type_traits>

namespace lkm::lab {
namespace {

/// What comes back: the log, and the result or the error.
struct Outcome {
  std::string log;
  bool failed = false;
  int code = 0;  // errno value, or 0
  std::string what, hint;
  RunResult result;
};

// The members of what is sent, in the order in which they are. Both ends are one program.
template <typename Archive>
void members(Archive& archive, VariableSeries& variable) {
  archive(variable.name, variable.values);
}
template <typename Archive>
void members(Archive& archive, FlowSeries& flow) {
  archive(flow.name, flow.control, flow.kind, flow.start, flow.stop, flow.samples, flow.variables, flow.latencies, flow.bytes_sent,
          flow.datagrams_sent, flow.datagrams_received, flow.failures, flow.error);
}
template <typename Archive>
void members(Archive& archive, Times& times) {
  archive(times.counts, times.count);
}
template <typename Archive>
void members(Archive& archive, QueueSeries& queue) {
  archive(queue.name, queue.limit_bytes, queue.limit_packets, queue.samples, queue.sojourns);
}
template <typename Archive>
void members(Archive& archive, EventResult& event) {
  archive(event.at, event.what, event.error);
}
template <typename Archive>
void members(Archive& archive, RunResult& run) {
  archive(run.kernel, run.in_real_time, run.modules, run.times, run.flows, run.queues, run.events, run.captures, run.wall);
}
template <typename Archive>
void members(Archive& archive, Outcome& outcome) {
  archive(outcome.log, outcome.failed, outcome.code, outcome.what, outcome.hint, outcome.result);
}

class Writer {
 public:
  template <typename... T>
  void operator()(T&... values) {
    (put(values), ...);
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void raw(const void* from, std::size_t size) { bytes_.append(static_cast<const char*>(from), size); }
  template <typename T>
  void put(T& value) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      raw(&value, sizeof value);
    } else {
      members(*this, value);
    }
  }
  void put(std::string& text) {
    const std::size_t size = text.size();
    put(size);
    raw(text.data(), size);
  }
  template <typename T>
  void put(std::vector<T>& all) {
    const std::size_t size = all.size();
    put(size);
    for (T& one : all) put(one);
  }
  void put(std::map<std::string, std::string>& all) {
    const std::size_t size = all.size();
    put(size);
    for (auto& [key, value] : all) {
      std::string copy = key;
      put(copy);
      put(value);
    }
  }

  std::string bytes_;
};

/// Of bytes that end too early, good() is false and what is missing is as it was.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  template <typename... T>
  void operator()(T&... values) {
    (get(values), ...);
  }
  [[nodiscard]] bool good() const { return good_ && rest_.empty(); }

 private:
  template <typename T>
  void get(T& value) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      good_ = good_ && rest_.size() >= sizeof value;
      if (!good_) return;
      std::memcpy(&value, rest_.data(), sizeof value);
      rest_.remove_prefix(sizeof value);
    } else {
      members(*this, value);
    }
  }
  std::size_t count() {
    std::size_t size = 0;
    get(size);
    good_ = good_ && size <= rest_.size();  // nothing is sent in less than a byte
    return good_ ? size : 0;
  }
  void get(std::string& text) {
    const std::size_t size = count();
    text = rest_.substr(0, size);
    rest_.remove_prefix(size);
  }
  template <typename T>
  void get(std::vector<T>& all) {
    all.resize(count());
    for (T& one : all) get(one);
  }
  void get(std::map<std::string, std::string>& all) {
    for (std::size_t left = count(); left > 0; --left) {
      std::string key;
      get(key);
      get(all[key]);
    }
  }

  std::string_view rest_;
  bool good_ = true;
};

[[noreturn]] void be_child(const Scenario& scenario, const RunOptions& options, const UniqueFd& out) {
  Outcome outcome;
  RunOptions mine = options;
  mine.progress = {};
  mine.console = [&](std::string_view text) { outcome.log += text; };
  if (auto result = run(scenario, mine)) {
    outcome.result = std::move(*result);
  } else {
    outcome.failed = true;
    outcome.code = result.error().code() ? result.error().errno_value() : 0;
    outcome.what = result.error().what();
    outcome.hint = result.error().hint();
  }
  Writer writer;
  writer(outcome);
  for (std::string_view rest = writer.bytes(); !rest.empty();) {
    const ssize_t n = ::write(out.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    rest.remove_prefix(std::size_t(n));
  }
  ::_exit(0);
}

Result<std::string> read_to_end(const UniqueFd& in) {
  std::string bytes;
  std::array<char, 1 << 16> buffer;
  for (;;) {
    const ssize_t n = ::read(in.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, "read from the run in a child");
    if (n == 0) return bytes;
    bytes.append(buffer.data(), std::size_t(n));
  }
}

}  // namespace

Result<ChildRun> ChildRun::start(const Scenario& scenario, const RunOptions& options) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(errno, "make a pipe");
  UniqueFd in(ends[0]), out(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return fail(errno, "fork for a run");
  if (child == 0) {
    in.reset();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    be_child(scenario, options, out);
  }
  return ChildRun(scenario.title, std::move(in), child);
}

ChildRun::~ChildRun() {
  if (child_ < 0) return;
  ::kill(child_, SIGKILL);
  (void)reap();
}

int ChildRun::reap() {
  int status = 0;
  while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
  }
  child_ = -1;
  return status;
}

Result<RunResult> ChildRun::finish(const std::function<void(std::string_view)>& console) {
  LKM_TRY(const std::string bytes, read_to_end(in_));
  in_.reset();
  const int status = reap();
  Outcome outcome;
  Reader reader(bytes);
  reader(outcome);
  if (!reader.good())
    return fail(ECHILD, "run of '{}': its process {} {}", title_, WIFSIGNALED(status) ? "died of signal" : "ended with",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  if (console) console(outcome.log);
  if (!outcome.failed) return std::move(outcome.result);
  return Failure(Error(std::error_code(outcome.code, std::generic_category()), outcome.what).with_hint(outcome.hint));
}

Result<RunResult> run_in_child(const Scenario& scenario, const RunOptions& options) {
  LKM_TRY(ChildRun child, ChildRun::start(scenario, options));
  return child.finish(options.console);
}

}  // namespace lkm::lab

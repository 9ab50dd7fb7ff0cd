// SPDX-License-Identifier: GPL-2.0
//
// Flow: real traffic through the stack's ordinary socket API, checked byte for byte at the far end.
//
//   bulk      the client sends a pseudo-random stream as fast as the path takes it
//   requests  the client sends a request, the server answers, one at a time; latency is measured
//
// A flow runs on two fibers of its own, each in its netns. It ends when its bytes, requests or time
// are used up, when stop() asks it to, or at an error; whatever the reason, what was sent is read
// to its end and checked, so that a finished flow is intact or says what is wrong. Only on fibers;
// also the last reference to a Flow must be dropped on one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/result.hpp"
#include "toolkit/flow/connection.hpp"
#include "toolkit/flow/histogram.hpp"
#include "toolkit/flow/stream.hpp"

namespace lkm {

enum class FlowKind : std::uint8_t { kBulk, kRequests };

struct FlowSpec {
  FlowKind kind = FlowKind::kBulk;
  Route route;
  std::uint64_t bytes = 0;              ///< bulk: how many to send; 0 for no limit
  std::uint64_t requests = 0;           ///< requests: how many; 0 for no limit
  std::chrono::nanoseconds duration{};  ///< stack time of sending; 0 for no limit
  std::uint64_t request_bytes = 64;     ///< requests: size of each
  std::uint64_t response_bytes = 64;
  std::chrono::nanoseconds interval{};  ///< requests: pause after each response
  std::uint64_t seed = 1;               ///< of the stream's bytes
};

enum class FlowState : std::uint8_t {
  kRunning,
  kDone,    ///< ended with all bytes verified
  kFailed,  ///< ended otherwise: see FlowReport::error
};

/// Of a set of durations.
struct Percentiles {
  std::uint64_t count = 0;
  std::chrono::nanoseconds p50{}, p99{}, max{};
  StackTime max_at{};  ///< when the longest ended
};

struct FlowReport {
  unsigned id = 0;  ///< as given by Flows
  FlowSpec spec;
  FlowState state = FlowState::kRunning;
  std::string error;   ///< what went wrong, "" for nothing
  std::string server;  ///< "10.77.0.2:40001"
  int client_pid = 0;  ///< in the stack; /proc/PID/net is its netns as the client sees it
  int server_pid = 0;

  // Sums of both directions; while running, sent - received is under way.
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_verified = 0;
  std::optional<std::uint64_t> mismatch_at;  ///< offset in its direction's stream
  std::uint64_t checksum_sent = 0;           ///< XXH3 of client to server
  std::uint64_t checksum_received = 0;
  std::uint64_t requests = 0;  ///< answered so far

  std::chrono::nanoseconds elapsed{};  ///< since the connection stood, to the last byte's arrival
  double rate = 0;                     ///< bit/s received, mean of `elapsed`
  /// bulk: times between two arrivals of data, what a pause of the stack looks like from outside.
  /// requests: from a request's first byte sent to its response's last byte received.
  Percentiles gaps;

  std::string client_control;  ///< congestion control that each end has now
  std::string server_control;
  std::optional<TcpState> tcp;  ///< of the client
};

class Flow : public std::enable_shared_from_this<Flow> {
  struct Private {};

 public:
  /// Connects and starts. Errors: EINVAL for a spec that makes no sense, and those of
  /// connect_route().
  static Result<std::shared_ptr<Flow>> start(Stack& stack, FlowSpec spec);

  /// How it stands; at any time.
  [[nodiscard]] FlowReport report();
  /// Asks the client to send no more. Returns at once; the rest is still delivered and verified.
  void stop();
  /// Ends it as it is: what is under way is lost, and the flow has failed.
  void abort();
  /// Waits for the end. False at the deadline or when interrupted.
  bool wait(StackTime deadline = kForever);

  Flow(Private, Stack& stack, FlowSpec spec, Connection connection, StackFd ended);
  Flow(const Flow&) = delete;
  Flow& operator=(const Flow&) = delete;

 private:
  struct End {  // one side of the connection
    StackFd socket;
    Fiber fiber;
    std::string control;          // as last seen
    std::optional<TcpState> tcp;  // as last seen
  };

  using Body = Result<void> (Flow::*)();

  Result<void> launch(End& end, const char* name, Body body);
  void run(End& end, Body body);
  static void look(End& end);

  Result<void> send_bulk();
  Result<void> receive_bulk();
  Result<void> send_requests();
  Result<void> serve_requests();
  Result<void> finish_sending();

  [[nodiscard]] bool may_send() const;
  Result<void> send_some(End& end, VerifiedStream& stream, std::uint64_t most);
  Result<void> send_all(End& end, VerifiedStream& stream, std::uint64_t count);
  Result<std::size_t> receive(End& end, VerifiedStream& stream, std::span<std::byte> buffer);
  Result<bool> receive_all(End& end, VerifiedStream& stream, std::uint64_t count,
                           std::span<std::byte> buffer);
  void record(StackTime from, StackTime to);

  Stack& stack_;
  FlowSpec spec_;
  std::string server_name_;
  End client_;
  End server_;
  StackFd ended_;  // eventfd, readable once both fibers are done
  StackTime send_until_ = kForever;
  unsigned running_ = 0;  // fibers
  bool stopping_ = false;
  bool aborting_ = false;

  VerifiedStream forth_;
  VerifiedStream back_;
  std::uint64_t requests_ = 0;
  StackTime started_{};
  StackTime last_arrival_{};
  Histogram gaps_;
  StackTime longest_at_{};
  std::optional<Error> error_;
};

}  // namespace lkm

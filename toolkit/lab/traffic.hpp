// SPDX-License-Identifier: GPL-2.0
//
// Traffic: the flows of a scenario, on fibers, through the ordinary socket API. What is sent is counted at both ends,
// not looked at: a receiver drops its bytes unread (MSG_TRUNC), so that the time goes into the protocols.
//
// Each flow listens on a port of its own, and its client connects at its start. Only on fibers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/lab/network.hpp"
#include "toolkit/lab/scenario.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::lab {

/// A flow as it stands. Of a FlowSpec with a count there are as many.
struct LiveFlow {
  std::string name;  ///< unique
  const FlowSpec* spec = nullptr;
  nanoseconds start{};  ///< in the run, of its first connection
  StackFd socket;       ///< of the sender, while it is connected; kPoisson and kUdp have none
  std::uint64_t bytes_sent = 0;      ///< handed to the sender's socket
  std::uint64_t bytes_received = 0;  ///< by the receiver's program
  std::uint64_t datagrams_sent = 0, datagrams_received = 0;  ///< kUdp
  /// kRequests: from the request to the whole response; kPoisson: from the connect() to the last byte;
  /// kReplay: from the time of the message to its last byte.
  std::vector<nanoseconds> latencies;
  std::uint64_t failures = 0;  ///< connections that failed
  std::string error;           ///< of the last one
};

class Traffic {
 public:
  /// The network and the scenario must outlive it.
  Traffic(Stack& stack, const Network& network, const Scenario& scenario);
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  /// Makes the listeners, and the fibers that send from each flow's start on. The run begins now. Errors: ENOENT for a
  /// congestion control that is not loaded.
  Result<void> start();
  /// Ends all flows as they are, and waits for their fibers.
  void stop();
  [[nodiscard]] const std::vector<std::unique_ptr<LiveFlow>>& flows() const { return flows_; }
  [[nodiscard]] StackTime began() const { return began_; }

 private:
  struct Server;  // a flow's listener, and what its connections count

  Result<void> add(const FlowSpec& spec, unsigned number);
  Result<StackFd> socket(const std::string& node, const FlowSpec& spec);
  void spawn(const char* name, std::function<void()> body);
  void sleep_until(nanoseconds at);
  [[nodiscard]] nanoseconds elapsed() const { return stack_.now() - began_; }
  [[nodiscard]] nanoseconds end_of(const LiveFlow& flow) const;

  void accept_all(Server& server);
  void receive_all(Server& server, const StackFd& socket);
  void note_messages(Server& server);
  void serve_requests(Server& server, const StackFd& socket);
  void receive_datagrams(Server& server);

  void send(Server& server);
  Result<std::pair<StackFd, std::uint16_t>> connect(Server& server);
  void send_bulk(LiveFlow& flow);
  void send_on_off(LiveFlow& flow);
  void send_messages(LiveFlow& flow);
  void send_requests(LiveFlow& flow);
  void send_arrivals(Server& server);
  void transfer(Server& server, std::uint64_t bytes);
  void send_datagrams(Server& server);
  std::uint64_t send_some(LiveFlow& flow, const StackFd& socket, std::uint64_t most, nanoseconds until);
  void finish(const StackFd& socket);

  Stack& stack_;
  const Network& network_;
  const Scenario& scenario_;
  std::vector<std::unique_ptr<LiveFlow>> flows_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::set<std::string> names_;  // of the flows
  std::vector<Fiber> fibers_;
  std::vector<std::byte> out_ = std::vector<std::byte>(64 << 10);
  std::vector<std::byte> in_ = std::vector<std::byte>(1 << 20);
  StackTime began_{};
  bool ending_ = false;
};

}  // namespace lkm::lab

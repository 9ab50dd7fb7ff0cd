// SPDX-License-Identifier: GPL-2.0
//
// The stack's end of the control socket. All of it runs on fibers of the stack: one that accepts, one
// a connection, and a fresh one for each request. A request that makes the kernel oops takes down its
// own fiber only; the connection's fiber reads the log, answers, and goes on.
//
// A client that hangs up interrupts its running request (Fiber::interrupt): endless ones, such as
// following the log, end that way.
#pragma once

#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/unique_fd.hpp"
#include "toolkit/control/protocol.hpp"

namespace lkm::control {

class Server;

/// A request while it runs.
class Call {
 public:
  [[nodiscard]] const Json& params() const { return request_.params; }
  /// Sends an event; waits while the client is slow.
  /// Errors: EPIPE and the like when the client is gone, EINTR when interrupted: then end the request.
  Result<void> event(const Json& body);
  /// True when the client hung up.
  [[nodiscard]] bool gone() const { return gone_; }
  /// The process at the other end, as it was when it connected.
  [[nodiscard]] Result<pid_t> peer() const;
  /// Runs `action` once the answer is on its way.
  void then(std::function<void()> action) { then_ = std::move(action); }


 private:
  friend class Server;
  Call(Server& server, int socket, Request request)
      : server_(server), socket_(socket), request_(std::move(request)) {}

  Server& server_;
  int socket_;
  Request request_;
  bool gone_ = false;
  std::function<void()> then_;
};

/// Serves one method: its result, or an error that goes to the client as it is.
using Method = std::function<Result<Json>(Call&)>;

class Server {
 public:
  static constexpr std::size_t kMaxConnections = 64;

  /// Listens on `socket` (0600). Errors: as bind(2), ENAMETOOLONG.
  static Result<std::unique_ptr<Server>> listen(Stack& stack, const std::filesystem::path& socket);

  /// What goes with the answer: kKernelLog sends what the kernel logged meanwhile, as events
  /// {"log":{…}} (kernel_log.hpp) before it. For methods that can make the kernel complain.
  enum class With { kNothing, kKernelLog };
  void add(const std::string& name, Method method, With with = With::kNothing);

  /// Is told of each request that was answered well, before its answer is sent.
  void on_done(std::function<void(const std::string& method, const Json& params, const Json& result)> done) {
    done_ = std::move(done);
  }
  /// Is told of the begin and the end of each request.
  void on_request(std::function<void(const std::string& method, bool begins)> request) { request_ = std::move(request); }
  /// A request that no client makes. On a fiber of its own. Errors: the method's.
  Result<Json> call(const std::string& method, Json params);

  /// Starts to accept. Only on a fiber.
  Result<void> start();
  /// Closes all connections, interrupts what runs, and waits up to a second for its end.
  void stop();

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

 private:
  friend class Call;
  struct Entry {
    Method method;
    With with;
  };
  struct Operation;
  Server(Stack& stack, UniqueFd listener, UniqueFd ended)
      : stack_(stack), listener_(std::move(listener)), ended_(std::move(ended)) {}

  void accept_all();
  Result<void> adopt(UniqueFd socket);
  void serve(int socket);
  Result<void> serve_request(int socket, Request request);
  Result<Json> run(const std::shared_ptr<Operation>& operation, const Method& method);
  Result<void> send(int socket, std::string_view bytes);

  Stack& stack_;
  UniqueFd listener_;
  UniqueFd ended_;  // eventfd: one for each fiber of ours that ended
  std::map<std::string, Entry> methods_;
  std::function<void(const std::string& method, const Json& params, const Json& result)> done_;
  std::function<void(const std::string& method, bool begins)> request_;
  std::list<UniqueFd> connections_;
  unsigned fibers_ = 0;  // the accepting one and those of connections
  bool stopping_ = false;
};

}  // namespace lkm::control

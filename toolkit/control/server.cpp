// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/server.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <chrono>
#include <cstring>

#include "toolkit/control/kernel_log.hpp"

namespace lkm::control {
namespace {

void signal_event(const UniqueFd& event) {
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then the reader is awake anyway.
  (void)!::write(event.get(), &one, sizeof(one));
}

Result<UniqueFd> make_event() {
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return fail(errno, "make an eventfd");
  return event;
}

// Root may do what the owner may, as everywhere.
bool may_talk(int socket) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return peer.uid == ::geteuid() || peer.uid == 0;
}

}  // namespace

// Owned by the connection's fiber, the request's fiber and the one that joins it. When the request
// oopses, its own reference is never dropped, and this small object stays: what it points to may be
// half-changed.
struct Server::Operation {
  Call call;
  std::optional<Result<Json>> outcome;
  UniqueFd ended;
  FiberEnd end = FiberEnd::kReturned;
};

Result<void> Call::event(const Json& body) {
  if (gone_) return fail(EPIPE, "send to a client that hung up");
  return server_.send(socket_, encode_event(request_.id, body));
}

Result<pid_t> Call::peer() const {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (::getsockopt(socket_, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return fail(errno, "ask who calls");
  return peer.pid;
}

Result<std::unique_ptr<Server>> Server::listen(Stack& stack, const std::filesystem::path& socket) {
  const std::string path = socket;
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) {
    return fail_hint(ENAMETOOLONG, "set XDG_RUNTIME_DIR to a shorter path", "socket '{}'", path);
  }
  path.copy(address.sun_path, path.size());

  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return fail(errno, "make a socket");
  // The mode of the descriptor is that of the file which bind() makes (fs: unix_bind_bsd()).
  if (::fchmod(listener.get(), 0600) != 0) return fail(errno, "chmod a socket");
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return fail(errno, "bind '{}'", path);
  }
  if (::listen(listener.get(), SOMAXCONN) != 0) return fail(errno, "listen on '{}'", path);
  LKM_TRY(UniqueFd ended, make_event());
  return std::unique_ptr<Server>(new Server(stack, std::move(listener), std::move(ended)));
}

Server::~Server() = default;

void Server::add(const std::string& name, Method method, With with) {
  methods_[name] = {std::move(method), with};
}

Result<void> Server::start() {
  ++fibers_;
  auto fiber = stack_.spawn("ctl-accept", [this] {
    accept_all();
    --fibers_;
    signal_event(ended_);
  });
  if (fiber) return {};
  --fibers_;
  return Failure(std::move(fiber).error());
}

// A socket that was shut down is readable and hung up for good, so everyone who waits on one wakes.
void Server::stop() {
  stopping_ = true;
  ::shutdown(listener_.get(), SHUT_RDWR);
  for (const UniqueFd& connection : connections_) ::shutdown(connection.get(), SHUT_RDWR);
  // A request that hangs in the kernel must not keep the stack from ending.
  const StackTime deadline = stack_.now() + std::chrono::seconds(1);
  while (fibers_ > 0) {
    if (!stack_.wait_fd(ended_.get(), POLLIN, deadline)) return;
    std::uint64_t count;
    (void)!::read(ended_.get(), &count, sizeof(count));
  }
}

void Server::accept_all() {
  // accept() of a socket that was shut down says EAGAIN, not EINVAL, when it must not block.
  stack_.prefer_latency();
  while (!stopping_) {
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      (void)adopt(std::move(socket));  // the refused client was told
    } else if (errno == EAGAIN) {
      (void)stack_.wait_fd(listener_.get(), POLLIN);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
      stack_.sleep_for(std::chrono::milliseconds(100));  // until a connection ends
    } else if (errno != ECONNABORTED && errno != EINTR) {
      return;
    }
  }
}

Result<void> Server::adopt(UniqueFd socket) {
  const auto refuse = [&](int error, const char* why) {
    const std::string line =
        encode_error(0, Error(std::error_code(error, std::generic_category()), why));
    (void)!::send(socket.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return fail(error, "{}", why);
  };
  if (!may_talk(socket.get())) return refuse(EPERM, "this stack belongs to another user");
  if (connections_.size() >= kMaxConnections) return refuse(EMFILE, "too many connections");

  const auto place = connections_.insert(connections_.end(), std::move(socket));
  ++fibers_;
  auto fiber = stack_.spawn("ctl-serve", [this, place] {
    serve(place->get());
    connections_.erase(place);
    --fibers_;
    signal_event(ended_);
  });
  if (fiber) return {};
  --fibers_;
  connections_.erase(place);
  return Failure(std::move(fiber).error());
}

void Server::serve(int socket) {
  stack_.prefer_latency();
  LineReader lines;
  std::string chunk(65536, '\0');
  for (;;) {
    auto line = lines.next();
    if (!line) {
      (void)send(socket, encode_error(0, line.error()));
      return;
    }
    if (*line) {
      auto request = parse_request(**line);
      if (!request) {
        (void)send(socket, encode_error(0, request.error()));
        return;
      }
      if (!serve_request(socket, std::move(*request))) return;
      continue;
    }
    const ssize_t got = ::recv(socket, chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (got > 0) {
      lines.feed({chunk.data(), static_cast<std::size_t>(got)});
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      return;
    } else if (auto ready = stack_.wait_fd(socket, POLLIN); !ready) {
      return;
    }
  }
}

Result<void> Server::serve_request(int socket, Request request) {
  const auto entry = methods_.find(request.method);
  if (entry == methods_.end()) {
    return send(socket, encode_error(request.id, fail(ENOSYS, "method '{}'", request.method).value()));
  }
  LKM_TRY(UniqueFd ended, make_event());
  const std::uint64_t id = request.id;
  const auto operation = std::shared_ptr<Operation>(
      new Operation{Call(*this, socket, std::move(request)), {}, std::move(ended)});

  std::optional<KernelLog> log;
  if (entry->second.with == With::kKernelLog) {
    if (auto opened = KernelLog::open(stack_, KernelLog::From::kNow)) log.emplace(std::move(*opened));
  }
  if (request_) request_(entry->first, true);
  const auto outcome = run(operation, entry->second.method);
  if (request_) request_(entry->first, false);
  if (outcome && done_) done_(entry->first, operation->call.params(), *outcome);
  if (log) {
    if (auto records = log->read_available()) {
      for (const LogRecord& record : *records) {
        LKM_CHECK(operation->call.event({{"log", to_json(record)}}));
      }
    }
  }
  LKM_CHECK(send(socket, outcome ? encode_result(id, *outcome) : encode_error(id, outcome.error())));
  if (operation->call.then_) operation->call.then_();
  return {};
}

Result<Json> Server::call(const std::string& method, Json params) {
  const auto entry = methods_.find(method);
  if (entry == methods_.end()) return fail(ENOSYS, "method '{}'", method);
  Call call(*this, -1, {.id = 0, .method = method, .params = std::move(params)});
  return entry->second.method(call);
}

// The connection's fiber has two things to wait for, the end of the request and a hang-up, and
// wait_fd() takes one descriptor: so both go into an epoll set, and a third fiber turns the end into
// an event on a descriptor.
Result<Json> Server::run(const std::shared_ptr<Operation>& operation, const Method& method) {
  const UniqueFd either(::epoll_create1(EPOLL_CLOEXEC));
  if (!either) return fail(errno, "make an epoll set");
  epoll_event hang_up{.events = 0, .data = {.u64 = 0}};  // EPOLLHUP is always reported
  epoll_event end{.events = EPOLLIN, .data = {.u64 = 1}};
  if (::epoll_ctl(either.get(), EPOLL_CTL_ADD, operation->call.socket_, &hang_up) != 0 ||
      ::epoll_ctl(either.get(), EPOLL_CTL_ADD, operation->ended.get(), &end) != 0) {
    return fail(errno, "wait for a request");
  }

  const std::string& name = operation->call.request_.method;
  LKM_TRY(Fiber fiber, stack_.spawn("ctl-" + name, [operation, &method] {
    operation->outcome = method(operation->call);
  }));
  LKM_CHECK(stack_.spawn("ctl-join", [operation, fiber]() mutable {
    operation->end = fiber.join();
    signal_event(operation->ended);
  }));

  for (bool ended = false; !ended;) {
    if (auto ready = stack_.wait_fd(either.get(), POLLIN); !ready) {
      if (ready.error().errno_value() != EINTR) return Failure(std::move(ready).error());
    }
    std::array<epoll_event, 2> events{};
    const int count = ::epoll_wait(either.get(), events.data(), events.size(), 0);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == 1) {
        ended = true;
      } else if (!operation->call.gone_) {
        operation->call.gone_ = true;
        ::epoll_ctl(either.get(), EPOLL_CTL_DEL, operation->call.socket_, nullptr);
        fiber.interrupt();
      }
    }
  }
  if (operation->end == FiberEnd::kOopsed) {
    return fail_hint(EFAULT, "lkm-run log", "the kernel oopsed in '{}'", name);
  }
  return std::move(*operation->outcome);
}

Result<void> Server::send(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      LKM_CHECK(stack_.wait_fd(socket, POLLOUT));
    } else if (errno != EINTR) {
      return fail(errno, "send to a client");
    }
  }
  return {};
}

}  // namespace lkm::control

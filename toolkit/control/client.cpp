// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/client.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <array>

namespace lkm::control {

Result<Client> Client::connect(const StateFolder& folder, std::chrono::milliseconds patience) {
  const std::string start = folder.name() == "default"
                                ? std::string("lkm-run up")
                                : fmt::format("lkm-run up --name {}", folder.name());
  const std::string path = folder.socket();
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) {
    return fail_hint(ENAMETOOLONG, "set XDG_RUNTIME_DIR to a shorter path", "socket '{}'", path);
  }
  path.copy(address.sun_path, path.size());

  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail(errno, "make a socket");
  const timeval limit{.tv_sec = patience.count() / 1000, .tv_usec = patience.count() % 1000 * 1000};
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (::setsockopt(fd.get(), SOL_SOCKET, option, &limit, sizeof(limit)) != 0) {
      return fail(errno, "set a time limit");
    }
  }
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    const int error = errno;
    if (error == ENOENT || error == ECONNREFUSED) {
      return Failure(
          Error({}, fmt::format("no stack named '{}' is up", folder.name())).with_hint(start));
    }
    return fail(error, "connect to '{}'", path);
  }
  return Client(folder.name(), std::move(fd));
}

Result<void> Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    // The server answers a bad request and closes: its answer is worth more than our EPIPE.
    if (sent < 0 && errno == EPIPE) return {};
    if (sent < 0 && errno == EAGAIN) return fail(ETIMEDOUT, "stack '{}' does not listen", name_);
    if (sent < 0) return fail(errno, "send to stack '{}'", name_);
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

Result<bool> Client::receive(int flags) {
  for (;;) {
    std::array<char, 65536> chunk;
    const ssize_t got = ::recv(socket_.get(), chunk.data(), chunk.size(), flags);
    if (got > 0) {
      lines_.feed({chunk.data(), static_cast<std::size_t>(got)});
      return true;
    }
    if (got == 0 || errno == ECONNRESET) {  // reset: it was killed with a request unread
      return fail_hint(ECONNRESET, fmt::format("lkm-run log --name {}", name_),
                       "stack '{}' ended before it answered", name_);
    }
    if (errno == EAGAIN && (flags & MSG_DONTWAIT)) return false;
    if (errno == EAGAIN) return fail(ETIMEDOUT, "stack '{}' does not answer", name_);
    if (errno != EINTR) return fail(errno, "read from stack '{}'", name_);
  }
}

// The result, when the line is one.
Result<std::optional<Json>> Client::take(const std::string& line,
                                         const std::function<void(const Json&)>& on_event) {
  LKM_TRY(Reply reply, parse_reply(line));
  // Id 0 answers what the server could not read as a request.
  if (reply.id != last_id_ && reply.id != 0) {
    return fail(EPROTO, "stack '{}' answered request {} in place of {}", name_, reply.id, last_id_);
  }
  if (reply.kind == Reply::Kind::kError) return Failure(std::move(*reply.error));
  if (reply.kind == Reply::Kind::kResult) return std::move(reply.body);
  if (on_event) on_event(reply.body);
  return std::nullopt;
}

Result<void> Client::start(const std::string& method, Json params) {
  return send(encode_request({++last_id_, method, std::move(params)}));
}

Result<std::optional<Json>> Client::poll(const std::function<void(const Json&)>& on_event) {
  for (;;) {
    LKM_TRY(const auto line, lines_.next());
    if (line) {
      LKM_TRY(auto result, take(*line, on_event));
      if (result) return result;
      continue;
    }
    LKM_TRY(const bool more, receive(MSG_DONTWAIT));
    if (!more) return std::nullopt;
  }
}

Result<Json> Client::call(const std::string& method, Json params,
                          const std::function<void(const Json&)>& on_event) {
  LKM_CHECK(start(method, std::move(params)));
  for (;;) {
    LKM_TRY(auto result, poll(on_event));
    if (result) return std::move(*result);
    LKM_CHECK(receive(0));
  }
}

}  // namespace lkm::control

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

Result<std::string> Client::read_line() {
  for (;;) {
    LKM_TRY(auto line, lines_.next());
    if (line) return std::move(*line);
    std::array<char, 65536> chunk;
    const ssize_t got = ::read(socket_.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return fail(ETIMEDOUT, "stack '{}' does not answer", name_);
    if (got < 0) return fail(errno, "read from stack '{}'", name_);
    if (got == 0) {
      return fail_hint(ECONNRESET, fmt::format("lkm-run log --name {}", name_),
                       "stack '{}' ended before it answered", name_);
    }
    lines_.feed({chunk.data(), static_cast<std::size_t>(got)});
  }
}

Result<Json> Client::call(const std::string& method, Json params,
                          const std::function<void(const Json&)>& on_event) {
  const std::uint64_t id = ++last_id_;
  LKM_CHECK(send(encode_request({id, method, std::move(params)})));
  for (;;) {
    LKM_TRY(std::string line, read_line());
    LKM_TRY(Reply reply, parse_reply(line));
    // Id 0 answers what the server could not read as a request.
    if (reply.id != id && reply.id != 0) {
      return fail(EPROTO, "stack '{}' answered request {} in place of {}", name_, reply.id, id);
    }
    switch (reply.kind) {
      case Reply::Kind::kEvent:
        if (on_event) on_event(reply.body);
        break;
      case Reply::Kind::kResult:
        return std::move(reply.body);
      case Reply::Kind::kError:
        return Failure(std::move(*reply.error));
    }
  }
}

}  // namespace lkm::control

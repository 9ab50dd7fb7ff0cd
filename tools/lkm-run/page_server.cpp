// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/page_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

namespace lkm::cli {
namespace {

constexpr std::size_t kLongestRequest = 8192;
constexpr std::size_t kMostVisitors = 64;

/// 128 bits, so that no other user of the machine, and no page of another origin, can guess it.
Result<std::string> make_token() {
  std::array<unsigned char, 16> bytes;
  if (::getrandom(bytes.data(), bytes.size(), 0) != ssize_t(bytes.size())) return fail(errno, "make a token");
  std::string token;
  for (const unsigned char byte : bytes) token += fmt::format("{:02x}", byte);
  return token;
}

std::string response(std::string_view status, std::string_view type, std::string_view body) {
  // What is served runs its own scripts and asks this server, and nothing else.
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n"
      "Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
      "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
      "Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{}",
      status, type, body.size(), body);
}

}  // namespace

Result<std::unique_ptr<PageServer>> PageServer::start() {
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return fail(errno, "make a socket for the page");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), raw, length) != 0 || ::listen(listener.get(), 16) != 0 ||
      ::getsockname(listener.get(), raw, &length) != 0)
    return fail(errno, "listen on the loopback address");
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail(errno, "make an eventfd");
  LKM_TRY(std::string token, make_token());
  std::string url = fmt::format("http://127.0.0.1:{}/{}/", ntohs(address.sin_port), token);
  std::unique_ptr<PageServer> server(
      new PageServer(std::move(listener), std::move(wake), std::move(token), std::move(url)));
  server->thread_ = std::jthread([raw_server = server.get()](const std::stop_token& stop) { raw_server->serve(stop); });
  return server;
}

PageServer::~PageServer() {
  thread_.request_stop();
  wake();
}

void PageServer::put(const std::string& path, const std::string& type, std::string body) {
  const std::lock_guard lock(mutex_);
  resources_.insert_or_assign(path, Resource{type, std::move(body)});
}

void PageServer::announce() {
  {
    const std::lock_guard lock(mutex_);
    ++announcements_;
  }
  wake();
}

void PageServer::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
}

void PageServer::serve(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::vector<pollfd> fds = {{wake_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (const Visitor& visitor : visitors_)
      fds.push_back({visitor.fd.get(), short(visitor.out.empty() ? POLLIN : POLLIN | POLLOUT), 0});
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;  // a signal
    std::uint64_t count = 0;
    if (fds[0].revents != 0) [[maybe_unused]] const auto got = ::read(wake_.get(), &count, sizeof count);
    std::size_t i = 2;
    std::erase_if(visitors_, [&](Visitor& visitor) { return !attend(visitor, fds[i++].revents); });
    if (fds[1].revents != 0) welcome();
  }
}

void PageServer::welcome() {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  // One that sends nothing and stays makes room for the next in the end.
  if (fd && visitors_.size() >= kMostVisitors) visitors_.erase(visitors_.begin());
  if (fd) visitors_.push_back({std::move(fd), {}, {}});
}

bool PageServer::attend(Visitor& visitor, short events) {
  if ((events & (POLLERR | POLLNVAL)) != 0) return false;
  if ((events & (POLLIN | POLLHUP)) != 0) {
    std::array<char, 4096> bytes;
    const ssize_t got = ::read(visitor.fd.get(), bytes.data(), bytes.size());
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
    // What comes behind the request is of no interest.
    if (got > 0 && !visitor.listens && !visitor.ends) {
      visitor.in.append(bytes.data(), std::size_t(got));
      answer(visitor);
    }
  }
  if (visitor.listens) {
    const std::lock_guard lock(mutex_);
    if (visitor.heard != announcements_) visitor.out += fmt::format("data: {}\n\n", announcements_);
    visitor.heard = announcements_;
  }
  if (!visitor.out.empty()) {
    const ssize_t sent = ::send(visitor.fd.get(), visitor.out.data(), visitor.out.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (sent > 0) visitor.out.erase(0, std::size_t(sent));
  }
  return !(visitor.ends && visitor.out.empty());
}

void PageServer::answer(Visitor& visitor) {
  const auto refuse = [&](std::string_view status) {
    visitor.out = response(status, "text/plain", status);
    visitor.ends = true;
  };
  if (visitor.in.find("\r\n\r\n") == std::string::npos) {
    if (visitor.in.size() > kLongestRequest) refuse("431 Request Header Fields Too Large");
    return;
  }
  const std::string_view line = std::string_view(visitor.in).substr(0, visitor.in.find("\r\n"));
  const auto method_end = line.find(' ');
  const auto path_end = line.rfind(' ');
  if (method_end == std::string_view::npos || path_end <= method_end || !line.ends_with(" HTTP/1.1"))
    return refuse("400 Bad Request");
  if (line.substr(0, method_end) != "GET") return refuse("405 Method Not Allowed");
  const std::string_view path = line.substr(method_end + 1, path_end - method_end - 1);
  const std::string home = "/" + token_ + "/";
  if (!path.starts_with(home)) return refuse("404 Not Found");
  const std::string name(path.substr(home.size()));
  if (name == "events") {
    visitor.out = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n";
    visitor.listens = true;
    return;
  }
  const std::lock_guard lock(mutex_);
  const auto found = resources_.find(name);
  if (found == resources_.end()) return refuse("404 Not Found");
  visitor.out = response("200 OK", found->second.type, found->second.body);
  visitor.ends = true;
}

}  // namespace lkm::cli

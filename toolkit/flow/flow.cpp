// SPDX-License-Identifier: GPL-2.0
#include "toolkit/flow/flow.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>

namespace lkm {
namespace {

constexpr std::size_t kReceiveBuffer = 256 << 10;

Result<void> check(const FlowSpec& spec) {
  if (spec.kind == FlowKind::kRequests && (spec.request_bytes == 0 || spec.response_bytes == 0))
    return fail(EINVAL, "a request and its response must have at least one byte");
  if (spec.kind == FlowKind::kRequests && spec.bytes != 0)
    return fail(EINVAL, "a requests flow is limited by 'requests', not by 'bytes'");
  if (spec.kind == FlowKind::kBulk && spec.requests != 0)
    return fail(EINVAL, "a bulk flow is limited by 'bytes', not by 'requests'");
  if (spec.duration.count() < 0 || spec.interval.count() < 0)
    return fail(EINVAL, "a flow's times must not be negative");
  return {};
}

}  // namespace

Flow::Flow(Private, Stack& stack, FlowSpec spec, Connection connection, StackFd ended)
    : stack_(stack),
      spec_(std::move(spec)),
      ended_(std::move(ended)),
      forth_(spec_.seed),
      back_(~spec_.seed) {
  client_.socket = std::move(connection.client);
  server_.socket = std::move(connection.server);
  server_name_ = connection.address.str();
  started_ = last_arrival_ = stack_.now();
  if (spec_.duration.count() > 0) send_until_ = started_ + spec_.duration;
}

Result<std::shared_ptr<Flow>> Flow::start(Stack& stack, FlowSpec spec) {
  LKM_CHECK(check(spec));
  LKM_TRY(Connection connection, connect_route(stack, spec.route));
  const long ended = stack.syscall(SYS_eventfd2, 0, 0);
  if (ended < 0) return fail(static_cast<int>(-ended), "eventfd of a flow");
  auto flow = std::make_shared<Flow>(Private{}, stack, std::move(spec), std::move(connection),
                                     StackFd(stack, static_cast<int>(ended)));
  look(flow->client_);
  look(flow->server_);
  const bool bulk = flow->spec_.kind == FlowKind::kBulk;
  LKM_CHECK(flow->launch(flow->server_, "flow-server",
                         bulk ? &Flow::receive_bulk : &Flow::serve_requests));
  if (auto launched = flow->launch(flow->client_, "flow-client",
                                   bulk ? &Flow::send_bulk : &Flow::send_requests);
      !launched) {
    flow->abort();
    return Failure(std::move(launched).error());
  }
  return flow;
}

// The fiber holds the flow until it ends.
Result<void> Flow::launch(End& end, const char* name, Body body) {
  ++running_;
  auto fiber =
      stack_.spawn(name, [self = shared_from_this(), &end, body] { self->run(end, body); });
  if (!fiber) {
    --running_;
    return Failure(std::move(fiber).error());
  }
  end.fiber = std::move(*fiber);
  return {};
}

void Flow::run(End& end, Body body) {
  // The socket is in the netns already; with its task there too, /proc/PID/net shows that netns.
  auto outcome =
      stack_.netns_enter(&end == &client_ ? spec_.route.client : spec_.route.server).and_then([&] {
        return (this->*body)();
      });
  look(end);
  end.socket.reset();
  if (!outcome && !error_) {
    error_ = std::move(outcome).error();
    abort();  // the other end would wait for bytes that never come
  }
  if (--running_ > 0) return;
  const std::uint64_t one = 1;
  ended_.call(SYS_write, &one, sizeof one);
}

void Flow::look(End& end) {
  if (!end.socket) return;
  if (auto control = tcp_control(end.socket); !control.empty()) end.control = std::move(control);
  if (auto tcp = tcp_state(end.socket)) end.tcp = std::move(tcp);
}

// -- what a person asks for
// -------------------------------------------------------------------------

void Flow::stop() {
  stopping_ = true;
  if (client_.socket) client_.fiber.interrupt();
}

void Flow::abort() {
  aborting_ = true;
  for (End* end : {&client_, &server_})
    if (end->socket && end->fiber) end->fiber.interrupt();
}

bool Flow::wait(StackTime deadline) {
  return poll_stack(stack_, ended_.get(), POLLIN, deadline) > 0;
}

FlowReport Flow::report() {
  look(client_);
  look(server_);
  FlowReport out;
  out.spec = spec_;
  out.server = server_name_;
  out.client_pid = client_.fiber.pid();
  out.server_pid = server_.fiber.pid();
  out.bytes_sent = forth_.bytes_sent() + back_.bytes_sent();
  out.bytes_received = forth_.bytes_received() + back_.bytes_received();
  out.bytes_verified = forth_.bytes_verified() + back_.bytes_verified();
  out.mismatch_at = forth_.mismatch() ? forth_.mismatch() : back_.mismatch();
  out.checksum_sent = forth_.checksum_sent();
  out.checksum_received = forth_.checksum_received();
  out.requests = requests_;
  out.elapsed = (running_ > 0 ? stack_.now() : last_arrival_) - started_;
  if (out.elapsed.count() > 0)
    out.rate =
        static_cast<double>(out.bytes_received) * 8e9 / static_cast<double>(out.elapsed.count());
  out.gaps = {.count = gaps_.count(),
              .p50 = gaps_.quantile(0.5),
              .p99 = gaps_.quantile(0.99),
              .max = gaps_.max(),
              .max_at = longest_at_};
  out.client_control = client_.control;
  out.server_control = server_.control;
  out.tcp = client_.tcp;

  if (error_)
    out.error = error_->message();
  else if (out.mismatch_at)
    out.error = fmt::format("byte {} of the stream differs", *out.mismatch_at);
  else if (running_ == 0 && !(forth_.intact() && back_.intact()))
    out.error =
        fmt::format("{} bytes were sent, {} arrived, checksums {:016x} and {:016x}", out.bytes_sent,
                    out.bytes_received, out.checksum_sent, out.checksum_received);
  if (running_ == 0) out.state = out.error.empty() ? FlowState::kDone : FlowState::kFailed;
  return out;
}

// -- the two ends
// -----------------------------------------------------------------------------------

bool Flow::may_send() const { return !stopping_ && !aborting_ && stack_.now() < send_until_; }

Result<void> Flow::send_bulk() {
  while (may_send()) {
    const std::uint64_t left = spec_.bytes == 0 ? UINT64_MAX : spec_.bytes - forth_.bytes_sent();
    if (left == 0) break;
    LKM_CHECK(send_some(client_, forth_, left));
  }
  return finish_sending();
}

Result<void> Flow::receive_bulk() {
  std::vector<std::byte> buffer(kReceiveBuffer);
  for (;;) {
    LKM_TRY(const std::size_t got, receive(server_, forth_, buffer));
    if (got == 0) return {};
    const bool first = forth_.bytes_received() == got;
    const StackTime now = stack_.now();
    if (!first) record(last_arrival_, now);
    last_arrival_ = now;
  }
}

Result<void> Flow::send_requests() {
  std::vector<std::byte> buffer(kReceiveBuffer);
  while (may_send() && (spec_.requests == 0 || requests_ < spec_.requests)) {
    const StackTime sent = stack_.now();
    LKM_CHECK(send_all(client_, forth_, spec_.request_bytes));
    LKM_TRY(const bool whole, receive_all(client_, back_, spec_.response_bytes, buffer));
    if (!whole) return fail(ECONNRESET, "the server hung up within response {}", requests_);
    ++requests_;
    last_arrival_ = stack_.now();
    record(sent, last_arrival_);
    if (spec_.interval.count() > 0)  // no events: sleeps, until the next request or stop()
      poll_stack(stack_, client_.socket.get(), 0, last_arrival_ + spec_.interval);
  }
  return finish_sending();
}

Result<void> Flow::serve_requests() {
  std::vector<std::byte> buffer(kReceiveBuffer);
  for (;;) {
    LKM_TRY(const bool whole, receive_all(server_, forth_, spec_.request_bytes, buffer));
    if (!whole) return {};
    LKM_CHECK(send_all(server_, back_, spec_.response_bytes));
  }
}

// Says that no more will come, and waits until the server has read it all and closed.
Result<void> Flow::finish_sending() {
  const long shut = client_.socket.call(SYS_shutdown, SHUT_WR);
  if (shut < 0)
    return fail(static_cast<int>(-shut), "shutdown after {} bytes", forth_.bytes_sent());
  std::byte extra[1];
  LKM_TRY(const std::size_t got, receive(client_, back_, extra));
  if (got != 0) return fail(EPROTO, "the server sent more than it was asked for");
  return {};
}

// -- bytes
// ------------------------------------------------------------------------------------------

// Sends what the socket takes of the next `most` bytes; nothing when the flow may send no more.
Result<void> Flow::send_some(End& end, VerifiedStream& stream, std::uint64_t most) {
  while (may_send()) {
    const auto bytes = stream.outgoing(most);
    const long sent = end.socket.call(SYS_sendto, bytes.data(), bytes.size(),
                                      MSG_NOSIGNAL | MSG_DONTWAIT, nullptr, 0);
    if (sent >= 0) {
      stream.sent(static_cast<std::size_t>(sent));
      return {};
    }
    if (sent != -EAGAIN && sent != -EINTR)
      return fail(static_cast<int>(-sent), "send after {} bytes", stream.bytes_sent());
    poll_stack(stack_, end.socket.get(), POLLOUT, send_until_);
  }
  return {};
}

// Sends all of the next `count` bytes, whatever it takes, but for abort().
Result<void> Flow::send_all(End& end, VerifiedStream& stream, std::uint64_t count) {
  while (count > 0) {
    if (aborting_) return fail(ECANCELED, "flow aborted");
    const auto bytes = stream.outgoing(count);
    const long sent =
        end.socket.call(SYS_sendto, bytes.data(), bytes.size(), MSG_NOSIGNAL, nullptr, 0);
    if (sent == -EINTR) continue;
    if (sent < 0) return fail(static_cast<int>(-sent), "send after {} bytes", stream.bytes_sent());
    stream.sent(static_cast<std::size_t>(sent));
    count -= static_cast<std::uint64_t>(sent);
  }
  return {};
}

// Waits for data and checks it. 0 at the stream's end.
Result<std::size_t> Flow::receive(End& end, VerifiedStream& stream, std::span<std::byte> buffer) {
  for (;;) {
    if (aborting_) return fail(ECANCELED, "flow aborted");
    const long got =
        end.socket.call(SYS_recvfrom, buffer.data(), buffer.size(), 0, nullptr, nullptr);
    if (got == -EINTR) continue;
    // An association of SCTP has no half-open end: after a shutdown and the peer's there is none.
    if (got == -ENOTCONN && spec_.route.transport == Transport::kSctp) return 0;
    if (got < 0)
      return fail(static_cast<int>(-got), "receive after {} bytes", stream.bytes_received());
    stream.received(buffer.first(static_cast<std::size_t>(got)));
    return static_cast<std::size_t>(got);
  }
}

// Receives `count` bytes. False when the stream ended in front of the first.
Result<bool> Flow::receive_all(End& end, VerifiedStream& stream, std::uint64_t count,
                               std::span<std::byte> buffer) {
  for (std::uint64_t left = count; left > 0;) {
    LKM_TRY(const std::size_t got,
            receive(end, stream, buffer.first(std::min<std::uint64_t>(left, buffer.size()))));
    if (got == 0 && left == count) return false;
    if (got == 0) return fail(ECONNRESET, "end of the stream {} bytes early", left);
    left -= got;
  }
  return true;
}

void Flow::record(StackTime from, StackTime to) {
  if (to - from > gaps_.max()) longest_at_ = to;
  gaps_.record(to - from);
}

}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/programs.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "toolkit/exec/thread.hpp"

namespace lkm::exec {
namespace {

using namespace std::chrono_literals;

constexpr auto kLookEvery = 10ms;
constexpr unsigned kMirrored = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
constexpr rlim_t kStackFiles = 1 << 20;  // sockets of the stack, all programs together

// What an event of `ends_` is about: the inode of a placeholder, or a process.
constexpr std::uint64_t kIsProcess = std::uint64_t{1} << 63;

/// Whether it is a stream with another end.
bool connected(const Socket& socket) {
  int type = 0;
  socklen_t size = sizeof(type);
  sockaddr_storage peer{};
  socklen_t peer_size = sizeof(peer);
  socket.fd.call(SYS_getsockopt, SOL_SOCKET, SO_TYPE, &type, &size);
  return type == SOCK_STREAM && socket.fd.call(SYS_getpeername, &peer, &peer_size) == 0;
}

Result<void> add_end(const UniqueFd& set, int fd, std::uint32_t events, std::uint64_t about) {
  epoll_event event{.events = events, .data = {.u64 = about}};
  if (::epoll_ctl(set.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
  return fail(errno, "watch over a program");
}

}  // namespace

Result<std::unique_ptr<Programs>> Programs::start(Stack& stack) {
  // Each call under way holds a descriptor of the host, and each socket one of the host and one of the stack.
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  const rlimit stack_files{.rlim_cur = kStackFiles, .rlim_max = kStackFiles};
  stack.syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &stack_files, nullptr);

  UniqueFd ends(::epoll_create1(EPOLL_CLOEXEC));
  if (!ends) return fail(errno, "make an epoll set");
  const long readiness = stack.syscall(SYS_epoll_create1, 0);
  if (readiness < 0) return fail(int(-readiness), "make an epoll set in the stack");
  StackFd set(stack, int(readiness));
  LKM_TRY(auto tally, SharedArray<std::uint32_t>::make(kStackFiles));
  auto programs =
      std::unique_ptr<Programs>(new Programs(stack, std::move(ends), std::move(set), std::move(tally)));
  Programs& self = *programs;
  stack.at_resume([&self] {
    self.resumed_ = true;
    self.house_.unpark();
  });
  LKM_CHECK(stack.watch_fd(self.ends_.get(), [&self] { self.house_.unpark(); }));
  LKM_TRY(self.house_, stack.spawn("exec", [&self] { self.keep_house(); }));
  LKM_TRY(self.mirror_, stack.spawn("exec-mirror", [&self] { self.mirror(); }));
  return programs;
}

Programs::~Programs() {
  stopping_ = true;
  stack_.at_resume({});
  stack_.unwatch_fd(ends_.get());
  for (const auto& session : sessions_) stack_.unwatch_fd(session->notifications.fd());
  for (const auto& [tid, thread] : threads_) thread->end();
  // What hangs in the kernel must not keep the stack from ending.
  const StackTime deadline = stack_.now() + 1s;
  while (stack_.now() < deadline && !std::ranges::all_of(threads_, [](const auto& entry) {
    return entry.second->done();
  })) {
    stack_.sleep_for(1ms);
  }
  for (Fiber* fiber : {&house_, &mirror_}) {
    if (!*fiber) continue;
    fiber->unpark();
    fiber->interrupt();
    fiber->join();
  }
}

Result<void> Programs::attach(UniqueFd listener, const std::string& netns) {
  LKM_TRY(const int number, stack_.netns_fd(netns));
  StackFd space(stack_, number);
  LKM_TRY(auto notifications, Notifications::make(std::move(listener)));
  auto session = std::make_shared<Session>(std::move(notifications), std::move(space));
  LKM_CHECK(stack_.watch_fd(session->notifications.fd(), [this, session] { deliver(session); }));
  sessions_.push_back(std::move(session));
  return {};
}

/// Between fibers.
void Programs::deliver(const std::shared_ptr<Session>& session) {
  seccomp_notif call;
  for (;;) {
    switch (session->notifications.receive(call)) {
      case Notifications::News::kNone: return;
      case Notifications::News::kEnd:
        stack_.unwatch_fd(session->notifications.fd());
        session->ended = true;  // the fiber lets go of it: that closes a descriptor of the stack
        house_.unpark();
        return;
      case Notifications::News::kCall: break;
    }
    give(session, call);
  }
}

void Programs::give(const std::shared_ptr<Session>& session, const seccomp_notif& call) {
  const auto found = threads_.find(pid_t(call.pid));
  if (found != threads_.end()) {
    found->second->give(call);
  } else {
    new_calls_.push_back({session, call});
    house_.unpark();
  }
}

void Programs::keep_house() {
  stack_.prefer_latency();
  while (!stopping_) {
    if (std::exchange(resumed_, false)) go_on_from_snapshot();
    std::erase_if(sessions_, [](const auto& session) { return session->ended; });
    bury();
    admit_new_threads();
    if (looking_) look_after_calls();
    stack_.park(looking_ ? stack_.now() + kLookEvery : kForever);
  }
}

void Programs::admit_new_threads() {
  for (NewCall& news : std::exchange(new_calls_, {})) {
    const auto tid = pid_t(news.call.pid);
    const auto known = threads_.find(tid);
    if (known != threads_.end()) {  // two calls, the first of which was interrupted before we came here
      known->second->give(news.call);
      continue;
    }
    const auto admit = [&]() -> Result<void> {
      LKM_TRY(auto process, Process::of_thread(tid));
      auto& kept = processes_[process->pid()];
      if (!kept) {
        LKM_CHECK(add_end(ends_, process->fd(), EPOLLIN | EPOLLONESHOT, kIsProcess | unsigned(process->pid())));
        kept = process;
      }
      // Threads end without a word; now is the time to look.
      std::erase_if(threads_, [&](const auto& entry) {
        Thread& thread = *entry.second;
        const bool gone = thread.pid() == kept->pid() && !thread.busy() &&
                          ::syscall(SYS_tgkill, thread.pid(), thread.tid(), 0) != 0;
        if (gone) thread.end();
        return gone;
      });
      auto thread = std::make_shared<Thread>(*this, news.session, kept, tid);
      thread->give(news.call);
      LKM_CHECK(thread->start());
      threads_.emplace(tid, std::move(thread));
      return {};
    };
    if (auto admitted = admit(); !admitted) {
      news.session->notifications.answer(news.call.id, -admitted.error().errno_value());
    }
  }
}

/// Takes leave of placeholders that were closed everywhere, and of processes that ended.
void Programs::bury() {
  std::array<epoll_event, 64> events;
  int count = 0;
  while ((count = ::epoll_wait(ends_.get(), events.data(), events.size(), 0)) > 0) {
    for (int i = 0; i < count; ++i) {
      const std::uint64_t about = events[std::size_t(i)].data.u64;
      if ((about & kIsProcess) != 0) {
        const auto pid = pid_t(about & ~kIsProcess);
        bury_threads_of(pid);
        processes_.erase(pid);
        continue;
      }
      if (const auto relayed = relays_.find(about); relayed != relays_.end()) {
        relayed->second.relay->hang_up();
        relays_.erase(relayed);
        continue;
      }
      const auto found = sockets_.find(about);
      if (found == sockets_.end() || !found->second->placeholder.closed(events[std::size_t(i)].events)) continue;
      release(*found->second);
      sockets_.erase(found);
    }
  }
}

void Programs::release(Socket& socket) {
  for (const auto& [process, number] : socket.places) {
    if (const auto there = process.lock()) there->released(number);
  }
}

void Programs::count(Socket& socket) { tally_[socket.tally] = ++socket.calls; }

void Programs::go_on_from_snapshot() {
  std::erase_if(sockets_, [&](const auto& entry) {
    Socket& socket = *entry.second;
    // The process that died took the news of it with it.
    if (!socket.placeholder.closed()) return false;
    release(socket);
    return true;
  });
  for (const auto& [inode, socket] : sockets_) {
    socket->placeholder.look_again();
    pollfd ready{.fd = socket->fd.get(), .events = POLLIN | POLLOUT | POLLRDHUP, .revents = 0};
    if (std::exchange(socket->calls, tally_[socket->tally]) != tally_[socket->tally] && connected(*socket)) {
      const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
      socket->fd.call(SYS_connect, &nobody, sizeof(nobody));  // a TCP socket sends a reset
      ready.revents = POLLIN | POLLOUT | POLLRDHUP | POLLHUP;
    } else {
      stack_.syscall(SYS_poll, &ready, 1, 0);
    }
    socket->placeholder.raise(unsigned(ready.revents));
  }
  for (const auto& session : sessions_) {
    for (const seccomp_notif& call : session->notifications.take_over()) give(session, call);
  }
}

void Programs::bury_threads_of(pid_t pid) {
  std::erase_if(threads_, [pid](const auto& entry) {
    if (entry.second->pid() != pid) return false;
    entry.second->end();
    return true;
  });
}

void Programs::begins(Thread&) {
  ++busy_;
  if (looking_) return;
  looking_ = true;
  house_.unpark();
}

void Programs::ends(Thread&) { --busy_; }

void Programs::look_after_calls() {
  const StackTime now = stack_.now();
  std::erase_if(threads_, [&](const auto& entry) {
    Thread& thread = *entry.second;
    if (thread.done()) {  // of an oops
      if (thread.busy()) {
        thread.answer_for_the_dead();
        --busy_;
      }
      return true;
    }
    thread.look_after(now);
    return false;
  });
  looking_ = busy_ > 0;
}

Found Programs::find(std::uint64_t inode) const {
  if (const auto found = sockets_.find(inode); found != sockets_.end()) return {found->second, false};
  if (const auto found = relays_.find(inode); found != relays_.end()) return {found->second.socket, true};
  return {};
}

Result<UniqueFd> Programs::relay(const std::shared_ptr<Socket>& socket) {
  // One is there for standard input already, and now comes standard output.
  if (const auto process = socket->relay_place.first.lock(); process && relays_.contains(socket->relay)) {
    auto end = process->borrow(socket->relay_place.second);
    if (end && socket_inode(end->get()) == socket->relay) return end;
  }
  LKM_TRY(auto started, Relay::start(stack_, socket));
  auto& [relay, end] = started;
  LKM_CHECK(add_end(ends_, relay->fd(), EPOLLET, relay->inode()));
  socket->relay = relay->inode();
  relays_.emplace(relay->inode(), Relayed{relay, socket});
  return std::move(end);
}

Result<std::pair<std::shared_ptr<Socket>, UniqueFd>> Programs::adopt(StackFd fd, bool nonblocking) {
  LKM_TRY(auto pair, Placeholder::make());
  auto& [placeholder, end] = pair;
  if (nonblocking) ::fcntl(end.get(), F_SETFL, O_NONBLOCK);
  const std::uint64_t inode = placeholder.inode();
  LKM_CHECK(add_end(ends_, placeholder.fd(), EPOLLET, inode));
  auto socket = std::make_shared<Socket>(Socket{
      .fd = std::move(fd), .placeholder = std::move(placeholder), .nonblocking = nonblocking, .places = {}, .relay_place = {}});
  socket->tally = next_tally_++ % tally_.size();
  tally_[socket->tally] = 0;
  epoll_event event{.events = kMirrored | EPOLLET, .data = {.u64 = inode}};
  if (const long error = readiness_.call(SYS_epoll_ctl, EPOLL_CTL_ADD, socket->fd.get(), &event); error < 0) {
    return fail(int(-error), "watch a socket of the stack");
  }
  sockets_.emplace(inode, socket);
  show(*socket, end.get());
  return std::pair(std::move(socket), std::move(end));
}

void Programs::show(Socket& socket, int program_end) const {
  pollfd ready{.fd = socket.fd.get(), .events = POLLIN | POLLOUT | POLLRDHUP, .revents = 0};
  stack_.syscall(SYS_poll, &ready, 1, 0);
  socket.placeholder.show(unsigned(ready.revents), program_end);
}

/// What becomes ready outside of any call.
void Programs::mirror() {
  stack_.prefer_latency();
  std::array<epoll_event, 64> events;
  while (!stopping_) {
    const long count = readiness_.call(SYS_epoll_wait, events.data(), events.size(), -1);
    for (long i = 0; i < count; ++i) {
      const auto socket = find(events[std::size_t(i)].data.u64).socket;
      if (!socket) continue;
      unsigned ready = events[std::size_t(i)].events;
      // Who waits inside a call for the same takes it, and shows what is left.
      if (socket->receiving > 0 && (ready & EPOLLRDHUP) == 0) ready &= ~unsigned(EPOLLIN);
      if (socket->sending > 0) ready &= ~unsigned(EPOLLOUT);
      if ((ready & EPOLLIN) != 0 && std::exchange(socket->edge_due, false)) socket->placeholder.raise_edge();
      socket->placeholder.raise(ready);
    }
  }
}

}  // namespace lkm::exec

// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/programs.hpp"

#include <fcntl.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "toolkit/exec/filter.hpp"
#include "toolkit/exec/thread.hpp"

namespace lkm::exec {
namespace {

using namespace std::chrono_literals;

constexpr auto kLookEvery = 10ms;
constexpr unsigned kMirrored = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI;
/// That there is room in a connection is no news until there was none.
constexpr unsigned kOfConnection = EPOLLIN | EPOLLRDHUP | EPOLLPRI;
constexpr unsigned kOfPair = EPOLLIN | EPOLLRDHUP | EPOLLET;
/// That there is room tells that the program has read what was put there.
constexpr unsigned kOfCarrier = kOfPair | EPOLLOUT;

// What news of the host are about, if no placeholder.
constexpr std::uint64_t kIsProcess = std::uint64_t{1} << 63;

std::optional<int> netlink_protocol(const StackFd& socket) {
  int domain = 0, protocol = 0;
  socklen_t size = sizeof domain;
  socket.call(SYS_getsockopt, SOL_SOCKET, SO_DOMAIN, &domain, &size);
  if (domain != AF_NETLINK) return std::nullopt;
  socket.call(SYS_getsockopt, SOL_SOCKET, SO_PROTOCOL, &protocol, &size);
  return protocol;
}

/// Whether it is a stream with another end.
bool connected(const Socket& socket) {
  sockaddr_storage peer{};
  socklen_t peer_size = sizeof(peer);
  return type_of(socket.fd) == SOCK_STREAM && socket.fd.call(SYS_getpeername, &peer, &peer_size) == 0;
}

/// A connection is reset.
void disconnect(const Socket& socket) {
  const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  socket.fd.call(SYS_connect, &nobody, sizeof(nobody));
}

}  // namespace

Result<std::unique_ptr<Programs>> Programs::start(Stack& stack, std::filesystem::path netns_folder) {
  // Each call under way holds a descriptor of the host, and each socket one of the host and one of
  // the stack.
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);

  const long readiness = stack.syscall(SYS_epoll_create1, 0);
  if (readiness < 0) return fail(int(-readiness), "make an epoll set in the stack");
  StackFd set(stack, int(readiness));
  LKM_TRY(auto tally, SharedArray<std::uint32_t>::make(kStackDescriptors));
  auto programs = std::unique_ptr<Programs>(
      new Programs(stack, std::move(netns_folder), std::move(set), std::move(tally)));
  Programs& self = *programs;
  stack.at_resume([&self] {
    self.resumed_ = true;
    self.house_.unpark();
  });
  LKM_TRY(self.house_, stack.spawn("exec", [&self] { self.keep_house(); }));
  LKM_TRY(self.mirror_, stack.spawn("exec-mirror", [&self] { self.mirror(); }));
  LKM_TRY(self.time_, stack.spawn("exec-time", [&self] { self.keep_time(); }));
  return programs;
}

Programs::~Programs() {
  stopping_ = true;
  // As of a machine that is shut down: a server without a network would ask for it over and over.
  for (const auto& [pid, process] : processes_) {
    if (process) ::syscall(SYS_pidfd_send_signal, process->fd(), SIGTERM, nullptr, 0);
  }
  stack_.at_resume({});
  for (const auto& [inode, socket] : sockets_) unwatch(socket->placeholder);
  for (const auto& [pid, process] : processes_) {
    if (process) stack_.unwatch_fd(process->fd());
  }
  for (const auto& session : sessions_) stack_.unwatch_fd(session->notifications.fd());
  for (const auto& [tid, thread] : threads_) thread->end();
  // What hangs in the kernel must not keep the stack from ending.
  const StackTime deadline = stack_.now() + 1s;
  while (stack_.now() < deadline &&
         !std::ranges::all_of(threads_, [](const auto& entry) { return entry.second->done(); })) {
    stack_.sleep_for(1ms);
  }
  for (Fiber* fiber : {&house_, &mirror_, &time_}) {
    if (!*fiber) continue;
    fiber->unpark();
    fiber->interrupt();
    fiber->join();
  }
}

Result<void> Programs::attach(UniqueFd listener, const std::string& netns, const Limits& limits) {
  LKM_TRY(const int number, stack_.netns_fd(netns));
  StackFd space(stack_, number);
  LKM_TRY(auto notifications, Notifications::make(std::move(listener)));
  auto session = std::make_shared<Session>(std::move(notifications), std::move(space), std::make_shared<Account>(stack_, limits));
  // It stays in sessions_ until the watch is over.
  LKM_CHECK(stack_.watch_fd(session->notifications.fd(), [this, at = session.get()](unsigned events) { deliver(*at, events, false); }));
  sessions_.push_back(std::move(session));
  return {};
}

/// Between fibers, or on one.
void Programs::deliver(Session& session, unsigned events, bool ahead) {
  // One at a time: whether there is another is known when the stack next looks at its descriptors.
  seccomp_notif call;
  switch (session.notifications.receive(events, call)) {
    case Notifications::News::kNone:
      return;
    case Notifications::News::kCall:
      return give(session.shared_from_this(), call, {.seen = stack_.now(), .ahead = ahead});
    case Notifications::News::kEnd:
      stack_.unwatch_fd(session.notifications.fd());
      session.ended = true;  // the fiber lets go of it: that closes a descriptor of the stack
      house_.unpark();
  }
}

/// What the stack's own look at its descriptors finds is delivered before any fiber runs, so a call that is taken here is
/// not announced there any more.
void Programs::look_for_call(Session& session) {
  pollfd ready{.fd = session.notifications.fd(), .events = POLLIN, .revents = 0};
  if (::poll(&ready, 1, 0) == 1 && ready.revents == POLLIN) deliver(session, POLLIN, true);
}

void Programs::forget_closed_listeners() {
  constexpr std::size_t kFew = 4;  // each costs a call
  if (listening_.size() > kFew) {
    stack_.poll_host();
    return look_at_host();
  }
  std::vector<std::shared_ptr<Socket>> closed;
  std::erase_if(listening_, [&](std::uint64_t inode) {
    auto socket = find(inode);
    if (socket && !socket->placeholder.closed()) return false;
    if (socket) closed.push_back(std::move(socket));
    return true;
  });
  for (const auto& socket : closed) forget(*socket);
}

/// Between fibers: what happens to it is told to look_at_host().
Result<void> Programs::watch_end(int fd, unsigned events, std::uint64_t about) {
  return stack_.watch_fd(fd, [this, about](unsigned got) {
    host_news_.push_back({about, got});
    house_.unpark();
  }, events);
}

void Programs::unwatch(const Placeholder& placeholder) {
  if (placeholder.fd() >= 0) stack_.forget_fd(placeholder.fd());
}

void Programs::give(const std::shared_ptr<Session>& session, const seccomp_notif& call, Arrival arrival) {
  const auto found = threads_.find(pid_t(call.pid));
  if (found != threads_.end()) {
    found->second->give(call, arrival);
  } else {
    new_calls_.push_back({session, call, arrival.ahead});
    house_.unpark();
  }
}

void Programs::keep_house() {
  stack_.prefer_latency();
  while (!stopping_) {
    if (std::exchange(resumed_, false)) go_on_from_snapshot();
    std::erase_if(sessions_, [](const auto& session) { return session->ended; });
    look_at_host();
    admit_new_threads();
    if (std::exchange(look_due_, false)) look_after_calls();
    look_after_rings();
    stack_.park();
  }
}

/// Apart from the house, which has news far more often than it has to look at what nothing tells of: a timer for each of
/// its turns would cost more.
void Programs::keep_time() {
  while (!stopping_) {
    if (looking_) {
      stack_.sleep_for(kLookEvery);
      look_due_ = true;
      house_.unpark();
    } else {
      stack_.park();
    }
  }
}

void Programs::begin_to_look() {
  if (!std::exchange(looking_, true)) time_.unpark();
}

void Programs::admit_new_threads() {
  for (NewCall& news : std::exchange(new_calls_, {})) {
    const auto tid = pid_t(news.call.pid);
    const auto known = threads_.find(tid);
    if (known !=
        threads_.end()) {  // two calls, the first of which was interrupted before we came here
      known->second->give(news.call, {.ahead = news.ahead});
      continue;
    }
    const auto admit = [&]() -> Result<void> {
      LKM_TRY(auto process, Process::of_thread(tid));
      auto& kept = processes_[process->pid()];
      if (!kept) {
        LKM_CHECK(watch_end(process->fd(), EPOLLIN | EPOLLONESHOT, kIsProcess | unsigned(process->pid())));
        inherit_netns(*process);
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
      if (!news.session->account->may_have_thread(kept->pid())) return fail(ENOBUFS, "serve thread {}", tid);
      auto thread = std::make_shared<Thread>(*this, news.session, kept, tid);
      thread->give(news.call, {.ahead = news.ahead});
      LKM_CHECK(thread->start());
      threads_.emplace(tid, std::move(thread));
      return {};
    };
    if (auto admitted = admit(); !admitted) {
      if (is_of_host(news.call)) {
        news.session->notifications.pass(news.call.id);
        continue;
      }
      news.session->notifications.answer(news.call.id, -admitted.error().errno_value());
    }
  }
}

/// Whether a call that was caught would be sent back in any case, so that it needs no task of the stack.
bool Programs::is_of_host(const seccomp_notif& call) const {
  switch (call.data.nr) {
    case SYS_socket:
    case SYS_setns:
    case SYS_unshare:
    case SYS_mmap:
    case SYS_ioctl:
    case SYS_sendfile:
    case SYS_splice:
      return false;
    case SYS_mount:
    case SYS_umount2:
      return true;
    default: {
      const auto process = Process::of_thread(pid_t(call.pid));
      const auto end = process ? (*process)->borrow(int(call.data.args[0])) : Result<UniqueFd>(fail(ESRCH, "process"));
      return end && !find(socket_inode(end->get()));
    }
  }
}

/// By fork(2) and the like: of the nearest of its forebears that is known. One that outlived them is where its program was
/// started.
void Programs::inherit_netns(Process& process) {
  const Process* const parent = forebear(process.pid());
  if (parent == nullptr) return;
  process.netns = process.first_netns = parent->netns;
  process.seat = process.first_seat = parent->seat;
}

const Process* Programs::forebear(pid_t pid) const {
  constexpr int kGenerations = 32;
  for (int i = 0; i < kGenerations && (pid = parent_of(pid)) > 1; ++i) {
    const auto parent = processes_.find(pid);
    if (parent != processes_.end() && parent->second) return parent->second.get();
  }
  return nullptr;
}

void Programs::enters(Process& process, std::shared_ptr<StackFd> netns) {
  process.seat.reset();
  if (has_views_) {
    if (auto seat = NetSeat::take(stack_, *netns)) process.seat = std::move(*seat);  // it can do without
  }
  process.netns = std::move(netns);
  entered_ = true;
}

void Programs::returns(Process& process) {
  process.netns = process.first_netns;
  process.seat = process.first_seat;
}

std::string Programs::seat_of_thread(pid_t tid) const {
  if (!entered_ || tid <= 0) return {};
  const pid_t pid = process_of(tid);
  const auto known = processes_.find(pid);
  const Process* const process = known != processes_.end() && known->second ? known->second.get() : forebear(pid);
  return process != nullptr && process->seat ? process->seat->task() : "";
}

std::optional<std::string> Programs::name_in_netns_folder(const std::filesystem::path& path) const {
  const auto folder = path.parent_path();
  if (folder != "/run/netns" && folder != "/var/run/netns" && folder != netns_folder_) return std::nullopt;
  return path.filename().string();
}

void Programs::name_netns() const {
  std::error_code ignored;
  std::filesystem::create_directories(netns_folder_, ignored);
  const auto names = stack_.netns_list();
  for (const auto& entry : std::filesystem::directory_iterator(netns_folder_, ignored)) {
    if (std::ranges::find(names, entry.path().filename().string()) == names.end()) std::filesystem::remove(entry.path(), ignored);
  }
  for (const std::string& name : names) {
    if (name.find('/') != std::string::npos || name == "..") continue;
    (void)UniqueFd::open(netns_folder_ / name, O_RDONLY | O_CREAT | O_NOFOLLOW, 0400);
  }
}

std::optional<std::string> Programs::netns_of(std::uint64_t inode) const {
  for (const std::string& name : stack_.netns_list()) {
    struct stat about {};
    if (::lstat((netns_folder_ / name).c_str(), &about) == 0 && about.st_ino == inode) return name;
  }
  return std::nullopt;
}

/// What happened on the host until now: programs wrote and closed, processes ended.
void Programs::look_at_host() {
  for (std::size_t left = host_news_.size(); left > 0 && !host_news_.empty(); --left) {
    const HostNews news = host_news_.front();
    host_news_.pop_front();
    if ((news.about & kIsProcess) != 0) {
      const auto known = processes_.find(pid_t(news.about & ~kIsProcess));
      if (known == processes_.end() || !known->second) continue;
      stack_.unwatch_fd(known->second->fd());
      bury_threads_of(known->first);
      processes_.erase(known);
    } else if (const auto socket = find(news.about)) {
      happened_on_host(*socket, news.events);
    }
  }
}

void Programs::happened_on_host(Socket& socket, unsigned events) {
  if (socket.use == Use::kBroken) return;
  if (socket.carrier) {
    socket.closing = socket.closing || socket.placeholder.closed(events);
    send_messages(socket);
    if (socket.closing && socket.carrier->all_out()) return forget(socket);
    return show_message(socket);
  }
  if (socket.use != Use::kConnection) {
    socket.written_early = socket.written_early || (events & EPOLLIN) != 0;
    if (socket.placeholder.closed(events)) forget(socket);
    return;
  }
  // A program that reads no more and writes no more may still ask about the connection.
  if ((events & EPOLLHUP) != 0 && !(socket.shut_by_program && has_its_place(socket))) {
    socket.closing = true;
    socket.stream->closed();
    // It left what it was sent unread, which TCP answers with a reset (tcp_close()).
    if ((events & EPOLLERR) != 0 || socket.stream->wants_room()) return abort_connection(socket);
  } else if ((events & EPOLLRDHUP) != 0) {
    socket.stream->no_more_out();
  }
  count(socket);
  if ((events & (EPOLLIN | EPOLLRDHUP)) != 0) socket.stream->carry_out();
  if ((events & EPOLLOUT) != 0) socket.stream->carry_in();
  settle(socket);
}

void Programs::happened_in_stack(Socket& socket, unsigned events) {
  switch (socket.use) {
    case Use::kUnconnected:
    case Use::kBroken:
      return;
    case Use::kConnecting:
      if ((events & (EPOLLERR | EPOLLHUP)) != 0) return break_connection(socket);
      if ((events & EPOLLOUT) != 0) (void)begin_to_carry(socket);  // it is followed already
      return;
    case Use::kConnection:
      break;
    case Use::kMessages:
    case Use::kListening:
      if (const auto ring = socket.ring) {
        ring->fill();
        if (ring->has_some()) socket.placeholder.raise(EPOLLIN);
        return;
      }
      if (socket.carrier) {
        if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) send_messages(socket);
        if (socket.closing && socket.carrier->all_out()) return forget(socket);
        return show_message(socket);
      }
      // Who waits inside a call for the same takes it, and shows what is left.
      if (socket.receiving > 0 && (events & EPOLLRDHUP) == 0) events &= ~unsigned(EPOLLIN);
      if (socket.sending > 0) events &= ~unsigned(EPOLLOUT);
      if ((events & EPOLLIN) != 0 && std::exchange(socket.edge_due, false))
        socket.placeholder.raise_edge();
      return socket.placeholder.raise(events);
  }
  count(socket);
  if ((events & EPOLLPRI) != 0) socket.stream->take_urgent();
  // There is room at nearly every event, and hardly ever was there none.
  const unsigned telling = ~unsigned(EPOLLIN | EPOLLRDHUP | (socket.stream->held_up() ? 0U : unsigned(EPOLLOUT)));
  if ((events & telling) != 0) socket.stream->carry_out();
  if ((events & ~unsigned(EPOLLOUT)) != 0) socket.stream->carry_in();
  settle(socket);
}

void Programs::begin_to_carry_messages(Socket& socket, int program_end) {
  if (socket.use != Use::kMessages || socket.carrier) return;
  socket.placeholder.begin_to_carry(program_end);
  socket.carrier.emplace(stack_, buffers_, socket.fd, socket.placeholder.fd());
  (void)stack_.watch_fd_for(socket.placeholder.fd(), kOfCarrier);
  show(socket, program_end);
}

void Programs::send_messages(Socket& socket) {
  Account& account = *socket.account;
  const bool may_request = !socket.netlink || memory_.has_for_network(0, StreamBuffers::kSize);
  socket.carrier->carry_out(may_request && may_fill(account, 0));
  filled(account, socket.carrier->take_sent());
  if (socket.carrier->take_copies() > 0) count(socket);
}

/// Who waits inside a call for messages takes them first.
void Programs::show_message(Socket& socket) {
  if (socket.receiving != 0 || socket.ring) return;
  socket.carrier->carry_in();
  if (socket.carrier->take_copies() > 0) count(socket);
}

/// mirror() may run before this returns, and finds the socket as it is now.
Result<void> Programs::follow(Socket& socket, unsigned events) {
  const unsigned before = std::exchange(socket.followed, socket.followed | events);
  if (socket.followed == before) return {};
  epoll_event event{.events = socket.followed | EPOLLET, .data = {.u64 = socket.placeholder.inode()}};
  const int what = before == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  const long error = readiness_.call(SYS_epoll_ctl, what, socket.fd.get(), &event);
  if (error == 0) return {};
  socket.followed = before;
  return fail(int(-error), "follow what happens to a socket of the stack");
}

Result<void> Programs::begin_to_listen(Socket& socket, int program_end) {
  if (std::exchange(socket.use, Use::kListening) != Use::kListening) listening_.push_back(socket.placeholder.inode());
  LKM_CHECK(follow(socket, kMirrored));
  show(socket, program_end);
  return {};
}

Result<void> Programs::begin_to_connect(Socket& socket, int program_end) {
  socket.use = Use::kConnecting;
  socket.placeholder.show(0, program_end);
  return follow(socket, kMirrored);
}

Result<void> Programs::begin_to_carry(Socket& socket) {
  socket.placeholder.begin_to_carry();
  socket.use = Use::kConnection;
  socket.stream.emplace(stack_, buffers_, socket.fd, socket.placeholder.fd());
  count(socket);
  socket.stream->carry_in();
  if (auto followed = follow(socket, kOfConnection); !followed) {
    disconnect(socket);
    break_connection(socket);
    return followed;
  }
  if (std::exchange(socket.written_early, false)) socket.stream->carry_out();
  settle(socket);
  return {};
}

void Programs::flush(Socket& socket) {
  count(socket);
  socket.stream->carry_out();
  settle(socket);
}

/// After bytes were carried.
void Programs::settle(Socket& socket) {
  if (socket.stream->error() != 0)
    return socket.closing ? forget(socket) : break_connection(socket);
  if (socket.closing && socket.stream->all_out()) return forget(socket);
  if (socket.stream->held_up()) (void)follow(socket, kMirrored);  // it is followed already
  if (socket.stream->wants_room() == socket.room_awaited) return;
  socket.room_awaited = !socket.room_awaited;
  (void)stack_.watch_fd_for(socket.placeholder.fd(), kOfPair | (socket.room_awaited ? EPOLLOUT : 0U));
}

void Programs::abort_connection(Socket& socket) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  socket.fd.set_option(SOL_SOCKET, SO_LINGER, now);
  forget(socket);
}

/// The program shall meet ECONNRESET, which the host's kernel gives it when a byte of its own is
/// left unread.
void Programs::break_connection(Socket& socket) {
  for (const auto& [process, number] : socket.places) {
    const auto there = process.lock();
    if (!there) continue;
    const auto end = there->borrow(number);
    if (!end || socket_inode(end->get()) != socket.placeholder.inode()) continue;
    (void)!::send(end->get(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    break;
  }
  socket.use = Use::kBroken;
  unwatch(socket.placeholder);
  socket.placeholder.end();
  broken_.push_back(socket.placeholder.inode());
}

/// Nothing tells when a broken connection is closed, so some are looked after now and then.
void Programs::forget_broken() {
  constexpr int kAtOnce = 2;
  for (int i = 0; i < kAtOnce && !broken_.empty(); ++i) {
    const std::uint64_t inode = broken_.front();
    broken_.pop_front();
    const auto socket = find(inode);
    if (!socket) continue;
    if (has_its_place(*socket)) {
      broken_.push_back(inode);
    } else {
      forget(*socket);
    }
  }
}

/// The socket is closed; whoever works on it still has it.
void Programs::forget(const Socket& socket) {
  release(socket);
  sockets_.erase(socket.placeholder.inode());
}

void Programs::release(const Socket& socket) {
  unwatch(socket.placeholder);
  for (const auto& [process, number] : socket.places) {
    const auto there = process.lock();
    if (there && number >= kFirstFd) there->released(number);
  }
}

void Programs::count(Socket& socket) { tally_[socket.tally] = ++socket.uses; }

void Programs::go_on_from_snapshot() {
  std::erase_if(sockets_, [&](const auto& entry) {
    Socket& socket = *entry.second;
    // The process that died took the news of it with it.
    if (socket.use == Use::kBroken || socket.use == Use::kConnection ||
        !socket.placeholder.closed())
      return false;
    release(socket);
    return true;
  });
  const auto sockets = sockets_;  // some end meanwhile
  for (const auto& [inode, socket] : sockets) {
    const bool used = std::exchange(socket->uses, tally_[socket->tally]) != tally_[socket->tally];
    if (socket->use == Use::kConnection || socket->use == Use::kConnecting) {
      if (used) {
        // Both sides hear of it: a program must not take it for the other side's end.
        disconnect(*socket);
        break_connection(*socket);
      } else if (socket->use == Use::kConnection) {
        happened_on_host(*socket, socket->placeholder.events() | EPOLLOUT);
        if (socket->use == Use::kConnection) happened_in_stack(*socket, EPOLLIN | EPOLLOUT);
      }
      continue;
    }
    if (socket->use == Use::kBroken) continue;
    if (socket->carrier) {
      if (used) socket->carrier->look_again();
      happened_on_host(*socket, socket->placeholder.events());
      continue;
    }
    socket->placeholder.look_again();
    pollfd ready{.fd = socket->fd.get(), .events = POLLIN | POLLOUT | POLLRDHUP, .revents = 0};
    if (used && connected(*socket)) {
      disconnect(*socket);
      ready.revents = POLLIN | POLLOUT | POLLRDHUP | POLLHUP;
    } else {
      stack_.syscall(SYS_poll, &ready, 1, 0);
    }
    socket->placeholder.raise(unsigned(ready.revents));
  }
  for (const auto& session : sessions_) {
    for (const seccomp_notif& call : session->notifications.take_over())
      give(session, call, {});
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
  ++calls_;
  begin_to_look();
}

void Programs::ends(Thread&) { --busy_; }

void Programs::ring_made(const std::shared_ptr<Socket>& socket) {
  rings_.push_back(socket);
  begin_to_look();
}

/// Nothing tells when a program has given frames back: then its descriptor is to be readable no more, and there is room
/// for others.
void Programs::look_after_rings() {
  std::erase_if(rings_, [](const auto& one) {
    const auto socket = one.lock();
    return !socket || !socket->ring;
  });
  const auto rings = rings_;  // some end meanwhile
  for (const auto& one : rings) {
    const auto socket = one.lock();
    const auto ring = socket ? socket->ring : nullptr;
    if (!ring) continue;
    ring->fill();
    for (const auto& [process, number] : socket->places) {
      const auto there = process.lock();
      const auto end = there ? there->borrow(number) : Result<UniqueFd>(fail(ESRCH, "process"));
      if (!end || socket_inode(end->get()) != socket->placeholder.inode()) continue;
      show(*socket, end->get());
      break;
    }
  }
}

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
  // Not over again for each of many short calls.
  looking_ = !rings_.empty() || busy_ > 0 || std::exchange(calls_seen_, calls_) != calls_;
}

std::shared_ptr<Socket> Programs::find(std::uint64_t inode) const {
  const auto found = sockets_.find(inode);
  return found != sockets_.end() ? found->second : nullptr;
}

Result<std::pair<std::shared_ptr<Socket>, UniqueFd>> Programs::adopt(StackFd fd, Use use, bool nonblocking,
                                                                     const std::shared_ptr<Account>& account) {
  forget_broken();
  const bool messages = use == Use::kMessages;
  const auto buffers = messages ? Placeholder::Buffers::kSmall : Placeholder::Buffers::kLarge;
  const int type = messages && type_of(fd) != SOCK_STREAM ? SOCK_SEQPACKET : SOCK_STREAM;
  LKM_TRY(auto pair, Placeholder::make(buffers, nonblocking, type));
  auto& [placeholder, end] = pair;
  const std::uint64_t inode = placeholder.inode();
  auto socket = std::make_shared<Socket>();
  socket->account = account;
  ++account->sockets;
  socket->fd = std::move(fd);
  socket->placeholder = std::move(placeholder);
  socket->use = use;
  socket->nonblocking = nonblocking;
  if (messages) socket->netlink = netlink_protocol(socket->fd);
  socket->tally = next_tally_++ % tally_.size();
  tally_[socket->tally] = 0;
  if (use == Use::kConnection)
    socket->stream.emplace(stack_, buffers_, socket->fd, socket->placeholder.fd());
  if (use == Use::kMessages) LKM_CHECK(follow(*socket, kMirrored));
  LKM_CHECK(watch_end(socket->placeholder.fd(), use == Use::kMessages ? EPOLLET : kOfPair, inode));
  sockets_.emplace(inode, socket);
  if (use == Use::kConnection) {
    count(*socket);
    socket->stream->carry_in();  // a program that does not wait reads at once
    if (auto followed = follow(*socket, kOfConnection); !followed) {
      forget(*socket);
      return Failure(std::move(followed).error());
    }
    settle(*socket);
  } else if (use == Use::kMessages) {
    show(*socket, end.get());
  }
  return std::pair(std::move(socket), std::move(end));
}

bool Programs::may_fill(Account& account, pid_t who) {
  return account.may_fill(who, [&] { return memory_of(account); }) && memory_.has_for_buffers(who);
}

void Programs::filled(Account& account, std::uint64_t bytes) {
  account.filled(bytes);
  memory_.filled(bytes);
}

/// Bytes in the buffers of a program's sockets.
std::uint64_t Programs::memory_of(const Account& account) const {
  std::uint64_t bytes = 0;
  for (const auto& [inode, socket] : sockets_) {
    if (socket->account.get() != &account) continue;
    std::array<std::uint32_t, SK_MEMINFO_VARS> info{};
    socklen_t size = sizeof info;
    socket->fd.call(SYS_getsockopt, SOL_SOCKET, SO_MEMINFO, info.data(), &size);
    for (const int part : {SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_WMEM_ALLOC, SK_MEMINFO_FWD_ALLOC, SK_MEMINFO_WMEM_QUEUED,
                           SK_MEMINFO_OPTMEM, SK_MEMINFO_BACKLOG})
      bytes += info[std::size_t(part)];
  }
  return bytes;
}

void Programs::show(Socket& socket, int program_end) {
  if (socket.ring) {
    return socket.placeholder.show(socket.ring->has_some() ? POLLIN | POLLOUT : POLLOUT, program_end);
  }
  if (socket.carrier) return show_message(socket);
  pollfd ready{.fd = socket.fd.get(), .events = POLLIN | POLLOUT | POLLRDHUP, .revents = 0};
  stack_.syscall(SYS_poll, &ready, 1, 0);
  socket.placeholder.show(unsigned(ready.revents), program_end);
}

/// What happens in the stack outside of any call.
void Programs::mirror() {
  stack_.prefer_latency();
  std::array<epoll_event, 64> events;
  while (!stopping_) {
    const long count = readiness_.call(SYS_epoll_wait, events.data(), events.size(), -1);
    for (long i = 0; i < count; ++i) {
      if (const auto socket = find(events[std::size_t(i)].data.u64))
        happened_in_stack(*socket, events[std::size_t(i)].events);
    }
  }
}

}  // namespace lkm::exec

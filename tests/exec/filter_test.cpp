// SPDX-License-Identifier: GPL-2.0
//
// A child goes under the filter and makes calls; which of them arrive here?
#include "toolkit/exec/filter.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <functional>

#include "toolkit/exec/notifications.hpp"

namespace lkm::exec {
namespace {

constexpr long kAnswer = 4711;

/// Makes a call under the filter. The result and whether it arrived; one that arrives is answered
/// with kAnswer.
std::pair<long, bool> call(const std::function<long()>& make) {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd parent(ends[0]);
  UniqueFd child(ends[1]);
  const pid_t pid = ::fork();
  if (pid == 0) {
    auto listener = install_filter();
    const int number = listener ? listener->get() : -1;
    char go = 0;
    // Low descriptors: what is used here is not caught.
    if (::write(child.get(), &number, sizeof(number)) < 0 || ::read(child.get(), &go, 1) < 0)
      ::_exit(1);
    const long result = make();
    const long answer = result < 0 ? -errno : result;
    ::_exit(::write(child.get(), &answer, sizeof(answer)) == sizeof(answer) ? 0 : 1);
  }
  child.reset();
  int number = -1;
  EXPECT_EQ(::read(parent.get(), &number, sizeof(number)), ssize_t(sizeof(number)));
  EXPECT_GE(number, 0);
  const UniqueFd process(int(::syscall(SYS_pidfd_open, pid, 0)));
  auto notifications =
      Notifications::make(UniqueFd(int(::syscall(SYS_pidfd_getfd, process.get(), number, 0))))
          .value();
  EXPECT_EQ(::write(parent.get(), "g", 1), 1);

  bool arrived = false;
  for (;;) {
    pollfd both[2] = {{.fd = notifications.fd(), .events = POLLIN, .revents = 0},
                      {.fd = parent.get(), .events = POLLIN, .revents = 0}};
    ::poll(both, 2, -1);
    if (both[1].revents != 0) break;
    seccomp_notif news;
    if (notifications.receive(unsigned(both[0].revents), news) != Notifications::News::kCall) continue;
    arrived = true;
    EXPECT_TRUE(notifications.valid(news.id));
    notifications.answer(news.id, kAnswer);
  }
  long result = 0;
  EXPECT_EQ(::read(parent.get(), &result, sizeof(result)), ssize_t(sizeof(result)));
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  pollfd end{.fd = notifications.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&end, 1, 10'000), 1);
  seccomp_notif news;
  EXPECT_EQ(notifications.receive(unsigned(end.revents), news), Notifications::News::kEnd);
  return {result, arrived};
}

/// Calls that say what has been transferred are made by syscall(2): AddressSanitizer's wrappers look at what the answer says
/// has been, and nothing has.
const std::pair<long, bool> kCaught{kAnswer, true};

TEST(Filter, CatchesSocketsOfEveryFamilyButTheHosts) {
  EXPECT_EQ(call([] { return ::socket(AF_INET, SOCK_STREAM, 0); }), kCaught);
  EXPECT_EQ(call([] { return ::socket(AF_NETLINK, SOCK_RAW, 0); }), kCaught);
  EXPECT_EQ(call([] { return ::socket(AF_PACKET, SOCK_RAW, 0); }), kCaught);
  EXPECT_FALSE(call([] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }).second);
}

TEST(Filter, CatchesReadsOfDescriptorsInItsRangeOnly) {
  char byte = 0;
  EXPECT_EQ(call([&] { return ::syscall(SYS_read, kFirstFd, &byte, 1); }), kCaught);
  EXPECT_EQ(call([&] { return ::syscall(SYS_write, kEndFd - 1, &byte, 1); }), kCaught);
  EXPECT_EQ(call([&] { return ::write(kEndFd, &byte, 1); }), std::pair(-long(EBADF), false));
  EXPECT_EQ(call([&] { return ::syscall(SYS_recvfrom, kFirstFd, &byte, 1, 0, nullptr, nullptr); }), kCaught);
  EXPECT_EQ(call([&] { return ::recv(kFirstFd - 1, &byte, 1, 0); }),
            std::pair(-long(EBADF), false));
  EXPECT_EQ(call([&] { return ::read(kFirstFd - 1, &byte, 0); }), std::pair(-long(EBADF), false));
}

TEST(Filter, CatchesWhatMakesAndEntersNamespaces) {
  EXPECT_EQ(call([] { return ::setns(3, CLONE_NEWNET); }), kCaught);
  EXPECT_EQ(call([] { return ::unshare(CLONE_NEWNET); }), kCaught);
  EXPECT_EQ(call([] { return ::unshare(CLONE_NEWNET | CLONE_NEWNS); }), kCaught);
  EXPECT_EQ(call([] { return ::mount("a", "b", "c", 0, nullptr); }), kCaught);
  EXPECT_EQ(call([] { return ::umount2("a", 0); }), kCaught);
  EXPECT_EQ(call([] { return ::unshare(CLONE_FILES); }), std::pair(0L, false));
}

TEST(Filter, CatchesMappingsOfDescriptorsInItsRangeOnly) {
  const auto map = [](int fd) { return [fd] { return ::syscall(SYS_mmap, nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0); }; };
  EXPECT_EQ(call(map(kFirstFd)), kCaught);
  EXPECT_EQ(call(map(kFirstFd - 1)), std::pair(-long(EBADF), false));
  EXPECT_FALSE(call([] { return ::syscall(SYS_mmap, nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == -1 ? -1L : 0L; }).second);
}

TEST(Filter, CatchesTransfersOfMoreThanDataUnderEveryNumber) {
  char byte = 0;
  const sockaddr_in to{};
  const auto* const address = reinterpret_cast<const sockaddr*>(&to);
  EXPECT_EQ(call([&] { return ::sendto(3, &byte, 1, 0, address, sizeof(to)); }), kCaught);
  sockaddr_in from{};
  socklen_t size = sizeof(from);
  EXPECT_EQ(call([&] { return ::syscall(SYS_recvfrom, 3, &byte, 1, 0, &from, &size); }), kCaught);
  EXPECT_EQ(call([&] { return ::send(3, &byte, 1, MSG_FASTOPEN); }), kCaught);
  EXPECT_EQ(call([&] { return ::send(3, &byte, 1, MSG_OOB); }), kCaught);
  EXPECT_EQ(call([&] { return ::syscall(SYS_recvfrom, 3, &byte, 1, MSG_ERRQUEUE | MSG_DONTWAIT, nullptr, nullptr); }), kCaught);
  EXPECT_EQ(call([] { return ::syscall(SYS_recvmsg, 3, nullptr, MSG_DONTWAIT); }), kCaught);
  EXPECT_EQ(call([] { return ::syscall(SYS_sendmsg, 3, nullptr, 0); }), kCaught);
  EXPECT_EQ(call([] { return ::syscall(SYS_recvmmsg, 3, nullptr, 1, 0, nullptr); }), kCaught);
  EXPECT_EQ(call([] { return ::syscall(SYS_sendmmsg, 3, nullptr, 1, 0); }), kCaught);
  EXPECT_FALSE(call([&] { return ::send(3, &byte, 1, MSG_NOSIGNAL); }).second);
  EXPECT_FALSE(call([&] { return ::recv(3, &byte, 1, MSG_DONTWAIT | MSG_PEEK); }).second);
}

TEST(Filter, CatchesWhatConcernsSocketsUnderEveryNumber) {
  EXPECT_EQ(call([] { return ::listen(3, 1); }), kCaught);
  EXPECT_EQ(call([] { return ::getpeername(0, nullptr, nullptr); }), kCaught);
}

TEST(Filter, CatchesTheOtherEndOfATransfer) {
  EXPECT_EQ(call([] { return ::sendfile(kFirstFd, 0, nullptr, 1); }), kCaught);
  EXPECT_EQ(call([] { return ::splice(0, nullptr, kFirstFd, nullptr, 1, 0); }), kCaught);
  EXPECT_EQ(call([] { return ::splice(kFirstFd, nullptr, 0, nullptr, 1, 0); }), kCaught);
  EXPECT_FALSE(call([] { return ::splice(0, nullptr, 1, nullptr, 1, 0); }).second);
}

TEST(Filter, CatchesRequestsAboutDevicesOnAnyDescriptor) {
  EXPECT_EQ(call([] { return ::ioctl(3, SIOCGIFINDEX, nullptr); }), kCaught);
  EXPECT_EQ(call([] { return ::ioctl(kFirstFd, FIONREAD, nullptr); }), kCaught);
  EXPECT_FALSE(call([] { return ::ioctl(3, FIONREAD, nullptr); }).second);
}

TEST(Filter, CatchesCopiesButNotFlags) {
  EXPECT_EQ(call([] { return ::dup(kFirstFd); }), kCaught);
  EXPECT_EQ(call([] { return ::fcntl(kFirstFd, F_DUPFD, 0); }), kCaught);
  EXPECT_EQ(call([] { return ::fcntl(kFirstFd, F_DUPFD_CLOEXEC, 0); }), kCaught);
  EXPECT_FALSE(call([] { return ::fcntl(kFirstFd, F_GETFL); }).second);
  EXPECT_FALSE(call([] { return ::fcntl(3, F_DUPFD, 0); }).second);
}

TEST(Filter, RefusesWhatWouldPassByTheStack) {
  EXPECT_EQ(call([] { return ::syscall(SYS_io_uring_setup, 1, nullptr); }),
            std::pair(-long(ENOSYS), false));
  EXPECT_EQ(call([] { return ::syscall(SYS_socket | 0x40000000, AF_INET, SOCK_STREAM, 0); }),
            std::pair(-long(ENOSYS), false));
}

TEST(Listener, IsNotAnyDescriptor) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  UniqueFd out(ends[0]), in(ends[1]);
  EXPECT_EQ(Notifications::make(std::move(out)).error().errno_value(), EINVAL);
  EXPECT_EQ(Notifications::make(UniqueFd()).error().errno_value(), EINVAL);
}

TEST(Filter, IsNotPutOnTwice) {
  const auto [result, arrived] = call([] {
    const auto second = install_filter();
    errno = second ? 0 : second.error().errno_value();
    return second ? 0L : -1L;
  });
  EXPECT_EQ(result, -EBUSY);
  EXPECT_FALSE(arrived);
}

}  // namespace
}  // namespace lkm::exec

// SPDX-License-Identifier: GPL-2.0
//
// A program that means harm: it makes calls that no program makes, in ways that no program does. It must be answered with
// errors, and nobody else may notice (tests/cases/exec-hostile). What it does is drawn from the seed in argv[1].
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr long kCalls[] = {SYS_socket,      SYS_bind,        SYS_connect,    SYS_listen,   SYS_accept,      SYS_accept4,
                           SYS_shutdown,    SYS_getsockname, SYS_getpeername, SYS_setsockopt, SYS_getsockopt, SYS_sendto,
                           SYS_recvfrom,    SYS_sendmsg,     SYS_recvmsg,    SYS_sendmmsg, SYS_recvmmsg,    SYS_read,
                           SYS_write,       SYS_readv,       SYS_writev,     SYS_preadv2,  SYS_pwritev2,    SYS_ioctl,
                           SYS_sendfile,    SYS_splice,      SYS_fcntl,      SYS_dup,      SYS_io_uring_setup};
/// Of the network itself, which a program on the stack may change: here only those that ask.
constexpr unsigned long kRequests[] = {SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX,
                                       SIOCETHTOOL, SIOCOUTQ,     SIOCINQ,     SIOCGSTAMP_OLD, 0, ~0UL};

class Hostile {
 public:
  explicit Hostile(unsigned seed) : random_(seed) {
    // Three pages: the middle one comes and goes.
    pages_ = static_cast<char*>(::mmap(nullptr, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (std::size_t at = 0; at < 3 * kPage; ++at) pages_[at] = char(random_());
    open_some();
  }

  /// Calls with arguments that make no sense, while other threads take away what they point to.
  void babble(std::chrono::milliseconds time) {
    std::atomic<bool> over = false;
    std::thread unmaps([&] {
      while (!over) {
        ::mmap(pages_ + kPage, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        ::mmap(pages_ + kPage, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
      }
    });
    std::thread scribbles([&, seed = random_()] {
      std::mt19937 random(seed);
      while (!over) {
        reinterpret_cast<volatile std::uint32_t*>(pages_)[random() % (kPage / 4)] = std::uint32_t(random() % 3 == 0 ? random() : random() % 64);
      }
    });
    std::thread closes([&, seed = random_()] {
      std::mt19937 random(seed);
      while (!over) {
        ::close(sockets_[random() % sockets_.size()].exchange(socket_of(random)));
        std::this_thread::sleep_for(1ms);
      }
    });
    unsigned long calls = 0;
    for (const auto end = Clock::now() + time; Clock::now() < end; ++calls) call();
    over = true;
    unmaps.join();
    scribbles.join();
    closes.join();
    std::printf("%lu calls\n", calls);
    std::fflush(stdout);
  }

  /// As many sockets as there can be, each with a full queue, in children, until all of them have what they can get.
  static void hoard() {
    int done[2];
    if (::pipe(done) != 0) return;
    for (int child = 0; child < kHoarders; ++child) {
      if (::fork() != 0) continue;
      std::vector<char> block(60000, 'x');
      std::vector<int> sockets;
      for (int type = SOCK_DGRAM;; type = type == SOCK_DGRAM ? SOCK_STREAM : SOCK_DGRAM) {
        const int fd = ::socket(AF_INET, type | SOCK_NONBLOCK, 0);
        if (fd < 0) break;
        sockets.push_back(fd);
        const int large = 64 << 20;
        ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
        ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
        sockaddr_in self{};
        self.sin_family = AF_INET;
        self.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof self;
        ::bind(fd, reinterpret_cast<sockaddr*>(&self), size);
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&self), &size);
        // To itself: a datagram socket, or by simultaneous open.
        ::connect(fd, reinterpret_cast<sockaddr*>(&self), size);
        for (int i = 0; i < 8 && ::send(fd, block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0; ++i) {
        }
      }
      const std::size_t count = sockets.size();
      if (::write(done[1], &count, sizeof count) != sizeof count) ::_exit(1);
      ::pause();
    }
    // alarm() of main() ends this if one of them hangs.
    std::size_t all = 0, count = 0;
    for (int child = 0; child < kHoarders && ::read(done[0], &count, sizeof count) == sizeof count; ++child) all += count;
    std::printf("%zu sockets at once\n", all);
    ::signal(SIGTERM, SIG_IGN);
    ::kill(0, SIGTERM);  // of the process group that main() made
    while (::wait(nullptr) > 0) {
    }
  }

 private:
  static constexpr std::size_t kPage = 4096;
  static constexpr int kHoarders = 8;

  template <typename Random>
  static int socket_of(Random& random) {
    static constexpr int kFamilies[] = {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, 0, 45, -1};
    static constexpr int kTypes[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET};
    return ::socket(kFamilies[random() % std::size(kFamilies)], kTypes[random() % std::size(kTypes)] | SOCK_NONBLOCK,
                    random() % 4 == 0 ? int(random() % 300) : 0);
  }
  void open_some() {
    for (auto& socket : sockets_) socket = socket_of(random_);
  }

  unsigned long argument() {
    switch (random_() % 8) {
      case 0:
        return 0;
      case 1:
        return ~0UL - random_() % 4;
      case 2:
        return random_() % 64;
      case 3:
        return 0xffff800000000000UL + random_() % 65536;  // the host kernel's half
      case 4:
        return (std::uint64_t(random_()) << 32) | random_();
      default:
        return reinterpret_cast<unsigned long>(pages_) + random_() % (2 * kPage);
    }
  }

  void call() {
    const long number = kCalls[random_() % std::size(kCalls)];
    std::array<unsigned long, 6> args;
    for (auto& one : args) one = argument();
    // Mostly a socket of ours; never standard output.
    if (number != SYS_socket) args[0] = random_() % 8 != 0 ? (unsigned long)sockets_[random_() % sockets_.size()].load() : 3 + random_() % 2000;
    if (number == SYS_fcntl) args[1] = random_() % 2 != 0 ? F_DUPFD : F_GETFL;
    if (number == SYS_ioctl) args[1] = kRequests[random_() % std::size(kRequests)];
    if (number == SYS_splice || number == SYS_sendfile) args[2] = (unsigned long)sockets_[random_() % sockets_.size()].load();
    // Never to wait: what would is another test's.
    if (number == SYS_sendmsg || number == SYS_recvmsg) args[2] |= MSG_DONTWAIT;
    if (number == SYS_sendto || number == SYS_recvfrom || number == SYS_sendmmsg || number == SYS_recvmmsg)
      args[3] |= MSG_DONTWAIT;
    // Not to turn off O_NONBLOCK of what we have, nor to fill the table.
    const long result = ::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
    const bool makes = number == SYS_socket || number == SYS_dup || number == SYS_accept || number == SYS_accept4 ||
                       (number == SYS_fcntl && args[1] == F_DUPFD);
    if (makes && result >= 0) ::close(int(result));
  }

  std::mt19937 random_;
  char* pages_;
  std::array<std::atomic<int>, 32> sockets_{};
};

}  // namespace

int main(int argc, char** argv) {
  ::setpgid(0, 0);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGURG, SIG_IGN);
  ::signal(SIGIO, SIG_IGN);
  ::alarm(60);
  const unsigned seed = argc > 1 ? unsigned(std::strtoul(argv[1], nullptr, 10)) : 1;
  Hostile(seed).babble(4s);
  Hostile::hoard();
  std::puts("done");
  return 0;
}

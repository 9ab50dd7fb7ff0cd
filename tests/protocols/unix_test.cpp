// SPDX-License-Identifier: GPL-2.0
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "tests/protocols/stack_test.hpp"

namespace lkm {
namespace {

class Unix : public StackTest {};

std::optional<SocketPair> pair_of(Stack& stack, int type) {
  int fds[2] = {-1, -1};
  if (!succeeds(stack.syscall(SYS_socketpair, AF_UNIX, type, 0, fds), "socketpair")) return {};
  return SocketPair{StackFd(stack, fds[0]), StackFd(stack, fds[1])};
}

TEST_F(Unix, CarriesStreamsDatagramsAndPackets) {
  boot([](Stack& stack) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
      const auto pair = pair_of(stack, type);
      ASSERT_TRUE(pair);
      expect_delivers(pair->client, pair->server, "there");
      expect_delivers(pair->server, pair->client, std::string(10'000, 'y'));
    }
  });
}

TEST_F(Unix, PassesADescriptorThatWorksAtTheOtherEnd) {
  boot([](Stack& stack) {
    const auto pair = pair_of(stack, SOCK_STREAM);
    auto passed = pair_of(stack, SOCK_STREAM);
    ASSERT_TRUE(pair && passed);

    char byte = 'x';
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int out = passed->server.get();
    std::memcpy(CMSG_DATA(header), &out, sizeof out);
    ASSERT_EQ(pair->client.call(SYS_sendmsg, &message, 0), 1);
    passed->server.reset();  // only the message holds it now

    std::memset(control, 0, sizeof control);
    ASSERT_EQ(pair->server.call(SYS_recvmsg, &message, 0), 1);
    header = CMSG_FIRSTHDR(&message);
    ASSERT_NE(header, nullptr);
    ASSERT_EQ(header->cmsg_type, SCM_RIGHTS);
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    const StackFd received(stack, fd);
    expect_delivers(passed->client, received, "by way of the passed descriptor");
  });
}

TEST_F(Unix, ConnectsByAnAbstractName) {
  boot([](Stack& stack) {
    const StackFd listener = open_socket(stack, AF_UNIX, SOCK_STREAM);
    const StackFd client = open_socket(stack, AF_UNIX, SOCK_STREAM);
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, "\0lkm", 4);
    const socklen_t length = offsetof(sockaddr_un, sun_path) + 4;
    ASSERT_EQ(client.call(SYS_connect, &name, length), -ECONNREFUSED);
    ASSERT_TRUE(succeeds(listener.call(SYS_bind, &name, length), "bind"));
    ASSERT_TRUE(succeeds(listener.call(SYS_listen, 1), "listen"));
    ASSERT_TRUE(succeeds(client.call(SYS_connect, &name, length), "connect"));
    const long fd = listener.call(SYS_accept4, nullptr, nullptr, 0);
    ASSERT_TRUE(succeeds(fd, "accept"));
    expect_delivers(client, StackFd(stack, static_cast<int>(fd)), "hello");
  });
}

}  // namespace
}  // namespace lkm

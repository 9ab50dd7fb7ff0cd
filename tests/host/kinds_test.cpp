// SPDX-License-Identifier: GPL-2.0
//
// tests/host/modules/kinds is renewed while each of the things that it has registered is in use.
#include <linux/genetlink.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <sstream>

#include "tests/host/host_test.hpp"
#include "tests/protocols/filter_table.hpp"
#include "toolkit/net/ip.hpp"
#include "toolkit/net/netlink.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

constexpr const char* kUlp = "kinds";

/// What /proc/kinds shows.
struct Counts {
  unsigned long asked = 0, received = 0, sent = 0, evaluated = 0, targeted = 0;
};

Counts counts(Stack& stack) {
  Counts now;
  const auto text = stack.read_file("/proc/kinds");
  EXPECT_TRUE(text) << text.error().message();
  if (text)
    std::istringstream(*text) >> now.asked >> now.received >> now.sent >> now.evaluated >>
        now.targeted;
  return now;
}

/// The number of the generic netlink family.
std::uint16_t family_id(Netlink& generic) {
  NetlinkMessage message(GENL_ID_CTRL);
  message.extra<genlmsghdr>() = {.cmd = CTRL_CMD_GETFAMILY, .version = 1, .reserved = 0};
  mnl_attr_put_strz(message.header(), CTRL_ATTR_FAMILY_NAME, "kinds");
  std::uint16_t id = 0;
  const auto found = generic.request(message, "find the family", [&](const nlmsghdr* answer) {
    for_each_attribute(answer, sizeof(genlmsghdr), [&](const nlattr* attribute) {
      if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID) id = mnl_attr_get_u16(attribute);
    });
  });
  EXPECT_TRUE(found) << found.error().message();
  return id;
}

/// What the family's command answers.
std::uint32_t ask(Netlink& generic, std::uint16_t family) {
  NetlinkMessage message(family);
  message.extra<genlmsghdr>() = {.cmd = 1, .version = 1, .reserved = 0};
  std::uint32_t step = 0;
  const auto asked = generic.request(message, "ask", [&](const nlmsghdr* answer) {
    for_each_attribute(answer, sizeof(genlmsghdr),
                       [&](const nlattr* attribute) { step = mnl_attr_get_u32(attribute); });
  });
  EXPECT_TRUE(asked) << asked.error().message();
  return step;
}

/// A table with a chain at INPUT, with one rule that is the expression alone; or takes the table
/// away.
class NftTable {
 public:
  explicit NftTable(Stack& stack)
      : socket_(std::move(socket_in(stack, "", AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER).value())) {}

  void add() {
    begin(NFT_MSG_NEWTABLE, NLM_F_CREATE);
    mnl_attr_put_strz(message_, NFTA_TABLE_NAME, "t");
    end();
    begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    mnl_attr_put_strz(message_, NFTA_CHAIN_TABLE, "t");
    mnl_attr_put_strz(message_, NFTA_CHAIN_NAME, "c");
    nlattr* hook = mnl_attr_nest_start(message_, NFTA_CHAIN_HOOK);
    mnl_attr_put_u32(message_, NFTA_HOOK_HOOKNUM, htonl(NF_INET_LOCAL_IN));
    mnl_attr_put_u32(message_, NFTA_HOOK_PRIORITY, htonl(0));
    mnl_attr_nest_end(message_, hook);
    mnl_attr_put_strz(message_, NFTA_CHAIN_TYPE, "filter");
    end();
    begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    mnl_attr_put_strz(message_, NFTA_RULE_TABLE, "t");
    mnl_attr_put_strz(message_, NFTA_RULE_CHAIN, "c");
    nlattr* expressions = mnl_attr_nest_start(message_, NFTA_RULE_EXPRESSIONS);
    nlattr* one = mnl_attr_nest_start(message_, NFTA_LIST_ELEM);
    mnl_attr_put_strz(message_, NFTA_EXPR_NAME, "kinds");
    nlattr* data = mnl_attr_nest_start(message_, NFTA_EXPR_DATA);
    mnl_attr_nest_end(message_, data);
    mnl_attr_nest_end(message_, one);
    mnl_attr_nest_end(message_, expressions);
    end();
    commit();
  }
  void remove() {
    begin(NFT_MSG_DELTABLE, 0);
    mnl_attr_put_strz(message_, NFTA_TABLE_NAME, "t");
    end();
    commit();
  }

 private:
  void put(std::uint16_t type, std::uint16_t flags, std::uint8_t family, std::uint16_t resource) {
    message_ = mnl_nlmsg_put_header(buffer_.data() + size_);
    message_->nlmsg_type = type;
    message_->nlmsg_flags = std::uint16_t(NLM_F_REQUEST | flags);
    message_->nlmsg_seq = ++sequence_;
    auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message_, sizeof(nfgenmsg)));
    *extra = {.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource)};
  }
  void begin(int message, std::uint16_t flags) {
    if (size_ == 0) {
      put(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
      end();
    }
    put(std::uint16_t(NFNL_SUBSYS_NFTABLES << 8 | message), std::uint16_t(flags | NLM_F_ACK),
        NFPROTO_IPV4, 0);
    ++asked_;
  }
  void end() { size_ += message_->nlmsg_len; }
  void commit() {
    put(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    end();
    ASSERT_EQ(socket_.call(SYS_sendto, buffer_.data(), size_, 0, nullptr, 0), long(size_));
    size_ = 0;
    for (; asked_ > 0; --asked_) {
      alignas(nlmsghdr) std::array<char, 4096> answer{};
      ASSERT_GT(socket_.call(SYS_recvfrom, answer.data(), answer.size(), 0, nullptr, nullptr), 0);
      const auto* head = reinterpret_cast<const nlmsghdr*>(answer.data());
      ASSERT_EQ(head->nlmsg_type, NLMSG_ERROR);
      ASSERT_EQ(static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(head))->error, 0);
    }
  }

  StackFd socket_;
  alignas(nlmsghdr) std::array<char, 4096> buffer_{};
  std::size_t size_ = 0, asked_ = 0;
  std::uint32_t sequence_ = 0;
  nlmsghdr* message_ = nullptr;
};

/// A TCP connection over loopback; the first end has the upper layer protocol.
struct Connection {
  StackFd client, server;
};

Connection connect(Stack& stack) {
  const auto socket = [&] { return std::move(socket_in(stack, "", AF_INET, SOCK_STREAM).value()); };
  const StackFd listener = socket();
  SocketAddress name(IpPrefix::parse("127.0.0.1").value(), 4000);
  EXPECT_EQ(listener.call(SYS_bind, name.get(), name.length), 0);
  EXPECT_EQ(listener.call(SYS_listen, 1), 0);
  Connection made{.client = socket(), .server = {}};
  EXPECT_EQ(made.client.call(SYS_connect, name.get(), name.length), 0);
  made.server = StackFd(stack, int(listener.call(SYS_accept4, nullptr, nullptr, 0)));
  EXPECT_EQ(made.client.call(SYS_setsockopt, IPPROTO_TCP, TCP_ULP, kUlp, std::strlen(kUlp)), 0);
  return made;
}

TEST_F(HostTest, RenewsWhateverTheNetworkStackCalls) {
  const auto first = plugin("kinds", 1), second = plugin("kinds", 2);
  options_.clock = Clock::kVirtual;
  run([&](Stack& stack) {
    for (const std::string& module :
         {std::string("nf_tables"), std::string("iptable_filter"), first}) {
      const auto loaded = stack.load(module);
      ASSERT_TRUE(loaded) << loaded.error().message();
    }
    auto generic = Netlink::open(stack, "", NETLINK_GENERIC);
    ASSERT_TRUE(generic);
    const auto family = family_id(*generic);
    NftTable nft(stack);
    nft.add();
    FilterTable filter(stack, "");
    ASSERT_EQ(filter.set({.match = "", .data = "", .target = "KINDS"}), 0);
    Connection tcp = connect(stack);
    const StackFd packet = std::move(socket_in(stack, "", AF_PACKET, SOCK_DGRAM).value());
    const StackFd udp = std::move(socket_in(stack, "", AF_INET, SOCK_DGRAM).value());
    if (HasFailure()) return;

    for (int round = 0; round < 6; ++round) {
      const unsigned step = round % 2 == 0 ? 1 : 1000;
      if (round > 0) {
        const auto report = stack.swap(step == 1 ? first : second);
        ASSERT_TRUE(report) << report.error().message();
        EXPECT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
      }
      stack.sleep_for(300ms);  // what TCP still acknowledges passes the rules
      const Counts before = counts(stack);
      EXPECT_EQ(ask(*generic, family), step);
      // The loopback device has the first index.
      const sockaddr_ll handler{.sll_family = AF_PACKET,
                                .sll_protocol = htons(0x88b5),
                                .sll_ifindex = 1,
                                .sll_hatype = 0,
                                .sll_pkttype = 0,
                                .sll_halen = 6,
                                .sll_addr = {}};
      for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(packet.call(SYS_sendto, "packet", 6, 0, &handler, sizeof handler), 6);
      }
      const SocketAddress nobody(IpPrefix::parse("127.0.0.1").value(), 9);
      EXPECT_EQ(udp.call(SYS_sendto, "x", 1, 0, nobody.get(), nobody.length), 1);
      stack.sleep_for(10ms);
      const Counts between = counts(stack);
      EXPECT_EQ(between.asked - before.asked, step);
      EXPECT_EQ(between.received - before.received, 3 * step);
      // The datagram, and the message that nobody was there.
      EXPECT_EQ(between.evaluated - before.evaluated, 2 * step);
      EXPECT_EQ(between.targeted - before.targeted, 2 * step);

      const std::string text(1000, 'x');
      EXPECT_EQ(tcp.client.call(SYS_sendto, text.data(), text.size(), 0, nullptr, 0), 1000);
      std::string got(1000, '\0');
      EXPECT_EQ(
          tcp.server.call(SYS_recvfrom, got.data(), got.size(), MSG_WAITALL, nullptr, nullptr),
          1000);
      EXPECT_EQ(got, text);
      EXPECT_EQ(counts(stack).sent - between.sent, 1000 * step);
      if (HasFailure()) return;
    }

    const auto held = stack.unload("kinds");
    ASSERT_FALSE(held) << "a connection, a rule and another rule use it";
    EXPECT_EQ(held.error().errno_value(), EBUSY);
    nft.remove();
    ASSERT_EQ(filter.clear(), 0);
    tcp = {};
    stack.sleep_for(1s);
    const auto unloaded = stack.unload("kinds");
    EXPECT_TRUE(unloaded) << unloaded.error().message();
  });
}

}  // namespace
}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
//
// FilterTable: the table "filter" of IPv4 in one netns, with one rule at INPUT or none, as iptables
// would make it. iptable_filter must be loaded.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
// After <netinet/in.h>, which shares names with it.
#include <gtest/gtest.h>
#include <linux/netfilter_ipv4/ip_tables.h>

#include <cstring>
#include <string>
#include <vector>

#include "toolkit/net/stack_fd.hpp"

namespace lkm {

class FilterTable {
 public:
  struct Rule {
    std::string match;  ///< of that name, revision 0, with `data`; empty: none
    std::string data;
    std::string target;  ///< of that name, without data; empty: the packet is dropped
  };

  FilterTable(Stack& stack, const std::string& netns)
      : socket_(std::move(socket_in(stack, netns, AF_INET, SOCK_RAW, IPPROTO_RAW).value())) {}

  /// Takes all rules out.
  long clear() { return replace(nullptr); }
  /// Replaces what is there; the result or -errno.
  long set(const Rule& rule) { return replace(&rule); }

  /// Packets that the rule has seen and that its match said yes to.
  std::uint64_t packets() {
    std::string answer(sizeof(ipt_get_entries) + blob_.size() - sizeof(ipt_replace), '\0');
    ipt_get_entries head{};
    std::strcpy(head.name, "filter");
    head.size = std::uint32_t(blob_.size() - sizeof(ipt_replace));
    std::memcpy(answer.data(), &head, sizeof head);
    auto length = static_cast<socklen_t>(answer.size());
    EXPECT_EQ(socket_.call(SYS_getsockopt, SOL_IP, IPT_SO_GET_ENTRIES, answer.data(), &length), 0);
    ipt_entry entry;
    std::memcpy(&entry, answer.data() + sizeof(ipt_get_entries), sizeof entry);
    return entry.counters.pcnt;
  }

 private:
  long replace(const Rule* rule) {
    ipt_getinfo info{};
    std::strcpy(info.name, "filter");
    socklen_t length = sizeof info;
    if (const long got = socket_.call(SYS_getsockopt, SOL_IP, IPT_SO_GET_INFO, &info, &length);
        got < 0)
      return got;
    blob_.assign(sizeof(ipt_replace), '\0');
    std::uint32_t count = 0;
    const auto offset = [&] { return std::uint32_t(blob_.size() - sizeof(ipt_replace)); };
    ipt_replace head{};
    std::strcpy(head.name, "filter");
    head.valid_hooks = info.valid_hooks;
    for (const unsigned hook : {NF_INET_LOCAL_IN, NF_INET_FORWARD, NF_INET_LOCAL_OUT}) {
      head.hook_entry[hook] = offset();
      if (hook == NF_INET_LOCAL_IN && rule != nullptr) {
        add(*rule, -NF_DROP - 1);
        ++count;
      }
      head.underflow[hook] = offset();
      add({}, -NF_ACCEPT - 1);
      ++count;
    }
    add_error();
    head.num_entries = ++count;
    head.size = offset();
    std::vector<xt_counters> old(info.num_entries);
    head.num_counters = info.num_entries;
    head.counters = old.data();
    std::memcpy(blob_.data(), &head, sizeof head);
    return socket_.call(SYS_setsockopt, SOL_IP, IPT_SO_SET_REPLACE, blob_.data(), blob_.size());
  }

  template <typename T>
  void put(const T& part) {
    const std::size_t at = blob_.size();
    blob_.resize(at + XT_ALIGN(sizeof part), '\0');
    std::memcpy(blob_.data() + at, &part, sizeof part);
  }
  void add(const Rule& rule, int verdict) {
    const std::size_t match =
        rule.match.empty() ? 0 : XT_ALIGN(sizeof(xt_entry_match)) + XT_ALIGN(rule.data.size());
    const std::size_t target =
        XT_ALIGN(rule.target.empty() ? sizeof(xt_standard_target) : sizeof(xt_entry_target));
    ipt_entry entry{};
    entry.target_offset = std::uint16_t(sizeof entry + match);
    entry.next_offset = std::uint16_t(entry.target_offset + target);
    put(entry);
    if (match != 0) {
      xt_entry_match head{};
      head.u.user.match_size = std::uint16_t(match);
      std::strcpy(head.u.user.name, rule.match.c_str());
      put(head);
      blob_ += rule.data;
      blob_.resize(XT_ALIGN(blob_.size()), '\0');
    }
    if (rule.target.empty()) {
      xt_standard_target standard{};
      standard.target.u.user.target_size = std::uint16_t(target);
      standard.verdict = verdict;
      put(standard);
    } else {
      xt_entry_target own{};
      own.u.user.target_size = std::uint16_t(target);
      std::strcpy(own.u.user.name, rule.target.c_str());
      put(own);
    }
  }
  void add_error() {
    ipt_entry entry{};
    entry.target_offset = sizeof entry;
    entry.next_offset = std::uint16_t(sizeof entry + XT_ALIGN(sizeof(xt_error_target)));
    put(entry);
    xt_error_target target{};
    target.target.u.user.target_size = XT_ALIGN(sizeof target);
    std::strcpy(target.target.u.user.name, XT_ERROR_TARGET);
    std::strcpy(target.errorname, XT_ERROR_TARGET);
    put(target);
  }

  StackFd socket_;
  std::string blob_;
};

}  // namespace lkm

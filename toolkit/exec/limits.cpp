// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/limits.hpp"

#include <cerrno>
#include <charconv>

#include "toolkit/exec/process.hpp"
#include "toolkit/net/units.hpp"

namespace lkm::exec {
namespace {

using namespace std::chrono_literals;

constexpr int kWarning = 4;  // of syslog(2)
constexpr auto kSilence = 1s;

Result<std::uint64_t> number(std::string_view name, std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0)
    return fail(EINVAL, "limit {}: '{}' is no number of at least 1", name, text);
  return value;
}

}  // namespace

Result<Limits> Limits::parse(std::string_view text, const Limits& usual) {
  Limits limits = usual;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
    const auto equals = item.find('=');
    const std::string_view name = item.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? "" : item.substr(equals + 1);
    if (name == "sockets") {
      LKM_TRY(limits.sockets, number(name, value));
    } else if (name == "calls") {
      LKM_TRY(limits.calls, number(name, value));
    } else if (name == "memory") {
      LKM_TRY(limits.memory, parse_size(value));
    } else {
      return fail(EINVAL, "limit '{}': there are sockets, memory and calls, as in sockets=100,memory=16MiB", item);
    }
  }
  return limits;
}

std::string Limits::text() const { return fmt::format("sockets={},memory={}B,calls={}", sockets, memory, calls); }

Result<void> Limits::within(const Limits& most) const {
  if (sockets <= most.sockets && memory <= most.memory && calls <= most.calls) return {};
  return fail_hint(EDQUOT, "lkm-run up --limits", "the stack gives a program no more than {}", most.text());
}

bool Account::may_have_socket(pid_t who) { return sockets < limits_.sockets || refuse(kSockets, who); }

bool Account::may_have_thread(pid_t who) { return threads < limits_.calls || refuse(kCalls, who); }

bool Account::refuse(What what, pid_t who) {
  const StackTime now = stack_.now();
  if (told_[what] != StackTime{} && now - told_[what] < kSilence) return false;
  told_[what] = now;
  constexpr std::array kNames = {"sockets", "memory", "calls"};
  const std::array counts = {fmt::format("{} sockets", sockets), format_size(memory_) + " in buffers",
                             fmt::format("{} threads that make calls", threads)};
  const std::array most = {std::to_string(limits_.sockets), format_size(limits_.memory), std::to_string(limits_.calls)};
  stack_.log(fmt::format("lkm-run: '{}' is at its limit: {} (--limits {}={})", thread_name(who), counts[what], kNames[what], most[what]),
             kWarning);
  return false;
}

}  // namespace lkm::exec

// SPDX-License-Identifier: GPL-2.0
#include <charconv>

#include "toolkit/net/units.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

std::string path_of(const Json& link) {
  std::vector<std::string> parts;
  if (const auto rate = link.value("rate_bit_s", std::uint64_t{0})) {
    parts.push_back(format_rate(static_cast<double>(rate)));
  }
  if (const auto delay = link.value("delay_ns", std::int64_t{0})) {
    parts.push_back(format_duration(std::chrono::nanoseconds(delay)));
  }
  if (const auto loss = link.value("loss", 0.0); loss > 0) parts.push_back(format_fraction(loss));
  return parts.empty() ? "no limits" : fmt::format("{}", fmt::join(parts, ", "));
}

std::vector<std::string> row(const Json& link) {
  const auto end = [&](const char* which) {
    return fmt::format("{} {}", link[which].value("netns", ""), link[which].value("v4", ""));
  };
  return {fmt::format("{}", link.value("id", 0u)), link.value("device", ""), end("a"), end("b"),
          path_of(link), fmt::format("{}", link.value("queue_packets", 0u))};
}

void show(const Terminal& terminal, const Json& links) {
  if (terminal.json()) {
    for (const Json& link : links) terminal.object({{"link", link}});
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"ID", "DEVICE", "A", "B", "PATH", "QUEUE"}};
  for (const Json& link : links) rows.push_back(row(link));
  terminal.table(rows);
}

int refuse(Terminal& terminal, std::string text) {
  terminal.error(Error({}, std::move(text)).with_hint("lkm-run link -h"));
  return kUsage;
}

Result<unsigned> number(const std::string& text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Failure(Error({}, fmt::format("'{}' is no number", text)));
  }
  return value;
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  const auto& operands = arguments.operands();
  const std::string what = operands.empty() ? "ls" : operands[0];
  if (what == "add" && operands.size() != 3) return refuse(terminal, "'link add' needs two namespaces");
  if (what == "del" && operands.size() != 2) return refuse(terminal, "'link del' needs the ID of a link");
  if (what == "ls" && operands.size() > 1) return refuse(terminal, "'link ls' takes nothing more");

  Json params = Json::object();
  if (what == "add") {
    params = {{"a", operands[1]}, {"b", operands[2]}};
    const auto judge = [&](const char* name, const auto& parse) -> Result<void> {
      if (!arguments.has(name)) return {};
      LKM_CHECK(parse(arguments.value(name)));
      params[name] = arguments.value(name);
      return {};
    };
    for (const auto& judged : {judge("rate", parse_rate), judge("delay", parse_duration),
                               judge("jitter", parse_duration), judge("loss", parse_fraction)}) {
      if (judged) continue;
      terminal.error(judged.error());
      return kUsage;
    }
    for (const char* name : {"queue", "mtu"}) {
      if (!arguments.has(name)) continue;
      const auto value = number(arguments.value(name));
      if (!value) return refuse(terminal, fmt::format("--{}: {}", name, value.error().what()));
      params[name] = *value;
    }
  } else if (what == "del") {
    const auto id = number(operands[1]);
    if (!id) return refuse(terminal, id.error().what());
    params = {{"id", *id}};
  }

  LKM_TRY(auto client, connect(arguments));
  LKM_TRY(const Json result, client.call(what == "ls" ? "link.list" : "link." + what, std::move(params)));
  if (what == "ls") show(terminal, result["links"]);
  if (what == "add") show(terminal, Json::array({result}));
  return kDone;
}

}  // namespace

extern const Verb kLink;
const Verb kLink = {
    .name = "link",
    .summary = "emulated wires between network namespaces",
    .operands = "[ls | add NETNS NETNS | del ID]",
    .description =
        "A link is a veth pair with a netem on either end: rate, delay, loss and queue are the same in "
        "both directions. Namespaces that do not exist are made. Addresses come with the link, unique "
        "in the stack.",
    .options = {{.name = "rate", .value = "RATE", .help = "as in 100mbit (default: no limit)"},
                {.name = "delay", .value = "TIME", .help = "one way, as in 10ms"},
                {.name = "jitter", .value = "TIME", .help = "the delay varies by so much"},
                {.name = "loss", .value = "SHARE", .help = "of packets, at random, as in 0.1%"},
                {.name = "queue", .value = "PACKETS",
                 .help = "that may wait for the rate (default: one round trip's worth)"},
                {.name = "mtu", .value = "BYTES", .help = "default: 1500"}},
    .examples = {{"lkm-run link add client server --rate 100mbit --delay 10ms", "a bottleneck"},
                 {"lkm-run link", "list them"}},
    .most = 3,
    .words = {"ls", "add", "del"},
    .run = run,
};

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
#include <poll.h>

#include <charconv>

#include "toolkit/net/units.hpp"
#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

constexpr std::chrono::seconds kProgress{1};

std::string control_of(const Json& flow) {
  const std::string control = flow.value("client_control", "");
  return control.empty() ? flow.value("transport", "") : control;
}

std::uint64_t retransmits_of(const Json& flow) {
  return flow.contains("tcp") ? flow["tcp"].value("retransmits", std::uint64_t{0}) : 0;
}

std::string summary(const Json& flow) {
  const auto elapsed = std::chrono::nanoseconds(flow.value("elapsed_ns", std::int64_t{0}));
  std::string text =
      fmt::format("flow {}: {}, {} verified in {}, {}", flow.value("id", 0u), control_of(flow),
                  format_size(flow.value("bytes_verified", std::uint64_t{0})), format_duration(elapsed),
                  format_rate(flow.value("rate_bit_s", 0.0)));
  if (const auto requests = flow.value("requests", std::uint64_t{0})) {
    const auto p50 = std::chrono::nanoseconds(flow["gaps"].value("p50_ns", std::int64_t{0}));
    text += fmt::format(", {} requests, half within {}", requests, format_duration(p50));
  }
  return text + fmt::format(", {} retransmits", retransmits_of(flow));
}

// The outcome of flows that ended: kFailed when a byte was wrong or missing.
int show_end(Terminal& terminal, const Json& flow) {
  const std::string error = flow.value("error", "");
  if (terminal.json()) {
    terminal.object({{"flow", flow}});
  } else {
    terminal.line(summary(flow));
    if (!error.empty()) terminal.error(Error({}, error));
  }
  return error.empty() && flow.value("state", "") != "failed" ? kDone : kFailed;
}

void show_list(const Terminal& terminal, const Json& flows) {
  if (terminal.json()) {
    for (const Json& flow : flows) terminal.object({{"flow", flow}});
    return;
  }
  std::vector<std::vector<std::string>> rows = {
      {"ID", "STATE", "CC", "FROM", "TO", "SENT", "VERIFIED", "RATE", "RETRANS", "ERROR"}};
  for (const Json& flow : flows) {
    rows.push_back({fmt::format("{}", flow.value("id", 0u)), flow.value("state", ""), control_of(flow),
                    flow.value("client", ""), flow.value("server_address", ""),
                    format_size(flow.value("bytes_sent", std::uint64_t{0})),
                    format_size(flow.value("bytes_verified", std::uint64_t{0})),
                    format_rate(flow.value("rate_bit_s", 0.0)),
                    fmt::format("{}", retransmits_of(flow)), flow.value("error", "")});
  }
  terminal.table(rows);
}

int refuse(Terminal& terminal, const Error& error) {
  terminal.error(error);
  return kUsage;
}

Result<std::uint64_t> number(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Failure(Error({}, fmt::format("'{}' is no number", text)).with_hint("lkm-run flow -h"));
  }
  return value;
}

// What the methods call a flow (toolkit/flow/json.hpp), judged here so that a mistake is one of usage.
Result<Json> spec_of(const Arguments& arguments) {
  Json spec = Json::object();
  const auto text = [&](const char* option, const char* member) {
    if (arguments.has(option)) spec[member] = arguments.value(option);
  };
  text("from", "client");
  text("to", "server");
  text("cc", "control");
  text("transport", "transport");
  text("family", "family");
  for (const char* option : {"bytes", "request-bytes", "response-bytes"}) {
    if (arguments.has(option)) LKM_CHECK(parse_size(arguments.value(option)));
  }
  text("bytes", "bytes");
  text("request-bytes", "request_bytes");
  text("response-bytes", "response_bytes");
  for (const char* option : {"duration", "interval"}) {
    if (arguments.has(option)) LKM_CHECK(parse_duration(arguments.value(option)));
  }
  text("duration", "duration");
  text("interval", "interval");
  for (const char* option : {"requests", "seed"}) {
    if (!arguments.has(option)) continue;
    LKM_TRY(spec[option], number(arguments.value(option)));
  }
  if (arguments.has("requests")) {
    spec["kind"] = "requests";
    if (arguments.has("bytes")) {
      return Failure(Error({}, "--bytes and --requests exclude each other").with_hint("lkm-run flow -h"));
    }
  }
  return spec;
}

// Until the flow's end or Ctrl-C, which stops it and still verifies what was sent.
Result<int> wait_for(const Arguments& arguments, Terminal& terminal, control::Client& client,
                     std::uint64_t id) {
  LKM_TRY(auto interrupt, Interrupt::block());
  LKM_TRY(auto waiter, connect(arguments));
  const auto progress = [&](const Json& event) {
    const std::string text = summary(event["flow"]);
    if (terminal.interactive()) {
      terminal.transient(text);
    } else {
      terminal.note(text);
    }
  };
  LKM_CHECK(waiter.start("flow.wait",
                         {{"id", id}, {"every_ns", std::chrono::nanoseconds(kProgress).count()}}));
  for (;;) {
    LKM_TRY(auto end, waiter.poll(progress));
    if (end) return show_end(terminal, *end);
    LKM_TRY(const auto woken, interrupt.wait(waiter.fd(), POLLIN));
    if (woken == Interrupt::Woken::kBySignal) break;
  }
  LKM_TRY(const Json flow, client.call("flow.stop", {{"id", id}}));
  show_end(terminal, flow);
  return kInterrupted;
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  const auto& operands = arguments.operands();
  const std::string what = operands.empty() ? "run" : operands[0];
  const bool needs_id = what == "wait" || what == "stop";
  if (operands.size() > 1 && !needs_id) {
    return refuse(terminal, Error({}, fmt::format("'flow {}' has no use for '{}'", what, operands[1])));
  }
  if (operands.size() < 2 && needs_id) {
    return refuse(terminal, Error({}, fmt::format("'flow {}' needs the ID of a flow", what))
                                .with_hint("lkm-run flow ls"));
  }
  auto spec = spec_of(arguments);
  if (!spec) return refuse(terminal, spec.error());
  std::uint64_t id = 0;
  if (needs_id) {
    const auto given = number(operands[1]);
    if (!given) return refuse(terminal, given.error());
    id = *given;
  }

  LKM_TRY(auto client, connect(arguments));
  if (what == "ls") {
    LKM_TRY(const Json result, client.call("flow.list"));
    show_list(terminal, result["flows"]);
    return kDone;
  }
  if (what == "stop") {
    LKM_TRY(const Json flow, client.call("flow.stop", {{"id", id}}));
    return show_end(terminal, flow);
  }
  if (what == "wait") return wait_for(arguments, terminal, client, id);

  const bool limited = spec->contains("bytes") || spec->contains("requests") || spec->contains("duration");
  if (what == "run" && !limited) (*spec)["duration"] = "5s";
  LKM_TRY(const Json flow, client.call("flow.start", std::move(*spec)));
  id = flow["id"].get<std::uint64_t>();
  if (what == "run") return wait_for(arguments, terminal, client, id);
  if (terminal.json()) {
    terminal.object({{"flow", flow}});
  } else {
    terminal.line(fmt::format("flow {}: {} to {}", id, control_of(flow), flow.value("server_address", "")));
  }
  return kDone;
}

}  // namespace

extern const Verb kFlow;
const Verb kFlow = {
    .name = "flow",
    .summary = "verified traffic through a stack",
    .operands = "[run | start | ls | wait ID | stop ID]",
    .description =
        "Sends real bytes through the stack's ordinary sockets and checks each one at the far end. "
        "`run` (what happens without a word) waits for the end and fails if a byte is wrong or "
        "missing; `start` leaves the flow running.\n\n"
        "A flow sends a stream as fast as it can, or with --requests asks and waits for each answer. "
        "Without --from and --to it goes over the loopback of the first namespace. `run` without a "
        "limit sends for five seconds; `start` without one goes on until it is stopped.",
    .options = {{.name = "from", .value = "NETNS", .help = "namespace of the client"},
                {.name = "to", .value = "NETNS", .help = "namespace of the server"},
                {.name = "cc", .value = "NAME", .help = "congestion control of the client"},
                {.name = "bytes", .value = "SIZE", .help = "how much to send, as in 10MiB"},
                {.name = "duration", .value = "TIME", .help = "how long to send, as in 5s"},
                {.name = "requests", .value = "N", .help = "ask N times; 0 for no limit"},
                {.name = "request-bytes", .value = "SIZE", .help = "of each request (default: 64B)"},
                {.name = "response-bytes", .value = "SIZE", .help = "of each answer (default: 64B)"},
                {.name = "interval", .value = "TIME", .help = "pause after each answer"},
                {.name = "transport", .value = "NAME", .help = "tcp, mptcp, sctp, telex",
                 .choices = {"tcp", "mptcp", "sctp", "telex"}},
                {.name = "family", .value = "NAME", .help = "v4, v6", .choices = {"v4", "v6"}},
                {.name = "seed", .value = "N", .help = "of the bytes that are sent"}},
    .examples = {{"lkm-run flow --cc mycc", "five seconds over loopback"},
                 {"lkm-run flow --from client --to server --bytes 100MiB", "over a link"},
                 {"lkm-run flow start --cc mycc && lkm-run flow ls", "in the background"}},
    .most = 2,
    .words = {"run", "start", "ls", "wait", "stop"},
    .run = run,
};

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
//
// Unmodified programs on a stack (lkm-run exec), against the same programs on the host's loopback. Stack and programs
// share the one CPU that this process is bound to, as the host's kernel and the programs do.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <thread>

#include "bench/parts.hpp"
#include "bench/traffic.hpp"
#include "toolkit/base/child.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::bench {
namespace {

using namespace std::chrono_literals;

using Words = std::vector<std::string>;
constexpr int kPingRounds = 20'000;
constexpr auto kServerPatience = 10s;
constexpr int kDatagram = 64;

/// Ends a program that hangs.
Result<std::string> output_of(Words words) {
  words.insert(words.begin(), {"timeout", "120"});
  LKM_TRY(auto child, Child::spawn({.argv = words, .out = Child::Output::kPipe, .err = Child::Output::kNull}));
  LKM_TRY(std::string text, child.read_all());
  LKM_TRY(const ExitStatus status, child.wait());
  if (status.success()) return text;
  return fail(EIO, "'{}' ended with {}: {}", fmt::join(words, " "), status.code, text);
}

/// Where programs run: words in front of theirs.
struct Place {
  Words front;
  [[nodiscard]] Words operator()(const Words& words) const {
    Words all = front;
    all.insert(all.end(), words.begin(), words.end());
    return all;
  }
};

/// A client's output, tried until the server that was just started answers it. iperf3 ends well with "error" in
/// its JSON.
Result<std::string> ask(const Place& place, const Words& client) {
  const auto deadline = std::chrono::steady_clock::now() + kServerPatience;
  for (;;) {
    auto text = output_of(place(client));
    const bool answered = text && text->find("\"error\":") == std::string::npos;
    if (answered || std::chrono::steady_clock::now() > deadline) return text;
    std::this_thread::sleep_for(20ms);
  }
}

Result<double> number_after(const std::string& text, const std::string& key) {
  const auto at = text.rfind(key);
  if (at == std::string::npos) return fail(EBADMSG, "no '{}' in '{}'", key, text);
  return std::strtod(text.c_str() + at + key.size(), nullptr);
}

Result<double> ping_us(const Place& place) {
  LKM_TRY(const std::string text, output_of(place({std::filesystem::read_symlink("/proc/self/exe"), "--ping-pong"})));
  return std::strtod(text.c_str(), nullptr);
}

Result<double> iperf_gbit(const Place& server_place, const Place& client_place, const std::string& address, const Words& how) {
  LKM_TRY(auto server, Child::spawn({.argv = server_place({"iperf3", "-s", "-1", "-p", "5299"}), .out = Child::Output::kNull}));
  Words client = {"iperf3", "-c", address, "-p", "5299", "-t", "2", "-J"};
  client.insert(client.end(), how.begin(), how.end());
  LKM_TRY(const std::string text, ask(client_place, client));
  const auto at = text.find("\"sum_received\"");
  if (at == std::string::npos) return fail(EBADMSG, "iperf3 said '{}'", text);
  LKM_TRY(const double bits, number_after(text.substr(at, 400), "\"bits_per_second\":"));
  return bits / 1e9;
}

Result<double> bulk_gbit(const Place& server_place, const Place& client_place, const std::string& address, int streams) {
  return iperf_gbit(server_place, client_place, address, {"-C", kControl, "-P", std::to_string(streams)});
}

/// As fast as the sender can: of those that arrive.
Result<double> datagrams_per_second(const Place& server_place, const Place& client_place, const std::string& address) {
  LKM_TRY(const double gbit, iperf_gbit(server_place, client_place, address, {"-u", "-b", "0", "-l", std::to_string(kDatagram)}));
  return gbit * 1e9 / 8 / kDatagram;
}

Result<double> requests(const Place& place, const std::filesystem::path& folder, bool keep_alive) {
  const std::string at = folder;
  LKM_CHECK(replace_file(folder / "nginx.conf",
                       fmt::format("daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log /dev/null;\n"
                                   "events {{ worker_connections 400; }}\n"
                                   "http {{\n  access_log off;\n  keepalive_requests 100000000;\n"
                                   "  client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c;\n"
                                   "  uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;\n"
                                   "  server {{ listen 5298; return 200 'hello'; }}\n}}\n",
                                   at)));
  LKM_TRY(auto server, Child::spawn({.argv = place({"nginx", "-c", at + "/nginx.conf", "-e", "/dev/null"}),
                                     .err = Child::Output::kNull}));
  LKM_CHECK(ask(place, {"curl", "-sf", "http://127.0.0.1:5298/"}));
  Words wrk = {"wrk", "-t", "1", "-c", "16", "-d", "2", "http://127.0.0.1:5298/"};
  if (!keep_alive) wrk.insert(wrk.end() - 1, {"-H", "Connection: close"});
  LKM_TRY(const std::string text, output_of(place(wrk)));
  LKM_CHECK(server.stop(2s));
  return number_after(text, "Requests/sec:");
}

/// Of both places in turns, the median.
Result<Row> compare(const Options& options, const Place& ours, const std::string& name, const std::string& unit,
                    const std::function<Result<double>(const Place&)>& measure) {
  std::vector<double> mine, theirs;
  for (std::size_t round = 0; round < options.rounds; ++round) {
    LKM_TRY(const double on_the_stack, measure(ours));
    LKM_TRY(const double on_the_host, measure({}));
    mine.push_back(on_the_stack);
    theirs.push_back(on_the_host);
  }
  return Row{.name = name, .unit = unit, .ours = median(mine), .peer = "the same program on the host's loopback",
             .theirs = median(theirs), .floor = {}};
}

constexpr Floor kHalf{Floor::Of::kRatioAtLeast, 0.5};

}  // namespace

Result<Rows> programs_part(const Options& options) {
  LKM_TRY(const TempDir folder, TempDir::make());
  ::setenv("XDG_RUNTIME_DIR", folder.path().c_str(), 1);
  const std::string lkm_run = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../tools/lkm-run/lkm-run";
  LKM_CHECK(output_of({lkm_run, "up", "--no-fuse", "--image", options.image}));
  const Place stack{{lkm_run, "exec", "--"}};
  Rows rows;
  const auto measure_all = [&]() -> Result<void> {
    LKM_TRY(rows.emplace_back(), compare(options, stack, "programs: ping-pong of 1 byte, two processes", "us", ping_us));
    for (const int streams : {1, 8}) {
      LKM_TRY(rows.emplace_back(), compare(options, stack, fmt::format("programs: iperf3, cubic, {} streams", streams), "Gbit/s",
                                           [&](const Place& place) { return bulk_gbit(place, place, "127.0.0.1", streams); }));
      rows.back().floor = kHalf;
    }
    for (const bool keep_alive : {true, false}) {
      LKM_TRY(rows.emplace_back(),
              compare(options, stack, fmt::format("programs: nginx, wrk, 16 connections{}", keep_alive ? "" : ", one request each"),
                      "requests/s", [&](const Place& place) { return requests(place, folder.path(), keep_alive); }));
      rows.back().floor = kHalf;
    }
    return {};
  };
  const auto measured = measure_all();
  LKM_CHECK(output_of({lkm_run, "down"}));
  LKM_CHECK(measured);
  return rows;
}

/// Programs with a stack inside, against the same programs on the host's loopback.
Result<Rows> embedded_part(const Options& options) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const std::string lkm_run = std::filesystem::path(self).parent_path() / "../tools/lkm-run/lkm-run";
  ::setenv("LKM_RUN_IMAGE", options.image.c_str(), 1);
  LKM_TRY(const TempDir folder, TempDir::make());
  const std::string cable = folder.path() / "cable";
  const auto embedded = [&](const std::string& address) {
    return Place{{lkm_run, "exec", "--embed", "--cable", cable, "--address", address, "--"}};
  };
  const Place inside{{lkm_run, "exec", "--embed", "--"}};
  const auto number_of = [&](const char* program) {
    return [&self, program](const Place& place) -> Result<double> {
      LKM_TRY(const std::string text, output_of(place({self, program})));
      return std::strtod(text.c_str(), nullptr);
    };
  };
  Rows rows;
  LKM_TRY(rows.emplace_back(), compare(options, inside, "embedded: ping-pong of 1 byte, two threads", "us",
                                       number_of("--ping-pong-of-threads")));
  rows.back().floor = Floor{Floor::Of::kRatioAtMost, 1 / 1.5};
  LKM_TRY(rows.emplace_back(), compare(options, inside, "embedded: bulk, two threads", "Gbit/s", number_of("--bulk-of-threads")));
  rows.back().floor = Floor{Floor::Of::kRatioAtLeast, 1.0};
  const auto on_a_cable = [&](auto measure) {
    return [&embedded, measure](const Place& place) -> Result<double> {
      if (place.front.empty()) return measure(place, place, "127.0.0.1");
      return measure(embedded("10.0.0.1/24"), embedded("10.0.0.2/24"), "10.0.0.1");
    };
  };
  LKM_TRY(rows.emplace_back(),
          compare(options, inside, "embedded: iperf3, cubic, two processes with a stack each, on a cable", "Gbit/s",
                  on_a_cable([](const Place& server, const Place& client, const char* to) { return bulk_gbit(server, client, to, 1); })));
  rows.back().floor = Floor{Floor::Of::kRatioAtLeast, 1.0};
  LKM_TRY(rows.emplace_back(), compare(options, inside, "embedded: iperf3, datagrams of 64 bytes that arrive, the same", "a second",
                                       on_a_cable(datagrams_per_second)));
  return rows;
}

namespace {

UniqueFd tcp_socket() {
  UniqueFd made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(made.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  ::setsockopt(made.get(), IPPROTO_TCP, TCP_CONGESTION, kControl, std::strlen(kControl));
  return made;
}

/// A socket that listens on the loopback, and its address. Empty when that fails.
std::pair<UniqueFd, sockaddr_in> listening() {
  UniqueFd listener = tcp_socket();
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const at = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), at, size) != 0 || ::listen(listener.get(), 1) != 0 || ::getsockname(listener.get(), at, &size) != 0)
    return {};
  return {std::move(listener), address};
}

/// Empty when that fails.
UniqueFd connected_to(const sockaddr_in& address) {
  UniqueFd made = tcp_socket();
  if (::connect(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return {};
  return made;
}

/// Two connected sockets of the loopback, in one process. Empty when that fails.
std::pair<UniqueFd, UniqueFd> connected_pair() {
  const auto [listener, address] = listening();
  UniqueFd one = connected_to(address);
  if (!listener || !one) return {};
  return {std::move(one), UniqueFd(::accept(listener.get(), nullptr, nullptr))};
}

/// Sends back each byte that it gets, until the other end is closed.
void echo(const UniqueFd& end) {
  char byte = 0;
  while (::recv(end.get(), &byte, 1, 0) == 1 && ::send(end.get(), &byte, 1, 0) == 1) {
  }
}

/// Microseconds a round trip; none: the other end went.
std::optional<double> round_trip_us(const UniqueFd& end) {
  char byte = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kPingRounds; ++i) {
    if (::send(end.get(), &byte, 1, 0) != 1 || ::recv(end.get(), &byte, 1, 0) != 1) return {};
  }
  const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - begin;
  return spent.count() / kPingRounds;
}

}  // namespace

int ping_pong_of_threads() {
  auto [one, other] = connected_pair();
  if (!one || !other) return 1;
  std::thread answers([&end = other] { echo(end); });
  const auto spent = round_trip_us(one);
  ::shutdown(one.get(), SHUT_RDWR);
  answers.join();
  fmt::print("{:.3f}\n", spent.value_or(0));
  return spent ? 0 : 1;
}

int bulk_of_threads() {
  constexpr auto kTime = 2s;
  constexpr std::size_t kBlock = 65536;
  auto [one, other] = connected_pair();
  if (!one || !other) return 1;
  double bytes = 0;
  std::thread sink([&bytes, &end = other] {
    std::vector<char> block(kBlock);
    for (ssize_t got = 0; (got = ::recv(end.get(), block.data(), block.size(), 0)) > 0;) bytes += double(got);
  });
  std::vector<char> block(kBlock);
  const auto begin = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - begin < kTime && ::send(one.get(), block.data(), block.size(), 0) > 0) {
  }
  ::shutdown(one.get(), SHUT_WR);
  sink.join();
  const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - begin;
  fmt::print("{:.3f}\n", bytes * 8 / spent.count());
  return 0;
}

/// The program of the ping-pong rows: prints microseconds a round trip. 0 or 1.
int ping_pong() {
  const auto [server, address] = listening();
  if (!server) return 1;
  const pid_t answers = ::fork();
  if (answers == 0) {
    echo(UniqueFd(::accept(server.get(), nullptr, nullptr)));
    ::_exit(0);
  }
  UniqueFd end = connected_to(address);
  if (!end) return 1;
  const auto spent = round_trip_us(end);
  if (!spent) return 1;
  fmt::print("{:.3f}\n", *spent);
  end.reset();
  ::waitpid(answers, nullptr, 0);
  return 0;
}

}  // namespace lkm::bench

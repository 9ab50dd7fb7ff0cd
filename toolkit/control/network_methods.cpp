// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/network_methods.hpp"

#include <poll.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>
#include <sstream>

#include "libos-runtime/host/memif_wire.hpp"
#include "libos-runtime/host/packet_wire.hpp"
#include "libos-runtime/host/pcap_wire.hpp"
#include "toolkit/flow/flows.hpp"
#include "toolkit/flow/json.hpp"
#include "toolkit/net/capture.hpp"
#include "toolkit/net/json.hpp"
#include "toolkit/net/links.hpp"
#include "toolkit/net/rtnl.hpp"

namespace lkm::control {
namespace {

// Links are changed by one fiber at a time: a second connection waits for its turn.
class LinkTable {
 public:
  explicit LinkTable(Stack& stack) : stack_(stack), links_(stack) {}

  template <typename Change>
  auto change(Change change) {
    while (busy_) stack_.sleep_for(std::chrono::milliseconds(1));
    busy_ = true;
    auto result = change(links_);
    busy_ = false;
    return result;
  }
  [[nodiscard]] std::vector<Link> list() const { return links_.list(); }

 private:
  Stack& stack_;
  Links links_;
  bool busy_ = false;
};

Result<unsigned> id_param(const Json& params) {
  LKM_TRY(const std::int64_t id, integer_param(params, "id", 0));
  if (id <= 0 || id > UINT32_MAX) return fail(EINVAL, "parameter \"id\" must be the number of one");
  return static_cast<unsigned>(id);
}

void add_links(Server& server, Stack& stack) {
  const auto table = std::make_shared<LinkTable>(stack);
  server.add("link.add", [table](Call& call) -> Result<Json> {
    LKM_TRY(const LinkSpec spec, link_spec_from_json(call.params()));
    LKM_TRY(const Link link, table->change([&](Links& links) { return links.add(spec); }));
    return to_json(link);
  });
  server.add("link.del", [table](Call& call) -> Result<Json> {
    LKM_TRY(const auto id, integer_param(call.params(), "id", -1));
    if (id < 0 || id > UINT32_MAX) return fail(EINVAL, "parameter \"id\" must be the number of a link");
    LKM_CHECK(table->change([&](Links& links) { return links.remove(static_cast<unsigned>(id)); }));
    return Json::object();
  });
  server.add("link.list", [table](Call&) -> Result<Json> {
    Json list = Json::array();
    for (const Link& link : table->list()) list.push_back(to_json(link));
    return Json{{"links", std::move(list)}};
  });
}

// What a device was asked to be, by its name. Stack knows the rest.
struct DeviceSpec {
  std::string tap;     // one of these, or the two of pcap
  std::string cable;
  std::string memif;
  std::string role;    // of memif: "server", "client"
  std::string packet;
  std::string uplink;  // "internet", "host"
  std::string pcap, pcap_out;
  std::string pace;    // of pcap: "recorded", "fast"
  std::string mac;     // empty: a random one
  std::string netns;
  std::string address;
  std::string gateway;
  std::uint64_t mtu = 0;  // 0: that of the wire
};

Result<DeviceSpec> device_spec_from_json(const Json& object, std::string& name) {
  DeviceSpec spec;
  JsonReader reader(object, "device");
  LKM_CHECK(reader.require("name"));
  LKM_CHECK(reader.get("name", name));
  LKM_CHECK(reader.get("tap", spec.tap));
  LKM_CHECK(reader.get("cable", spec.cable));
  LKM_CHECK(reader.get("memif", spec.memif));
  LKM_CHECK(reader.get("role", spec.role));
  LKM_CHECK(reader.get("packet", spec.packet));
  LKM_CHECK(reader.get("uplink", spec.uplink));
  LKM_CHECK(reader.get("pcap", spec.pcap));
  LKM_CHECK(reader.get("pcap_out", spec.pcap_out));
  LKM_CHECK(reader.get("pace", spec.pace));
  LKM_CHECK(reader.get("mac", spec.mac));
  LKM_CHECK(reader.get("netns", spec.netns));
  LKM_CHECK(reader.get("address", spec.address));
  LKM_CHECK(reader.get("gateway", spec.gateway));
  LKM_CHECK(reader.get("mtu", spec.mtu, UINT16_MAX));
  LKM_CHECK(reader.done());
  const bool pcap = !spec.pcap.empty() || !spec.pcap_out.empty();
  if (!spec.tap.empty() + !spec.cable.empty() + !spec.memif.empty() + !spec.packet.empty() + !spec.uplink.empty() + pcap != 1)
    return fail(EINVAL, "device: one of 'tap', 'cable', 'memif', 'packet', 'uplink' and 'pcap'");
  if (!spec.role.empty() && (spec.memif.empty() || (spec.role != "server" && spec.role != "client")))
    return fail(EINVAL, "device: role '{}': a 'memif' has the role server or client", spec.role);
  if (!spec.uplink.empty() && spec.uplink != "internet" && spec.uplink != "host")
    return fail(EINVAL, "device: an uplink to '{}', and not to internet or host", spec.uplink);
  if (!spec.pace.empty() && (spec.pcap.empty() || (spec.pace != "recorded" && spec.pace != "fast")))
    return fail(EINVAL, "device: pace '{}': a 'pcap' has the pace recorded or fast", spec.pace);
  if (!spec.uplink.empty()) {
    if (spec.address.empty()) spec.address = uplink::kAddress;
    if (spec.gateway.empty() && spec.address == uplink::kAddress) spec.gateway = uplink::kGateway;
  }
  if (spec.mtu == 0) spec.mtu = spec.uplink.empty() ? 1500 : uplink::kMtu;
  return spec;
}

/// "02:00:00:00:00:01".
Result<std::array<std::uint8_t, 6>> parse_mac(const std::string& text) {
  std::array<std::uint8_t, 6> mac{};
  std::istringstream fields(text);
  std::string field;
  std::size_t count = 0;
  for (; std::getline(fields, field, ':'); ++count) {
    const auto* const end = field.data() + field.size();
    if (count == mac.size() || field.size() > 2 ||
        std::from_chars(field.data(), end, mac[count], 16).ptr != end || field.empty())
      return fail(EINVAL, "MAC address '{}'", text);
  }
  if (count != mac.size() || text.ends_with(':')) return fail(EINVAL, "MAC address '{}'", text);
  return mac;
}

struct OpenWire {
  std::unique_ptr<Wire> wire;
  PcapWire* replay = nullptr;  ///< the same, to be begun once the device is up
};

Result<OpenWire> open_pcap(const Stack& stack, const DeviceSpec& spec) {
  const bool fast = spec.pace == "fast";
  if (!fast && !spec.pcap.empty() && stack.options().clock == Clock::kVirtual)
    return fail_hint(EOPNOTSUPP, "--pace fast", "replay at the pace of real time in a stack with virtual time");
  LKM_TRY(auto wire, PcapWire::open({.in = spec.pcap, .out = spec.pcap_out, .fast = fast}));
  PcapWire* const replay = wire.get();
  return OpenWire{std::move(wire), replay};
}

Result<std::unique_ptr<Wire>> open_uplink(const DeviceSpec& spec, const MakeUplink& make_uplink) {
  if (!make_uplink) return fail(EOPNOTSUPP, "an uplink");
  LKM_TRY(auto socket, make_uplink(spec.uplink == "host" ? Reach::kHost : Reach::kInternet));
  return std::make_unique<SocketWire>(std::move(socket), SocketWire::Metadata::kIgnored, "uplink " + spec.uplink);
}

Result<std::unique_ptr<Wire>> open_wire(const DeviceSpec& spec) {
  if (!spec.tap.empty()) return TapWire::open(spec.tap);
  if (!spec.packet.empty()) return PacketWire::open(spec.packet);
  if (!spec.memif.empty())
    return MemifWire::at(spec.memif, spec.role == "client" ? MemifWire::Role::kClient : MemifWire::Role::kServer);
  return MemifWire::at(spec.cable, MemifWire::Role::kEither, "cable");
}

Result<void> configure(Stack& stack, const std::string& name, const DeviceSpec& spec) {
  LKM_TRY(Rtnl net, Rtnl::open(stack, spec.netns));
  if (!spec.address.empty()) {
    LKM_TRY(const IpPrefix address, IpPrefix::parse(spec.address));
    LKM_CHECK(net.addr_add(name, address));
  }
  LKM_CHECK(net.link_up(name));
  if (!spec.gateway.empty()) {
    LKM_TRY(const IpPrefix gateway, IpPrefix::parse(spec.gateway));
    LKM_CHECK(net.route_add({}, gateway));
  }
  return {};
}

Json to_json(const DeviceInfo& device, const DeviceSpec& spec) {
  return {{"name", device.name},   {"wire", device.wire},       {"carrier", device.carrier},
          {"netns", spec.netns},   {"address", spec.address},   {"mtu", spec.mtu}};
}

void add_devices(Server& server, Stack& stack, const MakeUplink& make_uplink) {
  const auto specs = std::make_shared<std::map<std::string, DeviceSpec>>();
  server.add("device.add", [specs, make_uplink, &stack](Call& call) -> Result<Json> {
    std::string name;
    LKM_TRY(const DeviceSpec spec, device_spec_from_json(call.params(), name));
    // A request has a fiber of its own, so nobody else changes namespaces with it.
    if (!spec.netns.empty()) LKM_CHECK(stack.netns_enter(spec.netns));
    Stack::DeviceOptions options{.mtu = static_cast<unsigned>(spec.mtu)};
    if (!spec.mac.empty()) {
      LKM_TRY(options.mac, parse_mac(spec.mac));
    }
    OpenWire opened;
    if (!spec.pcap.empty() || !spec.pcap_out.empty()) {
      LKM_TRY(opened, open_pcap(stack, spec));
    } else if (!spec.uplink.empty()) {
      LKM_TRY(opened.wire, open_uplink(spec, make_uplink));
    } else {
      LKM_TRY(opened.wire, open_wire(spec));
    }
    LKM_CHECK(stack.add_device(name, std::move(opened.wire), options));
    if (auto configured = configure(stack, name, spec); !configured) {
      LKM_CHECK(stack.remove_device(name));
      return Failure(std::move(configured).error());
    }
    if (opened.replay != nullptr) opened.replay->begin();
    (*specs)[name] = spec;
    LKM_TRY(const auto devices, stack.devices());
    const auto made = std::ranges::find(devices, name, &DeviceInfo::name);
    if (made == devices.end()) return fail(ENODEV, "device '{}' was removed meanwhile", name);
    return to_json(*made, spec);
  });
  server.add("device.del", [specs, &stack](Call& call) -> Result<Json> {
    LKM_TRY(const auto name, string_param(call.params(), "name"));
    LKM_CHECK(stack.remove_device(name));
    specs->erase(name);
    return Json::object();
  });
  server.add("device.list", [specs, &stack](Call&) -> Result<Json> {
    LKM_TRY(const auto devices, stack.devices());
    Json list = Json::array();
    for (const DeviceInfo& device : devices) list.push_back(to_json(device, (*specs)[device.name]));
    return Json{{"devices", std::move(list)}};
  });
}

void add_addresses(Server& server, Stack& stack) {
  server.add("address.add", [&stack](Call& call) -> Result<Json> {
    LKM_TRY(const auto netns, string_param(call.params(), "netns", ""));
    LKM_TRY(const auto device, string_param(call.params(), "device"));
    LKM_TRY(const auto text, string_param(call.params(), "address"));
    LKM_TRY(const IpPrefix address, IpPrefix::parse(text));
    LKM_TRY(Rtnl net, Rtnl::open(stack, netns));
    LKM_CHECK(net.addr_add(device, address));
    LKM_CHECK(net.link_up(device));
    return Json::object();
  });
  server.add("route.add", [&stack](Call& call) -> Result<Json> {
    LKM_TRY(const auto netns, string_param(call.params(), "netns", ""));
    LKM_TRY(const auto to, string_param(call.params(), "to", ""));
    LKM_TRY(const auto text, string_param(call.params(), "gateway"));
    LKM_TRY(const IpPrefix gateway, IpPrefix::parse(text));
    std::optional<IpPrefix> network;
    if (!to.empty()) {
      LKM_TRY(network, IpPrefix::parse(to));
    }
    LKM_TRY(Rtnl net, Rtnl::open(stack, netns));
    LKM_CHECK(net.route_add(network, gateway));
    return Json::object();
  });
}

void add_flows(Server& server, Stack& stack) {
  const auto flows = std::make_shared<Flows>(stack);
  server.add("flow.start", [flows](Call& call) -> Result<Json> {
    LKM_TRY(const FlowSpec spec, flow_spec_from_json(call.params()));
    LKM_TRY(const FlowReport report, flows->start(spec));
    return to_json(report);
  });
  server.add("flow.wait", [flows, &stack](Call& call) -> Result<Json> {
    LKM_TRY(const unsigned id, id_param(call.params()));
    LKM_TRY(const auto every_ns, integer_param(call.params(), "every_ns", 0));
    for (;;) {
      const StackTime deadline =
          every_ns > 0 ? stack.now() + std::chrono::nanoseconds(every_ns) : kForever;
      auto report = flows->wait(id, deadline);
      if (report) return to_json(*report);
      if (report.error().errno_value() != ETIMEDOUT) return Failure(std::move(report).error());
      LKM_TRY(const FlowReport now, flows->report(id));
      LKM_CHECK(call.event({{"flow", to_json(now)}}));
    }
  });
  server.add("flow.stop", [flows](Call& call) -> Result<Json> {
    LKM_TRY(const unsigned id, id_param(call.params()));
    LKM_TRY(const FlowReport report, flows->stop(id));
    return to_json(report);
  });
  server.add("flow.list", [flows](Call&) -> Result<Json> {
    Json list = Json::array();
    for (const FlowReport& report : flows->list()) list.push_back(to_json(report));
    return Json{{"flows", std::move(list)}};
  });
}

/// All of it, waiting while a pipe is full. EINTR when the client went meanwhile.
Result<void> write_whole(Stack& stack, const UniqueFd& fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd.get(), bytes.data(), bytes.size());
    if (n < 0 && errno != EAGAIN && errno != EINTR) return fail(errno, "write the capture");
    if (n > 0) bytes.remove_prefix(std::size_t(n));
    if (n < 0 && errno == EAGAIN) LKM_CHECK(stack.wait_fd(fd.get(), POLLOUT));
  }
  return {};
}

/// Of packets that wait for a capture: small beside the stack's memory. And how many are taken before others run.
constexpr int kCaptureRoom = 2 << 20;
constexpr std::uint64_t kCaptureTurn = 256;

struct CaptureSpec {
  std::string device, netns, file;
  std::uint64_t snap = 0, count = 0;
};

Result<CaptureSpec> capture_spec_from_json(const Json& params) {
  CaptureSpec spec;
  JsonReader reader(params, "capture");
  LKM_CHECK(reader.require("device"));
  LKM_CHECK(reader.require("file"));
  LKM_CHECK(reader.get("device", spec.device));
  LKM_CHECK(reader.get("netns", spec.netns));
  LKM_CHECK(reader.get("file", spec.file));
  LKM_CHECK(reader.get("snap", spec.snap, pcap::kLongest));
  LKM_CHECK(reader.get("count", spec.count, INT64_MAX));
  LKM_CHECK(reader.done());
  if (spec.snap == 0) spec.snap = pcap::kLongest;
  return spec;
}

/// A capture with the file that it writes.
struct OpenCapture {
  UniqueFd fd;
  std::unique_ptr<Capture> capture;
  bool stopping = false;  ///< of one in the background
};

Result<OpenCapture> open_capture(Stack& stack, const CaptureSpec& spec) {
  LKM_TRY(Rtnl net, Rtnl::open(stack, spec.netns));
  LKM_TRY(const unsigned link, net.link_index(spec.device));
  OpenCapture opened;
  LKM_TRY(opened.fd, UniqueFd::open(spec.file, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0644));
  LKM_TRY(opened.capture, Capture::start(stack, spec.netns, link, std::size_t(spec.snap), kCaptureRoom));
  return opened;
}

/// Until `count` packets are in the file, or the fiber is interrupted: EINTR. `progress` is called now and then.
Result<void> run_capture(Stack& stack, OpenCapture& opened, std::uint64_t count, const std::function<Result<void>()>& progress) {
  Capture& capture = *opened.capture;
  do {
    LKM_CHECK(write_whole(stack, opened.fd, capture.take()));
    LKM_CHECK(progress());
    const auto waited = capture.wait();
    const auto wanted = count == 0 ? UINT64_MAX : count - capture.packets();
    LKM_CHECK(capture.drain(std::min(wanted, kCaptureTurn)));  // also what came before the client went
    if (waited) continue;
    LKM_CHECK(write_whole(stack, opened.fd, capture.take()));
    return Failure(waited.error());
  } while (count == 0 || capture.packets() < count);
  return write_whole(stack, opened.fd, capture.take());
}

Json packets_of(const Capture& capture) { return {{"packets", capture.packets()}, {"dropped", capture.dropped()}}; }

/// Captures that nobody waits for.
class BackgroundCaptures {
 public:
  explicit BackgroundCaptures(Stack& stack) : stack_(stack) {}
  ~BackgroundCaptures() {
    for (Running& one : running_) end(one);
  }
  BackgroundCaptures(const BackgroundCaptures&) = delete;
  BackgroundCaptures& operator=(const BackgroundCaptures&) = delete;

  Result<void> start(const CaptureSpec& spec) {
    std::erase_if(running_, [](const Running& one) { return one.fiber.done(); });
    if (find(spec.file) != running_.end()) return fail(EBUSY, "capture into '{}'", spec.file);
    LKM_TRY(auto opened, open_capture(stack_, spec));
    auto shared = std::make_shared<OpenCapture>(std::move(opened));
    Running one{.file = spec.file, .count = spec.count, .opened = shared, .fiber = {}};
    LKM_TRY(one.fiber, stack_.spawn("capture", [&stack = stack_, shared, count = spec.count] {
      (void)run_capture(stack, *shared, count, [&] { return shared->stopping ? fail(EINTR, "capture") : Result<void>(); });
    }));
    running_.push_back(std::move(one));
    return {};
  }
  /// What it has come to.
  Result<Json> stop(const std::string& file) {
    const auto found = find(file);
    if (found == running_.end()) return fail(ENOENT, "a capture into '{}'", file);
    Running one = std::move(*found);
    running_.erase(found);
    end(one);
    return packets_of(*one.opened->capture);
  }

 private:
  struct Running {
    std::string file;
    std::uint64_t count;
    std::shared_ptr<OpenCapture> opened;
    Fiber fiber;
  };
  std::vector<Running>::iterator find(const std::string& file) { return std::ranges::find(running_, file, &Running::file); }
  /// With what has come until now.
  void end(Running& one) {
    OpenCapture& opened = *one.opened;
    opened.stopping = true;
    while (!one.fiber.done()) {
      one.fiber.interrupt();  // again: the one before may have met a call that does not wait
      stack_.sleep_for(std::chrono::milliseconds(1));
    }
    if (one.count == 0 && opened.capture->drain()) (void)write_whole(stack_, opened.fd, opened.capture->take());
  }

  Stack& stack_;
  std::vector<Running> running_;
};

// The stack writes the file, so that packets need not pass the control socket. "file" may be a pipe of the client's.
void add_capture(Server& server, Stack& stack) {
  server.add("capture", [&stack](Call& call) -> Result<Json> {
    LKM_TRY(const CaptureSpec spec, capture_spec_from_json(call.params()));
    LKM_TRY(auto opened, open_capture(stack, spec));
    LKM_CHECK(run_capture(stack, opened, spec.count, [&] { return call.event({{"capture", packets_of(*opened.capture)}}); }));
    return packets_of(*opened.capture);
  });
  const auto background = std::make_shared<BackgroundCaptures>(stack);
  server.add("capture.start", [background](Call& call) -> Result<Json> {
    LKM_TRY(const CaptureSpec spec, capture_spec_from_json(call.params()));
    LKM_CHECK(background->start(spec));
    return Json::object();
  });
  server.add("capture.stop", [background](Call& call) -> Result<Json> {
    LKM_TRY(const auto file, string_param(call.params(), "file"));
    return background->stop(file);
  });
}

}  // namespace

void add_network_methods(Server& server, Stack& stack, MakeUplink make_uplink) {
  add_links(server, stack);
  add_devices(server, stack, make_uplink);
  add_addresses(server, stack);
  add_flows(server, stack);
  add_capture(server, stack);
}

}  // namespace lkm::control

// SPDX-License-Identifier: GPL-2.0
//
// Network devices of a stack: a Wire on the host's side, a netdev of arch/lib on the kernel's.
#include <net/if.h>

#include <algorithm>

#include "libos-runtime/host/devices.hpp"
#include "libos-runtime/host/stack_impl.hpp"

namespace lkm {
namespace {

/// The largest frame: a GSO segment with its headers (GSO_LEGACY_MAX_SIZE and Ethernet).
constexpr std::size_t kLargestFrame = 65536 + 128;
/// What Ethernet's netdevs take (ETH_MIN_MTU, ETH_MAX_MTU of linux/if_ether.h).
constexpr unsigned kSmallestMtu = 68;
constexpr unsigned kLargestMtu = 65535;
/// With a wire that is being connected.
constexpr auto kPatience = std::chrono::milliseconds(300);
/// Frames taken in one interrupt, so that a flood does not keep the CPU from everything else.
constexpr int kBudget = 64;

}  // namespace

int Device::xmit(const libos_frame_meta* meta, const libos_iov* iov, unsigned n) {
  const int err = wire->send(*meta, {iov, n});
  if (err != -EAGAIN) return err;
  if (wire->room()) {
    full = true;
    return -EAGAIN;
  }
  auto waits = runtime.events().await_room(wire->descriptor(),
                                           [this] { runtime.kernel().netdev_room(netdev); });
  return waits ? -EAGAIN : -ENOBUFS;  // nobody would say when to go on: the frame is dropped
}

bool Device::receive() {
  for (int i = 0; i < kBudget; ++i) {
    const long n = wire->hand_over(buffer, taker);
    if (n <= 0) return n == 0;
  }
  return true;
}

Result<void> Device::watch() {
  watched = wire->others();
  watched.push_back(wire->descriptor());
  for (const int fd : watched) LKM_CHECK(runtime.events().watch(fd, [this](unsigned) { ready(); }));
  return {};
}

void Device::unwatch() {
  for (const int fd : std::exchange(watched, {})) runtime.events().unwatch(fd);
}

void Device::plugged() {
  if (const std::string news = wire->news(); !news.empty()) runtime.kernel().netdev_log(netdev, news.c_str());
  if (wire->connected()) runtime.kernel().netdev_vnet_hdr(netdev, wire->has_metadata());
  runtime.kernel().netdev_carrier(netdev, wire->connected());
}

void Device::ready() {
  if (wire->connected() && receive()) {
    if (!full || !wire->room().value_or(true)) return;
  } else {
    // The cable comes out, or may come in. Each way the descriptors can be others afterwards.
    unwatch();
    runtime.kernel().netdev_carrier(netdev, 0);
    broken = !wire->replug() || !watch();
    if (broken) return;
    plugged();
  }
  full = false;
  runtime.kernel().netdev_room(netdev);  // also for what the old cable had no room for
}

Result<void> Stack::add_device(const std::string& name, std::unique_ptr<Wire> wire,
                               const DeviceOptions& options) {
  if (name.empty() || name.size() >= IFNAMSIZ || name.find_first_of("/%:") != std::string::npos) {
    return fail(EINVAL, "device '{}'", name);
  }
  if (options.mtu < kSmallestMtu || options.mtu > kLargestMtu) {
    return fail(EINVAL, "device '{}': an mtu of {} is not between {} and {}", name, options.mtu,
                kSmallestMtu, kLargestMtu);
  }
  if ((options.mac[0] & 1) != 0) return fail(EINVAL, "device '{}': a group address as its own", name);
  auto mac = options.mac;
  if (mac == decltype(mac){}) {
    // Of the host, whatever the clock: stacks of one seed may be at two ends of a cable.
    Random().fill(mac.data(), mac.size());
    mac[0] = std::uint8_t((mac[0] & ~1u) | 2u);  // of one station, locally administered
  }
  return impl_->on_fiber([&]() -> Result<void> {
    if (std::ranges::any_of(impl_->devices, [&](const auto& d) { return d->name == name; })) {
      return fail(EEXIST, "add device '{}'", name);
    }
    Runtime& runtime = *impl_->runtime;
    auto device = std::make_unique<Device>(Device{.runtime = runtime,
                                                  .name = name,
                                                  .wire = std::move(wire),
                                                  .netdev = nullptr,
                                                  .buffer = std::vector<std::byte>(kLargestFrame)});
    const int err = runtime.kernel().netdev_add(device.get(), name.c_str(), mac.data(), options.mtu,
                                                device->wire->has_metadata(), &device->netdev);
    if (err < 0) return fail(-err, "add device '{}'", name);
    device->taker = [&to = *device](const libos_frame_meta& meta, std::span<const libos_iov> frame, std::size_t length) {
      to.runtime.kernel().netdev_rx(to.netdev, &meta, frame.data(), unsigned(frame.size()), length);
    };
    device->plugged();
    if (auto watched = device->watch(); !watched) {
      device->unwatch();
      runtime.kernel().netdev_del(device->netdev);
      return watched;
    }
    impl_->devices.push_back(std::move(device));
    runtime.resume_devices = [&devices = impl_->devices] {
      for (const auto& each : devices) each->wire->resumed();
    };
    // What is sent before there is a carrier is lost, and if that asks for a neighbour, is sent again a second later.
    const auto is_connecting = [&] {
      return std::ranges::any_of(impl_->devices, [&](const auto& d) { return d->name == name && d->wire->connecting(); });
    };
    if (runtime.options().clock == Clock::kVirtual) return {};
    for (const StackTime end = now() + kPatience; is_connecting() && now() < end;) sleep_for(std::chrono::milliseconds(1));
    return {};
  });
}

Result<void> Stack::remove_device(const std::string& name) {
  return impl_->on_fiber([&]() -> Result<void> {
    auto& devices = impl_->devices;
    const auto it = std::ranges::find_if(devices, [&](const auto& d) { return d->name == name; });
    if (it == devices.end()) return fail(ENODEV, "remove device '{}'", name);
    // Out of the list first: the kernel sleeps meanwhile, and a second call must not find it.
    const auto device = std::move(*it);
    devices.erase(it);
    device->unwatch();
    device->runtime.kernel().netdev_del(device->netdev);
    return {};
  });
}

Result<std::vector<DeviceInfo>> Stack::devices() {
  return impl_->on_fiber([&]() -> Result<std::vector<DeviceInfo>> {
    std::vector<DeviceInfo> infos;
    for (const auto& device : impl_->devices) {
      infos.push_back({.name = device->name,
                       .wire = device->wire->describe(),
                       .carrier = !device->broken && device->wire->connected(),
                       .full = device->full});
    }
    return infos;
  });
}

}  // namespace lkm

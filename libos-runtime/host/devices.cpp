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
/// Frames taken in one interrupt, so that a flood does not keep the CPU from everything else.
constexpr int kBudget = 64;

}  // namespace

int Device::xmit(const libos_frame_meta* meta, const libos_iov* iov, unsigned n) {
  const int err = wire->send(*meta, {iov, n});
  if (err != -EAGAIN) return err;
  auto waits = runtime.events().await_room(wire->descriptor(),
                                           [this] { runtime.kernel().netdev_room(netdev); });
  return waits ? -EAGAIN : -ENOBUFS;  // nobody would say when to go on: the frame is dropped
}

bool Device::receive() {
  libos_frame_meta meta{};
  for (int i = 0; i < kBudget; ++i) {
    const long n = wire->receive(meta, buffer);
    if (n <= 0) return n == 0;
    runtime.kernel().netdev_rx(netdev, &meta, buffer.data(), std::size_t(n));
  }
  return true;
}

Result<void> Device::watch() {
  return runtime.events().watch(wire->descriptor(), [this] { ready(); });
}

void Device::ready() {
  if (wire->connected() && receive()) return;
  // The cable comes out, or may come in. Each way the descriptor can be another one afterwards.
  runtime.events().unwatch(wire->descriptor());
  runtime.kernel().netdev_carrier(netdev, 0);
  broken = !wire->replug() || !watch();
  if (broken) return;
  runtime.kernel().netdev_carrier(netdev, wire->connected());
  runtime.kernel().netdev_room(netdev);  // what the old cable had no room for
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
    runtime.kernel().netdev_carrier(device->netdev, device->wire->connected());
    if (auto watched = device->watch(); !watched) {
      runtime.kernel().netdev_del(device->netdev);
      return watched;
    }
    impl_->devices.push_back(std::move(device));
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
    device->runtime.events().unwatch(device->wire->descriptor());
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
                       .carrier = !device->broken && device->wire->connected()});
    }
    return infos;
  });
}

}  // namespace lkm

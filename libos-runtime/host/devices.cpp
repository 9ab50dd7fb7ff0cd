// SPDX-License-Identifier: GPL-2.0
//
// Network devices of a stack: a Wire on the host's side, a netdev of arch/lib on the kernel's.
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>

#include "libos-runtime/host/devices.hpp"
#include "libos-runtime/host/stack_impl.hpp"

namespace lkm {
namespace {

/// The largest frame: a GSO segment with its headers (GSO_LEGACY_MAX_SIZE and Ethernet).
constexpr std::size_t kLargestFrame = 65536 + 128;
/// Frames taken in one interrupt, so that a flood does not keep the CPU from everything else.
constexpr int kBudget = 64;

}  // namespace

int Device::xmit(const libos_frame_meta* meta, const libos_iov* iov, unsigned n) {
  return wire->send(*meta, {iov, n});
}

void Device::receive() {
  libos_frame_meta meta{};
  for (int i = 0; i < kBudget; ++i) {
    const long n = wire->receive(meta, buffer);
    if (n == 0) return;
    if (n < 0) {
      // The wire is broken for good: as if the cable were pulled.
      runtime.events().unwatch(wire->descriptor());
      runtime.kernel().netdev_carrier(netdev, 0);
      return;
    }
    runtime.kernel().netdev_rx(netdev, &meta, buffer.data(), std::size_t(n));
  }
}

Result<void> Stack::add_device(const std::string& name, std::unique_ptr<Wire> wire,
                               const DeviceOptions& options) {
  if (name.empty() || name.size() >= IFNAMSIZ || name.find('/') != std::string::npos) {
    return fail(EINVAL, "device '{}'", name);
  }
  return impl_->on_fiber([&]() -> Result<void> {
    Runtime& runtime = *impl_->runtime;
    auto device = std::make_unique<Device>(Device{.runtime = runtime,
                                                  .name = name,
                                                  .wire = std::move(wire),
                                                  .netdev = nullptr,
                                                  .buffer = std::vector<std::byte>(kLargestFrame)});
    const int err = runtime.kernel().netdev_add(device.get(), name.c_str(), options.mac.data(),
                                                options.mtu, device->wire->has_metadata(),
                                                &device->netdev);
    if (err < 0) return fail(-err, "add device '{}'", name);
    auto watched = runtime.events().watch(device->wire->descriptor(),
                                          [raw = device.get()] { raw->receive(); });
    if (!watched) {
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
    Runtime& runtime = *impl_->runtime;
    runtime.events().unwatch((*it)->wire->descriptor());
    runtime.kernel().netdev_del((*it)->netdev);
    devices.erase(it);
    return {};
  });
}

}  // namespace lkm

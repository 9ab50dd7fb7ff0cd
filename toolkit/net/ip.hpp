// SPDX-License-Identifier: GPL-2.0
//
// IP addresses of the stack as values.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "toolkit/base/result.hpp"

namespace lkm {

enum class IpFamily : std::uint8_t { kV4 = AF_INET, kV6 = AF_INET6 };

/// An address with the length of its network part; a bare address has the full length.
struct IpPrefix {
  IpFamily family = IpFamily::kV4;
  std::array<std::uint8_t, 16> bytes{};  ///< network order; the first 4 for v4
  std::uint8_t length = 32;              ///< bits of the network part

  /// "10.0.0.1/24", "fd00::1/64", or without "/…" for a single address. EINVAL names the text.
  static Result<IpPrefix> parse(std::string_view text);

  [[nodiscard]] std::size_t size() const { return family == IpFamily::kV4 ? 4 : 16; }
  /// "10.0.0.1"
  [[nodiscard]] std::string address() const;
  /// "10.0.0.1/24"
  [[nodiscard]] std::string str() const;
  /// True when `other` lies in this network.
  [[nodiscard]] bool contains(const IpPrefix& other) const;

  bool operator==(const IpPrefix&) const = default;
};

/// A socket address of either family, ready for bind(), connect() and the like.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = sizeof(sockaddr_storage);

  SocketAddress() = default;
  SocketAddress(const IpPrefix& address, std::uint16_t port);

  [[nodiscard]] std::uint16_t port() const;
  /// "10.0.0.1:80", "[fd00::1]:80"
  [[nodiscard]] std::string str() const;
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

}  // namespace lkm

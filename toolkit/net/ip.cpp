// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/ip.hpp"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace lkm {

Result<IpPrefix> IpPrefix::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  IpPrefix result;
  if (inet_pton(AF_INET, address.c_str(), result.bytes.data()) == 1) {
    result.family = IpFamily::kV4;
  } else if (inet_pton(AF_INET6, address.c_str(), result.bytes.data()) == 1) {
    result.family = IpFamily::kV6;
  } else {
    return fail_hint(EINVAL, "write it as 10.0.0.1/24 or fd00::1/64", "IP address '{}'", text);
  }
  const unsigned longest = static_cast<unsigned>(result.size() * 8);
  unsigned length = longest;
  if (slash != std::string_view::npos) {
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + slash + 1, end, length);
    if (error != std::errc{} || rest != end || length > longest)
      return fail_hint(EINVAL, fmt::format("the length is a number from 0 to {}", longest),
                       "prefix length of '{}'", text);
  }
  result.length = static_cast<std::uint8_t>(length);
  return result;
}

std::string IpPrefix::address() const {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(static_cast<int>(family), bytes.data(), text, sizeof text);
  return text;
}

std::string IpPrefix::str() const { return fmt::format("{}/{}", address(), length); }

bool IpPrefix::contains(const IpPrefix& other) const {
  if (family != other.family || other.length < length) return false;
  const std::size_t whole = length / 8u;
  if (std::memcmp(bytes.data(), other.bytes.data(), whole) != 0) return false;
  const unsigned rest = length % 8u;
  return rest == 0 || ((bytes[whole] ^ other.bytes[whole]) >> (8 - rest)) == 0;
}

SocketAddress::SocketAddress(const IpPrefix& address, std::uint16_t port) {
  if (address.family == IpFamily::kV4) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    std::memcpy(&v4->sin_addr, address.bytes.data(), 4);
    length = sizeof(sockaddr_in);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    std::memcpy(&v6->sin6_addr, address.bytes.data(), 16);
    length = sizeof(sockaddr_in6);
  }
}

std::uint16_t SocketAddress::port() const {
  return ntohs(storage.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port
                   : reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

std::string SocketAddress::str() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr, text,
              sizeof text);
    return fmt::format("[{}]:{}", text, port());
  }
  inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr, text, sizeof text);
  return fmt::format("{}:{}", text, port());
}

}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/page_server.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <charconv>

namespace lkm::cli {
namespace {

class APage : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = PageServer::start();
    ASSERT_TRUE(server) << server.error().message();
    server_ = std::move(*server);
    const std::string& url = server_->url();
    constexpr std::string_view kHost = "http://127.0.0.1:";
    ASSERT_TRUE(url.starts_with(kHost)) << url;
    const auto [end, error] = std::from_chars(url.data() + kHost.size(), url.data() + url.size(), port_);
    ASSERT_EQ(error, std::errc());
    home_ = std::string(end, url.data() + url.size());
  }

  UniqueFd connect(in_addr_t to = INADDR_LOOPBACK) const {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(to);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fd.reset();
    return fd;
  }
  /// What comes, until `last` has or the connection ends.
  static std::string receive(const UniqueFd& fd, std::string_view last = "") {
    std::string text;
    std::array<char, 4096> bytes;
    pollfd waits{fd.get(), POLLIN, 0};
    while ((last.empty() || text.find(last) == std::string::npos) && ::poll(&waits, 1, 20'000) == 1) {
      const ssize_t got = ::read(fd.get(), bytes.data(), bytes.size());
      if (got <= 0) break;
      text.append(bytes.data(), std::size_t(got));
    }
    return text;
  }
  std::string ask(const std::string& request) const {
    const UniqueFd fd = connect();
    EXPECT_EQ(::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL), ssize_t(request.size()));
    return receive(fd);
  }
  std::string get(const std::string& path) const { return ask("GET " + path + " HTTP/1.1\r\nHost: here\r\n\r\n"); }

  std::unique_ptr<PageServer> server_;
  std::uint16_t port_ = 0;
  std::string home_;  // "/TOKEN/"
};

TEST_F(APage, IsServedToThoseWhoKnowItsPath) {
  server_->put("", "text/html", "<p>hello");
  server_->put("run/1", "application/json", std::string(1 << 20, ' '));
  const std::string page = get(home_);
  EXPECT_TRUE(page.starts_with("HTTP/1.1 200 OK\r\n")) << page;
  EXPECT_TRUE(page.ends_with("\r\n\r\n<p>hello")) << page;
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  EXPECT_GT(get(home_ + "run/1").size(), 1u << 20);
  server_->put("", "text/html", "<p>changed");
  EXPECT_TRUE(get(home_).ends_with("<p>changed"));
}

TEST_F(APage, IsNotServedToAnybodyElse) {
  server_->put("", "text/html", "secret");
  EXPECT_EQ(home_.size(), 34u);
  std::string wrong = home_;
  wrong[5] = wrong[5] == '0' ? '1' : '0';
  for (const std::string& path : {std::string("/"), wrong, home_.substr(0, 20), home_ + "nonesuch", home_ + "../"}) {
    const std::string answer = get(path);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 404 ")) << path << ": " << answer;
    EXPECT_EQ(answer.find("secret"), std::string::npos);
  }
  EXPECT_NE(PageServer::start().value()->url(), server_->url());
  // Another address of this machine's loopback network: it listens on one only.
  EXPECT_FALSE(connect(INADDR_LOOPBACK + 1));
}

TEST_F(APage, TakesNothingButARequestForSomething) {
  EXPECT_TRUE(ask("POST " + home_ + " HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
  EXPECT_TRUE(ask("nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(ask("\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(ask("GET " + std::string(9000, 'x')).starts_with("HTTP/1.1 431 "));
  // Those who say nothing keep nobody else from being served.
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 100; ++i) silent.push_back(connect());
  server_->put("", "text/html", "here");
  EXPECT_TRUE(get(home_).ends_with("here"));
}

TEST_F(APage, TellsListenersOfAChange) {
  const UniqueFd early = connect(), late = connect();
  const std::string request = "GET " + home_ + "events HTTP/1.1\r\n\r\n";
  ASSERT_GT(::send(early.get(), request.data(), request.size(), 0), 0);
  EXPECT_NE(receive(early, "\r\n\r\n").find("text/event-stream"), std::string::npos);
  server_->announce();
  EXPECT_NE(receive(early, "data: 1\n\n").find("data: 1\n\n"), std::string::npos);
  server_->announce();
  EXPECT_NE(receive(early, "data: 2\n\n").find("data: 2\n\n"), std::string::npos);
  // One that comes now must look at once.
  ASSERT_GT(::send(late.get(), request.data(), request.size(), 0), 0);
  EXPECT_NE(receive(late, "data: 2\n\n").find("data: 2\n\n"), std::string::npos);
}

}  // namespace
}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
//
// The server in a real stack, with its client on a host thread of the same process. Without
// LKM_RUN_IMAGE these are skipped.
#include "toolkit/control/server.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdlib>
#include <thread>

#include "toolkit/base/temp_dir.hpp"
#include "toolkit/control/client.hpp"
#include "toolkit/control/methods.hpp"

namespace lkm::control {
namespace {
namespace fs = std::filesystem;

class ServerTest : public testing::Test {
 protected:
  /// Boots a stack with a server; `prepare` may add methods; `client` runs on a host thread.
  void serve(const std::function<void(Server&, Stack&)>& prepare, const std::function<void()>& client) {
    const char* image = std::getenv("LKM_RUN_IMAGE");
    if (image == nullptr) GTEST_SKIP() << "LKM_RUN_IMAGE is not set; Kbuild/kernel prints it";
    const auto locked = folder_.claim();
    ASSERT_TRUE(locked) << locked.error().message();
    const UniqueFd done(::eventfd(0, EFD_CLOEXEC));
    const auto result = Stack::run(
        {.library = fs::path(image) / "libos.so", .module_path = {fs::path(image) / "modules"}},
        [&](Stack& stack) {
          auto server = Server::listen(stack, folder_.socket());
          EXPECT_TRUE(server) << server.error().message();
          if (!server) return 1;
          add_methods(**server, stack, {.name = "test", .version = "0", .mount = {}}, [] {});
          prepare(**server, stack);
          EXPECT_TRUE((*server)->start());
          std::jthread thread([&] {
            client();
            const std::uint64_t one = 1;
            (void)!::write(done.get(), &one, sizeof(one));
          });
          EXPECT_TRUE(stack.wait_fd(done.get(), POLLIN));
          (*server)->stop();
          return 0;
        });
    ASSERT_TRUE(result) << result.error().message();
  }
  void serve(const std::function<void()>& client) {
    serve([](Server&, Stack&) {}, client);
  }

  Client connect() { return Client::connect(folder_, std::chrono::seconds(20)).value(); }

  /// Sends bytes as they are, ends the sending side, and reads to the end.
  std::string exchange(std::string_view bytes) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    const std::string path = folder_.socket();
    path.copy(address.sun_path, path.size());
    const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) break;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    ::shutdown(socket.get(), SHUT_WR);
    std::string answer(65536, '\0');
    std::size_t length = 0;
    for (ssize_t got; (got = ::read(socket.get(), answer.data() + length, answer.size() - length)) > 0;) {
      length += static_cast<std::size_t>(got);
    }
    answer.resize(length);
    return answer;
  }

  static StateFolder folder_in(const fs::path& root) {
    ::setenv("XDG_RUNTIME_DIR", root.c_str(), 1);
    return StateFolder::of("test").value();
  }

  TempDir dir_ = TempDir::make().value();
  StateFolder folder_ = folder_in(dir_.path());
};

TEST_F(ServerTest, AnswersOneRequestAfterTheOther) {
  serve([&] {
    auto client = connect();
    const auto about = client.call("about");
    ASSERT_TRUE(about) << about.error().message();
    EXPECT_TRUE((*about)["release"].get<std::string>().starts_with("6."));
    const auto set = client.call("sysctl", {{"name", "net.ipv4.ip_default_ttl"}, {"value", "77"}});
    ASSERT_TRUE(set) << set.error().message();
    EXPECT_EQ((*set)["value"], "77");
    EXPECT_TRUE(client.call("modules"));
  });
}

TEST_F(ServerTest, PassesTheKernelsErrnoOn) {
  serve([&] {
    auto client = connect();
    EXPECT_EQ(client.call("sysctl", {{"name", "net.no.such"}}).error().errno_value(), ENOENT);
    EXPECT_EQ(client.call("sysctl").error().errno_value(), EINVAL);
    EXPECT_EQ(client.call("frobnicate").error().errno_value(), ENOSYS);
    EXPECT_TRUE(client.call("about"));
  });
}

TEST_F(ServerTest, IsForItsOwnerOnly) {
  serve([&] {
    struct stat info {};
    ASSERT_EQ(::stat(folder_.socket().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
  });
}

TEST_F(ServerTest, AnswersWhatIsNoRequestAndGoesOnForOthers) {
  serve([&] {
    auto other = connect();
    for (const std::string& bytes :
         {std::string("garbage\n"), std::string("{}\n"), std::string("[[[[[\n"), std::string(3, '\0') + "\n",
          R"({"v":1,"id":1,"method":"about","params":{"a":)" + std::string(5000, '[') + "\n"}) {
      const auto reply = parse_reply(exchange(bytes));
      ASSERT_TRUE(reply) << bytes.substr(0, 20);
      EXPECT_EQ(reply->id, 0u);
      EXPECT_EQ(reply->error->errno_value(), EBADMSG);
    }
    EXPECT_EQ(exchange(""), "");
    EXPECT_EQ(exchange(R"({"v":1,"id":1,"meth)"), "");
    // The server may close before all of it was sent; the answer may be lost with the rest then.
    const std::string answer = exchange(std::string(kMaxLine + 4096, 'x'));
    EXPECT_TRUE(answer.empty() || parse_reply(answer)->error->errno_value() == EMSGSIZE) << answer;
    EXPECT_TRUE(other.call("about"));
  });
}

TEST_F(ServerTest, RefusesConnectionsBeyondItsLimit) {
  serve([&] {
    std::vector<Client> clients;
    for (std::size_t i = 0; i < Server::kMaxConnections; ++i) {
      clients.push_back(connect());
      ASSERT_TRUE(clients.back().call("about")) << i;
    }
    EXPECT_EQ(connect().call("about").error().errno_value(), EMFILE);
    EXPECT_TRUE(clients[0].call("about"));
  });
}

TEST_F(ServerTest, InterruptsARequestWhoseClientHungUp) {
  const UniqueFd never(::eventfd(0, EFD_CLOEXEC));
  const UniqueFd ended(::eventfd(0, EFD_CLOEXEC));
  bool interrupted = false;
  serve(
      [&](Server& server, Stack& stack) {
        server.add("endless", [&](Call& call) -> Result<Json> {
          LKM_CHECK(call.event({{"running", true}}));
          const auto woken = stack.wait_fd(never.get(), POLLIN);
          interrupted = !woken && woken.error().errno_value() == EINTR && call.gone();
          const std::uint64_t one = 1;
          (void)!::write(ended.get(), &one, sizeof(one));
          return Json::object();
        });
      },
      [&] {
        {
          auto client = connect();
          ASSERT_TRUE(client.start("endless", Json::object()));
          bool running = false;
          while (!running) {
            pollfd readable{.fd = client.fd(), .events = POLLIN, .revents = 0};
            ASSERT_EQ(::poll(&readable, 1, 20000), 1);
            ASSERT_TRUE(client.poll([&](const Json&) { running = true; }));
          }
        }
        pollfd end{.fd = ended.get(), .events = POLLIN, .revents = 0};
        EXPECT_EQ(::poll(&end, 1, 20000), 1);
      });
  EXPECT_TRUE(interrupted || testing::Test::IsSkipped());
}

TEST_F(ServerTest, ShowsTheLogAndFollowsIt) {
  const auto add_say = [](Server& server, Stack& stack) {
    server.add("say", [&stack](Call&) -> Result<Json> {
      // With its newline: a record without one may be continued (pr_cont()), so readers do not get it
      // before the next one (kernel/printk/printk.c, vprintk_store()).
      LKM_CHECK(stack.write_file("/dev/kmsg", "something new\n"));
      return Json::object();
    });
  };
  serve(add_say, [&] {
    auto client = connect();
    std::vector<std::string> lines;
    const auto keep = [&](const Json& event) { lines.push_back(event["log"]["text"]); };
    ASSERT_TRUE(client.call("log", {{"follow", false}}, keep));
    ASSERT_FALSE(lines.empty());
    EXPECT_TRUE(lines[0].starts_with("Linux version")) << lines[0];

    auto follower = connect();
    const std::size_t before = lines.size();
    lines.clear();
    ASSERT_TRUE(follower.start("log", {{"follow", true}}));
    const auto wait_for = [&](const auto& enough) {
      while (!enough()) {
        pollfd readable{.fd = follower.fd(), .events = POLLIN, .revents = 0};
        ASSERT_EQ(::poll(&readable, 1, 20000), 1);
        ASSERT_TRUE(follower.poll(keep));
      }
    };
    wait_for([&] { return lines.size() >= before; });
    // Each is written to a stack that has gone idle with the reader waiting.
    for (int i = 0; i < 20; ++i) {
      const std::size_t old = lines.size();
      ASSERT_TRUE(client.call("say"));
      wait_for([&] { return lines.size() > old; });
      EXPECT_EQ(lines.back(), "something new");
    }
  });
}

TEST_F(ServerTest, LoadsAndUnloadsAModule) {
  serve([&] {
    auto client = connect();
    const auto loaded = client.call("load", {{"what", "tcp_vegas"}, {"parameters", "alpha=3"}});
    ASSERT_TRUE(loaded) << loaded.error().message();
    EXPECT_EQ((*loaded)["module"]["name"], "tcp_vegas");
    const auto modules = client.call("modules");
    ASSERT_EQ((*modules)["modules"].size(), 1u);
    EXPECT_TRUE(client.call("unload", {{"name", "tcp_vegas"}}));
    EXPECT_EQ(client.call("unload", {{"name", "tcp_vegas"}}).error().errno_value(), ENOENT);
    EXPECT_FALSE(client.call("load", {{"what", "no_such_module"}}));
  });
}

}  // namespace
}  // namespace lkm::control

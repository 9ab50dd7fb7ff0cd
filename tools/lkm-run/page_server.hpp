// SPDX-License-Identifier: GPL-2.0
//
// PageServer: a few resources for a browser on this machine, by HTTP on the loopback address. A thread of its own serves
// them. Whoever wants one must know its path, which begins with a random token; nothing can be sent to it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::cli {

class PageServer {
 public:
  /// On a port that is free. Signals that the caller has blocked stay blocked in the thread.
  static Result<std::unique_ptr<PageServer>> start();
  ~PageServer();
  PageServer(const PageServer&) = delete;
  PageServer& operator=(const PageServer&) = delete;

  /// "http://127.0.0.1:40123/5c3f…/": of the resource "".
  [[nodiscard]] const std::string& url() const { return url_; }
  /// Puts a resource there, in the place of what was there. From any thread.
  void put(const std::string& path, const std::string& type, std::string body);
  /// Tells all that listen to "events" (text/event-stream) that something changed; and each that comes later, at once.
  void announce();

 private:
  struct Resource {
    std::string type, body;
  };
  struct Visitor {
    UniqueFd fd;
    std::string in, out;
    bool listens = false;     // to events, from now on
    unsigned long heard = 0;  // announcements that it was told of
    bool ends = false;        // when `out` is sent
  };

  PageServer(UniqueFd listener, UniqueFd wake, std::string token, std::string url)
      : listener_(std::move(listener)), wake_(std::move(wake)), token_(std::move(token)), url_(std::move(url)) {}
  void serve(const std::stop_token& stop);
  void welcome();
  /// False when it is to go.
  bool attend(Visitor& visitor, short events);
  void answer(Visitor& visitor);
  void wake() const;

  UniqueFd listener_;
  UniqueFd wake_;  // an eventfd: look at announcements_ again
  std::string token_;
  std::string url_;
  std::vector<Visitor> visitors_;
  std::mutex mutex_;  // guards the two below
  std::map<std::string, Resource> resources_;
  unsigned long announcements_ = 0;
  std::jthread thread_;  // last: it ends before what it uses does
};

}  // namespace lkm::cli

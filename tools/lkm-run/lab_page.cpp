// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/lab_page.hpp"

#include <cstdlib>
#include <ctime>

#include "toolkit/base/child.hpp"
#include "toolkit/lab/report.hpp"

namespace lkm::cli {
namespace {

std::string clock_time(std::chrono::system_clock::time_point at, bool with_day) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(at);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  if (with_day)
    return fmt::format("{}-{:02}-{:02} {:02}:{:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                       parts.tm_hour, parts.tm_min, parts.tm_sec);
  return fmt::format("{:02}:{:02}:{:02}", parts.tm_hour, parts.tm_min, parts.tm_sec);
}

}  // namespace

Result<LabPage> LabPage::open(const std::string& title) {
  LKM_TRY(auto server, PageServer::start());
  server->put("", "text/html; charset=utf-8", lab::watch_page(title));
  LabPage page(std::move(server));
  page.tell("building", "waiting for the first build", "");
  return page;
}

void LabPage::show_in_browser() const {
  if (std::getenv("DISPLAY") == nullptr && std::getenv("WAYLAND_DISPLAY") == nullptr) return;
  // It hands the address over and ends; where it is not installed, the address on the terminal will do.
  if (auto child = Child::spawn({.argv = {"xdg-open", url()}, .out = Child::Output::kNull, .err = Child::Output::kNull}))
    (void)child->wait_for(std::chrono::seconds(2));
}

void LabPage::busy(const std::string& doing) { tell("building", doing, ""); }

void LabPage::failed(const std::string& status, const std::string& said) { tell("failed", status, said); }

void LabPage::recall(const std::string& name, std::chrono::system_clock::time_point saved, std::string data) {
  put(name, saved, true, std::move(data));
  tell("building", "waiting for the first build", "");
}

void LabPage::add(const std::string& name, std::chrono::system_clock::time_point saved, std::string data,
                  const std::string& status) {
  put(name, saved, false, std::move(data));
  tell("ready", status, "");
}

void LabPage::put(const std::string& name, std::chrono::system_clock::time_point saved, bool earlier, std::string data) {
  const std::size_t id = ++last_;
  server_->put(fmt::format("run/{}", id), "application/json", std::move(data));
  // A build that was there before, and runs again.
  for (std::size_t i = runs_.size(); i-- > 0;) {
    if (runs_[i]["name"] == name && runs_[i]["earlier"].get<bool>()) runs_.erase(i);
  }
  runs_.push_back({{"id", id}, {"name", name}, {"saved", clock_time(saved, earlier)}, {"earlier", earlier}});
}

void LabPage::tell(const char* kind, const std::string& status, const std::string& errors) {
  const Json state = {{"kind", kind}, {"status", status}, {"errors", errors}, {"runs", runs_}};
  // What the compiler prints of a source need not be UTF-8.
  server_->put("state", "application/json", state.dump(-1, ' ', false, Json::error_handler_t::replace));
  server_->announce();
}

}  // namespace lkm::cli

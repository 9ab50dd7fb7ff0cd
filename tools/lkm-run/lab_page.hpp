// SPDX-License-Identifier: GPL-2.0
//
// LabPage: what `lkm-run watch --lab --open` shows in a browser: each build's run over the one before, what the compiler
// said, and all builds that are kept, also of watches before, to compare any two.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "tools/lkm-run/page_server.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

class LabPage {
 public:
  static Result<LabPage> open(const std::string& title);

  [[nodiscard]] const std::string& url() const { return server_->url(); }
  /// Shows the page in the user's browser, if there is a desktop and xdg-open(1).
  void show_in_browser() const;

  /// What the watcher is doing: "building mycc".
  void busy(const std::string& doing);
  /// A save that came to nothing, and what was said.
  void failed(const std::string& status, const std::string& said);
  /// A run of an earlier watch: it can be chosen, and is not shown by itself.
  void recall(const std::string& name, std::chrono::system_clock::time_point saved, std::string data);
  /// A build's run: lab::report_data() as text.
  void add(const std::string& name, std::chrono::system_clock::time_point saved, std::string data,
           const std::string& status);

 private:
  explicit LabPage(std::unique_ptr<PageServer> server) : server_(std::move(server)) {}
  void put(const std::string& name, std::chrono::system_clock::time_point saved, bool earlier, std::string data);
  void tell(const char* kind, const std::string& status, const std::string& errors);

  std::unique_ptr<PageServer> server_;
  Json runs_ = Json::array();
  std::size_t last_ = 0;  // id of the last one
};

}  // namespace lkm::cli

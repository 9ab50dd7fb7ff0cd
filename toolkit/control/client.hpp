// SPDX-License-Identifier: GPL-2.0
//
// The client end of the control socket, for programs outside of the stack process. It blocks.
//
//   LKM_TRY(auto client, control::Client::connect(folder));
//   LKM_TRY(auto module, client.call("load", {{"what", "vegas"}}));
#pragma once

#include <chrono>
#include <functional>

#include "toolkit/base/unique_fd.hpp"
#include "toolkit/control/protocol.hpp"
#include "toolkit/control/state_folder.hpp"

namespace lkm::control {

class Client {
 public:
  /// `patience` bounds every wait for an answer (ETIMEDOUT); zero waits for ever.
  /// Errors: no such stack is up (code 0), with the command that starts one.
  static Result<Client> connect(const StateFolder& folder,
                                std::chrono::milliseconds patience = std::chrono::milliseconds(0));

  /// Sends a request and waits for its end; events go to `on_event` as they come.
  /// Errors: the method's own; ECONNRESET when the stack ended first.
  Result<Json> call(const std::string& method, Json params = Json::object(),
                    const std::function<void(const Json&)>& on_event = {});

  // The same in steps, for who has other descriptors to wait for: start(), then poll() each time that
  // fd() is readable, until it gives the result.
  Result<void> start(const std::string& method, Json params);
  Result<std::optional<Json>> poll(const std::function<void(const Json&)>& on_event);
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  Client(std::string name, UniqueFd socket) : name_(std::move(name)), socket_(std::move(socket)) {}
  Result<void> send(std::string_view bytes);
  Result<std::optional<Json>> take(const std::string& line,
                                   const std::function<void(const Json&)>& on_event);
  /// False when nothing is there and `flags` has MSG_DONTWAIT.
  Result<bool> receive(int flags);

  std::string name_;
  UniqueFd socket_;
  LineReader lines_;
  std::uint64_t last_id_ = 0;
};

}  // namespace lkm::control

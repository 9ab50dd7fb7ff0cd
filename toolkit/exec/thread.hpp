// SPDX-License-Identifier: GPL-2.0
//
// Thread: a thread of a program, and its task in the stack: a fiber in the program's netns, on
// which the thread's calls run one after the other.
#pragma once

#include <linux/seccomp.h>

#include <sys/socket.h>
#include <sys/uio.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/exec/programs.hpp"

namespace lkm::exec {

class Thread final : public UserMemory, public std::enable_shared_from_this<Thread> {
 public:
  Thread(Programs& programs, std::shared_ptr<Session> session, std::shared_ptr<Process> process,
         pid_t tid)
      : programs_(programs),
        session_(std::move(session)),
        process_(std::move(process)),
        tid_(tid) {
    ++session_->account->threads;
  }
  ~Thread() { --session_->account->threads; }

  /// Starts its fiber. Errors: as fork(2).
  Result<void> start();
  /// The thread's next call. Also between fibers.
  void give(const seccomp_notif& call, Arrival arrival);
  /// No more calls come; what is under way is interrupted.
  void end();
  /// Interrupts a call that takes long, if the thread has a signal to take or is dead.
  void look_after(StackTime now);

  [[nodiscard]] pid_t pid() const { return process_->pid(); }
  [[nodiscard]] pid_t tid() const { return tid_; }
  [[nodiscard]] bool busy() const { return busy_; }
  /// Its fiber is gone, by an oops if end() was not called.
  [[nodiscard]] bool done() const { return fiber_.done(); }
  [[nodiscard]] Session& session() const { return *session_; }
  /// After an oops: its call ends with an error.
  void answer_for_the_dead() const;

  // UserMemory: that of the thread, while its call is valid.
  std::size_t read(void* to, const void* from, std::size_t size) noexcept override;
  std::size_t write(void* to, const void* from, std::size_t size) noexcept override;

 private:
  /// A descriptor of the call that is a socket of the stack.
  struct Target {
    std::shared_ptr<Socket> socket;
    UniqueFd end;  ///< the program's end of its placeholder, which keeps the socket open meanwhile
  };
  /// What a call comes to: its result, or nothing when it was answered otherwise.
  using Outcome = std::optional<long>;

  void run();
  void serve();
  bool still_calls() noexcept;

  // calls.cpp
  Outcome dispatch();
  Outcome on_socket(Target& target);
  Outcome on_connection(Target& target);
  Outcome open_socket();
  Outcome set_buffer(Target& target);
  Outcome map();
  Outcome enter_netns();
  Outcome make_netns();
  Outcome mount();
  Outcome unmount();
  std::string read_path(unsigned long at);
  bool is_about_sys(unsigned long target);
  [[nodiscard]] const StackFd& netns() const { return process_->netns ? *process_->netns : session_->netns; }
  std::optional<Outcome> on_packet_option(Target& target);
  void give_back_numbers();
  [[nodiscard]] bool may_have_socket();
  void catch_up();
  Outcome connect(Target& target);
  Outcome accept(Target& target);
  bool write_address(const void* address, std::size_t size, socklen_t full_size);
  Outcome give_lowest(const std::shared_ptr<Socket>& socket, int end, bool close_on_exec);
  bool gives_address();
  std::vector<iovec> parts_to_send();
  std::optional<Outcome> on_requests(Target& target);
  void follow_descriptors();
  Outcome duplicate(const Target& target, int from, bool close_on_exec);
  Outcome device_request();
  Outcome place(StackFd fd, Use use, bool nonblocking, bool close_on_exec,
                const Socket* accepted_from = nullptr);
  Outcome give_number(const std::shared_ptr<Socket>& socket, int end, int from, bool close_on_exec);
  long show_connection(Target& target, long result);
  void give_own_option(Target& target) const;
  void tell_error(Target& target);
  Outcome pass();
  Result<Target> target(int number);
  /// Whose memory the pointers of a call mean.
  enum class Memory { kProgram, kStack };
  long drain(Target& target);
  /// A call in the stack, restarted while nothing of the program's interrupts it.
  long call_for(long number, const unsigned long args[6], Memory memory = Memory::kProgram);
  static bool follow_flags(Target& target);
  /// The same with `target`'s descriptor as the first argument; readiness is shown after it.
  long run_on(Target& target, long number, const unsigned long (&args)[6],
              Memory memory = Memory::kProgram);
  [[nodiscard]] unsigned long arg(int index) const { return call_.data.args[index]; }
  [[nodiscard]] bool to_be_restarted(long result);

  // transfers.cpp
  Outcome send_file();
  Outcome splice();
  Outcome splice_in(Target& from, const UniqueFd& pipe);
  Outcome splice_out(const UniqueFd& pipe, Target& to);
  long wait_for_pipe(const UniqueFd& pipe, short events, bool may_wait);

  enum class Interrupted { kNo, kBySignal, kPerhapsBySignal, kGone };

  Programs& programs_;
  std::shared_ptr<Session> session_;
  std::shared_ptr<Process> process_;
  pid_t tid_;
  Fiber fiber_;
  std::optional<seccomp_notif> next_;
  Arrival next_arrival_;
  seccomp_notif call_{};
  Arrival arrival_;
  int in_a_row_ = 0;  ///< calls served without a sleep
  bool busy_ = false;
  bool ending_ = false;
  StackTime began_{}, looked_at_{}, seen_calling_{};
  Interrupted interrupted_ = Interrupted::kNo;
};

}  // namespace lkm::exec

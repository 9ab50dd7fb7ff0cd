// SPDX-License-Identifier: GPL-2.0
//
// Keyboard: single keys from the terminal, without Enter and without echo.
#pragma once

#include "toolkit/base/result.hpp"

namespace lkm::cli {

/// While one lives, and the process is in the foreground of its terminal, keys can be read one by one.
/// Ctrl-C and Ctrl-Z stay signals. The terminal gets its settings back from the destructor, while the
/// process is stopped (SIGTSTP), and when it dies of a signal that leaves the time for it. Those that
/// Interrupt takes end in the destructor.
///
/// The terminal is one, and its signal handlers are the process's: there may be one object at a time.
class Keyboard {
 public:
  /// Errors: ENOTTY when stdin is no terminal; EBUSY when there is one already.
  static Result<Keyboard> open();
  Keyboard(Keyboard&& other) noexcept;
  Keyboard& operator=(Keyboard&&) = delete;
  ~Keyboard();

  /// Readable when a key was pressed; -1 when the terminal hung up, and in the background, where
  /// reading would stop the process.
  /// No signal tells that a running job came to the foreground: ask again, at least every kLook ms.
  [[nodiscard]] int fd();
  static constexpr int kLook = 500;

  /// The next key, once fd() is readable; 0 for one that sends several bytes (an arrow).
  char take();

 private:
  Keyboard() = default;
  bool owner_ = true;
  bool closed_ = false;  // the terminal hung up
};

}  // namespace lkm::cli

// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/terminal.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "toolkit/control/protocol.hpp"

namespace lkm::cli {
namespace {

bool use_color(Terminal::Color color, int fd) {
  if (color != Terminal::Color::kAuto) return color == Terminal::Color::kAlways;
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return !(no_color && *no_color) && term && std::strcmp(term, "dumb") != 0 && ::isatty(fd);
}

std::string painted(bool color, Paint paint, std::string_view text) {
  if (!color || paint == Paint::kNone) return std::string(text);
  const char* const codes[] = {"", "1", "2", "32", "31", "33"};
  return fmt::format("\x1b[{}m{}\x1b[0m", codes[static_cast<int>(paint)], text);
}

// Columns that a text takes: code points, without what paints it.
std::size_t width(std::string_view text) {
  std::size_t columns = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      i = std::min(text.find('m', i), text.size() - 1);
    } else if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) {
      ++columns;
    }
  }
  return columns;
}

// The errno of what went wrong; 0 when all is written.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {  // whoever shares the descriptor made it non-blocking
      pollfd poll = {.fd = fd, .events = POLLOUT, .revents = 0};
      (void)::poll(&poll, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

}  // namespace

Terminal::Terminal(Color color, bool json)
    : json_(json),
      color_out_(use_color(color, STDOUT_FILENO)),
      color_err_(use_color(color, STDERR_FILENO)),
      interactive_(::isatty(STDERR_FILENO) != 0) {}

// Both streams are written line by line, so that they keep their order where they are one; and by
// write(2), as stdio has no lines on a pipe and loses errors.
void Terminal::text(std::string_view text) const {
  wipe();
  if (const int error = write_all(STDOUT_FILENO, text)) throw OutputLost{error};
}

// A pipe without a reader has an error, a terminal that is gone has hung up.
void Terminal::look(const pollfd& output) {
  if ((output.revents & POLLNVAL) != 0) throw OutputLost{EBADF};
  if ((output.revents & (POLLERR | POLLHUP)) != 0) throw OutputLost{EPIPE};
}

void Terminal::line(std::string_view line) const { text(fmt::format("{}\n", line)); }

void Terminal::object(Json object) const {
  object["v"] = 1;
  line(object.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Terminal::table(const std::vector<std::vector<std::string>>& rows) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string text;
    for (std::size_t i = 0; i < rows[r].size(); ++i) {
      text += rows[r][i];
      if (i + 1 < rows[r].size()) text.append(widths[i] - width(rows[r][i]) + 2, ' ');
    }
    line(r == 0 ? out(Paint::kBold, text) : text);
  }
}

void Terminal::note(std::string_view text) const {
  wipe();
  (void)write_all(STDERR_FILENO, fmt::format("{}\n", text));
}

void Terminal::error(const Error& error) {
  if (json_) {
    const Json reply = Json::parse(control::encode_error(0, error));
    object({{"error", reply["error"]}});
  }
  note(fmt::format("{} {}", err(Paint::kBad, "lkm-run:"), error.message()));
  if (!error.hint().empty()) note(fmt::format("{} {}", err(Paint::kNotice, "HINT:"), error.hint()));
}

void Terminal::transient(std::string_view text) {
  if (!interactive_) return;
  wipe();
  (void)write_all(STDERR_FILENO, text);
  transient_shown_ = true;
}

void Terminal::wipe() const {
  if (transient_shown_) (void)write_all(STDERR_FILENO, "\r\x1b[K");
  transient_shown_ = false;
}

std::string Terminal::out(Paint paint, std::string_view text) const {
  return painted(color_out_, paint, text);
}

std::string Terminal::err(Paint paint, std::string_view text) const {
  return painted(color_err_, paint, text);
}

}  // namespace lkm::cli

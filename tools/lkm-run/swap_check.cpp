// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/swap_check.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>

namespace lkm::cli {
namespace {

constexpr std::size_t kKept = std::size_t{64} << 10;

}  // namespace

Result<SwapCheck> SwapCheck::start(const std::string& command,
                                   const std::map<std::string, std::optional<std::string>>& environment) {
  LKM_TRY(auto child, Child::spawn({.argv = {"sh", "-c", command},
                                    .environment = environment,
                                    .out = Child::Output::kPipe,
                                    .err = Child::Output::kWithOut}));
  return SwapCheck(std::move(child));
}

void SwapCheck::read() {
  std::array<char, 16384> bytes;
  const ssize_t got = ::read(child_.out().get(), bytes.data(), bytes.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got <= 0) {
    open_ = false;
    return;
  }
  output_.append(bytes.data(), static_cast<std::size_t>(got));
  if (output_.size() > kKept) output_.erase(0, output_.size() - kKept);
}

Result<SwapCheck::Ended> SwapCheck::end() {
  LKM_TRY(const ExitStatus status, child_.wait());
  // What the pipe holds, and no more: something in the background may go on writing.
  for (std::size_t got = 0; open_ && got < kKept;) {
    const std::size_t before = output_.size();
    read();
    if (output_.size() == before) break;
    got += output_.size() - before;
  }
  return Ended{status, std::chrono::steady_clock::now() - since_, std::move(output_)};
}

}  // namespace lkm::cli

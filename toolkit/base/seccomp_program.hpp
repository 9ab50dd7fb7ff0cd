// SPDX-License-Identifier: GPL-2.0
//
// SeccompProgram: a seccomp filter (seccomp(2)) as it is written down: what is loaded, and what is given for it.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace lkm {

class SeccompProgram {
 public:
  void load(std::size_t offset) { add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, std::uint32_t(offset))); }
  /// The low half is all that the kernel itself takes of an int.
  void load_argument(int index) { load(offsetof(seccomp_data, args) + std::size_t(index) * 8); }
  void give(std::uint32_t action) { add(BPF_STMT(BPF_RET | BPF_K, action)); }
  /// Gives `action` if what was loaded is in a range.
  void give_within(std::uint32_t first, std::uint32_t end, std::uint32_t action) {
    add(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, first, 0, 2));
    add(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, end, 1, 0));
    give(action);
  }
  /// Gives `action` if what was loaded is another value.
  void give_if_not(std::uint32_t value, std::uint32_t action) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0));
    give(action);
  }
  /// Runs the next instruction only if the comparison holds.
  void only_if(std::uint16_t comparison, std::uint32_t value) {
    add(BPF_JUMP(std::uint16_t(BPF_JMP | comparison | BPF_K), value, 0, 1));
  }
  /// If what was loaded is `value`, what `body` emits decides; it must end with a give().
  template <typename Body>
  void on(long value, Body body) {
    const std::size_t jump = code_.size();
    only_if(BPF_JEQ, std::uint32_t(value));
    body();
    code_[jump].jf = std::uint8_t(code_.size() - jump - 1);
  }
  std::vector<sock_filter> take() { return std::move(code_); }

 private:
  void add(sock_filter instruction) { code_.push_back(instruction); }
  std::vector<sock_filter> code_;
};

}  // namespace lkm

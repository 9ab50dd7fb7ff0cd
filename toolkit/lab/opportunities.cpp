// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/opportunities.hpp"

namespace lkm::lab {

Result<std::unique_ptr<Opportunities>> Opportunities::start(Stack& stack, Network& network, StackTime began) {
  auto all = std::make_unique<Opportunities>(stack, began);
  for (const Queue& queue : network.queues()) {
    if (queue.trace == nullptr) continue;
    LKM_TRY(Gate gate, network.gate(queue));
    // std::function copies what it holds; a Gate cannot be.
    auto held = std::make_shared<Gate>(std::move(gate));
    LKM_TRY(Fiber fiber, stack.spawn("lab-trace", [raw = all.get(), &queue, held] { raw->drive(queue, std::move(*held)); }));
    all->fibers_.push_back(std::move(fiber));
  }
  return all;
}

Opportunities::~Opportunities() {
  ending_ = true;
  for (Fiber& fiber : fibers_) {
    fiber.unpark();
    fiber.join();
  }
}

void Opportunities::drive(const Queue& queue, Gate gate) {
  for (std::uint64_t next = 0; !ending_;) {
    const nanoseconds at = queue.trace->time_of(next);
    while (!ending_ && stack_.now() < began_ + at) stack_.park(began_ + at);
    std::uint64_t together = 1;
    while (queue.trace->time_of(next + together) == at) ++together;
    next += together;
    if (ending_) return;
    if (auto opened = gate.open(together); !opened) {
      outcome_ = std::move(opened);
      return;
    }
  }
}

}  // namespace lkm::lab

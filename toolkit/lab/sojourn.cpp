// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/sojourn.hpp"

#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

const std::string kFolder = "/sys/kernel/tracing/instances/lab";  // a buffer of its own, in which nothing else is
constexpr const char* kBufferKb = "4096";  // kRoom packets: an event of 48 bytes and one of 68 for each
constexpr const char* kPageKb = "64";
constexpr std::size_t kPage = 64 << 10;

constexpr double kRoom = 30'000;     // packets
constexpr double kLeastFrame = 64;   // bytes of one
constexpr nanoseconds kSeldom = 1s, kOften = 100us;

/// Of both directions of all links, bit/s: with what events make of them, if that is more.
double most_rate(const Scenario& scenario, const Network& network) {
  double sum = 0;
  for (const Queue& queue : network.queues()) {
    std::uint64_t most = queue.rate;
    for (const EventSpec& event : scenario.events) {
      if (event.kind == EventSpec::Kind::kRate && event.target == scenario.links[queue.link].name())
        most = std::max(most, event.rate);
    }
    sum += double(most);
  }
  return sum;
}

}  // namespace

Result<std::unique_ptr<Sojourns>> Sojourns::start(Stack& stack, const Scenario& scenario, const Network& network) {
  auto all = std::unique_ptr<Sojourns>(new Sojourns(stack));
  for (const Queue& queue : network.queues()) all->queues_.push_back({.path = queue.path, .part = {}, .all = {}});
  const double packets = most_rate(scenario, network) / 8 / kLeastFrame;  // a second, at most
  all->interval_ = std::clamp(nanoseconds(std::int64_t(kRoom / std::max(packets, 1.0) * 1e9)), kOften, kSeldom);
  if (!scenario.measure.sojourns || all->queues_.empty()) return all;
  const long made = stack.syscall(SYS_mkdir, kFolder.c_str(), 0700);
  if (made < 0) return fail(int(-made), "make '{}'", kFolder);
  LKM_CHECK(stack.write_file(kFolder + "/buffer_subbuf_size_kb", kPageKb));
  LKM_CHECK(stack.write_file(kFolder + "/buffer_size_kb", kBufferKb));
  // Else each switch of tasks notes the names of both.
  LKM_CHECK(stack.write_file(kFolder + "/trace_options", "norecord-cmd"));
  // A filter has its price, an event more to look at has less; but there is room for those of queues only.
  all->others_ = std::ranges::any_of(scenario.links, [](const LinkSpec& link) { return link.needs_path() && (!link.has_queue() || link.varies()); });
  LKM_TRY(all->enqueue_, all->enable("qdisc_enqueue"));
  LKM_TRY(all->dequeue_, all->enable("qdisc_dequeue"));
  const auto open = [&](const char* name) -> Result<StackFd> {
    const std::string path = kFolder + "/per_cpu/cpu0/" + name;
    const long fd = stack.syscall(SYS_open, path.c_str(), O_RDONLY | O_NONBLOCK);
    if (fd < 0) return fail(int(-fd), "open '{}'", path);
    return StackFd(stack, int(fd));
  };
  LKM_TRY(all->pipe_, open("trace_pipe_raw"));
  all->page_.resize(kPage);
  return all;
}

Result<Sojourns::Event> Sojourns::enable(const std::string& name) {
  const std::string folder = kFolder + "/events/qdisc/" + name;
  LKM_TRY(const std::string format, stack_.read_file(folder + "/format"));
  Event event;
  LKM_TRY(event.id, event_id(format));
  LKM_TRY(event.handle, EventField::of(format, "handle"));
  LKM_TRY(event.packet, EventField::of(format, "skbaddr"));
  std::string filter;
  if (name == "qdisc_dequeue") filter = "packets > 0";  // a look into an empty queue is an event, too
  if (others_) filter += fmt::format("{}handle >= {:#x}", filter.empty() ? "" : " && ", handle(kFirstRoot));
  if (!filter.empty()) LKM_CHECK(stack_.write_file(folder + "/filter", filter));
  LKM_CHECK(stack_.write_file(folder + "/enable", "1"));
  return event;
}

// Open addressing with linear probes: two lookups for each packet of a run.
Sojourns::Waiting::Came& Sojourns::Waiting::place_of(std::uint64_t packet) {
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;  // 2^64 over the golden ratio: Knuth's multiplicative hash
  const std::size_t mask = places_.size() - 1;
  std::size_t at = std::size_t(packet * kGolden >> 32) & mask;
  while (places_[at].packet != 0 && places_[at].packet != packet) at = (at + 1) & mask;
  return places_[at];
}

Sojourns::Waiting::Came& Sojourns::Waiting::operator[](std::uint64_t packet) {
  Came* came = &place_of(packet);
  if (came->packet != 0) return *came;
  if (2 * ++used_ > places_.size()) {
    const auto before = std::exchange(places_, std::vector<Came>(2 * places_.size()));
    for (const Came& one : before) {
      if (one.packet != 0) place_of(one.packet) = one;
    }
    came = &place_of(packet);
  }
  came->packet = packet;
  return *came;
}

void Sojourns::note(std::uint64_t at_ns, std::span<const std::byte> event) {
  const auto id = EventField{0, 2}.in(event);
  if (id == enqueue_.id) {
    const std::size_t queue = (enqueue_.handle.in(event) >> 16) - kFirstRoot;
    if (queue >= queues_.size()) return;
    Waiting::Came& came = waiting_[enqueue_.packet.in(event)];
    came.at_ns = at_ns;
    came.queue = queue;
    return;
  }
  if (id != dequeue_.id) return;
  Waiting::Came& came = waiting_[dequeue_.packet.in(event)];
  const std::uint64_t since_ns = std::exchange(came.at_ns, 0);
  const std::size_t number = came.queue;
  PerQueue& queue = queues_[number];
  if (since_ns == 0 || (dequeue_.handle.in(event) >> 16) != kFirstRoot + number) return;
  // By the wall clock a timer may be early by what the two clocks are read apart.
  const nanoseconds time = std::max(nanoseconds(at_ns - since_ns) - queue.path, 0ns);
  queue.all.add(time);
  ++queue.part.packets;
  queue.part.sum += time;
  queue.part.longest = std::max(queue.part.longest, time);
}

Result<void> Sojourns::drain() {
  if (!pipe_) return {};
  for (;;) {
    const long got = pipe_.call(SYS_read, page_.data(), page_.size());
    if (got == -EAGAIN || got == 0) break;
    if (got < 0) return fail(int(-got), "read the kernel's events");
    const std::span page(page_.data(), std::size_t(got));
    if (events_missed(page)) return fail(EIO, "events of packets were lost for want of room");
    if (!for_each_event(page, [&](std::uint64_t at, std::span<const std::byte> event) { note(at, event); }))
      return fail(EPROTO, "read the kernel's events");
  }
  return {};
}

Sojourns::Part Sojourns::take(std::size_t queue) { return std::exchange(queues_[queue].part, Part{}); }

}  // namespace lkm::lab

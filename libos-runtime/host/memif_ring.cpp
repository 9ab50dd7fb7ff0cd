// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/memif_ring.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>

namespace lkm::memif {
namespace {

std::uint16_t load(const std::uint16_t& index) { return __atomic_load_n(&index, __ATOMIC_ACQUIRE); }
void store(std::uint16_t& index, std::uint16_t value) { __atomic_store_n(&index, value, __ATOMIC_RELEASE); }

/// Offsets in a region have 32 bits.
constexpr std::uint64_t kLargestRegion = std::uint64_t{1} << 32;

}  // namespace

Result<void> Regions::add(const UniqueFd& memory, std::uint64_t size) {
  struct stat about {};
  if (size == 0 || size > kLargestRegion) return fail(EINVAL, "a region of {} bytes", size);
  if (::fstat(memory.get(), &about) != 0 || about.st_size < 0 || std::uint64_t(about.st_size) < size)
    return fail(EINVAL, "a region of {} bytes in memory of {}", size, about.st_size);
  const int seals = ::fcntl(memory.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) return fail(EINVAL, "a region that is not sealed against shrinking");
  LKM_TRY(auto mapped, Mapping::shared(memory.get(), std::size_t(size)));
  regions_.push_back(std::move(mapped));
  return {};
}

Result<UniqueFd> Regions::make(std::size_t size) {
  UniqueFd memory(::memfd_create("lkm-run memif", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory || ::ftruncate(memory.get(), off_t(size)) != 0 ||
      ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return fail(errno, "shared memory of {} bytes", size);
  LKM_TRY(auto mapped, Mapping::shared(memory.get(), size));
  regions_.push_back(std::move(mapped));
  return memory;
}

std::byte* Regions::at(unsigned region, std::uint64_t offset, std::uint64_t length) const {
  if (region >= regions_.size()) return nullptr;
  const Mapping& mapped = regions_[region];
  return offset <= mapped.size() && length <= mapped.size() - offset ? mapped.data() + offset : nullptr;
}

/// In two loads, each of which is whole: the other process may be writing.
Slot Ring::read(Index index) const {
  const auto* from = reinterpret_cast<const std::uint64_t*>(slot(index));
  const std::uint64_t words[] = {__atomic_load_n(from, __ATOMIC_RELAXED), __atomic_load_n(from + 1, __ATOMIC_RELAXED)};
  Slot copy;
  std::memcpy(&copy, words, sizeof(copy));
  return copy;
}

void Ring::write(Index index, std::uint16_t flags, std::uint32_t length, const Slot& other) const {
  const Slot whole{.flags = flags, .region = other.region, .length = length, .offset = other.offset, .metadata = 0};
  std::memcpy(slot(index), &whole, sizeof(whole));
}

Slot Ring::own(Index index) const {
  return {.flags = 0, .region = 0, .length = buffers_.length,
          .offset = buffers_.offset + (index & (size_ - 1)) * buffers_.stride, .metadata = 0};
}

// -- sending ---------------------------------------------------------------------------------------------

Ring::Index Sender::position() const { return is_clients() ? load(header_->head) : load(header_->tail); }

std::optional<unsigned> Sender::room() const {
  const auto ahead = Index(load(header_->head) - load(header_->tail));
  if (ahead > size_) return std::nullopt;
  return is_clients() ? size_ - ahead : ahead;
}

std::span<std::byte> Sender::free_slot(unsigned i) const {
  const auto index = Index(position() + i);
  const Slot slot = is_clients() ? own(index) : read(index);
  auto* const at = regions_->at(slot.region, slot.offset, slot.length);
  return at != nullptr ? std::span(at, slot.length) : std::span<std::byte>();
}

void Sender::fill(unsigned i, std::size_t length, bool more) const {
  const auto index = Index(position() + i);
  write(index, more ? kMore : 0, std::uint32_t(length), is_clients() ? own(index) : read(index));
}

bool Sender::publish(unsigned n) const {
  store(is_clients() ? header_->head : header_->tail, Index(position() + n));
  // The receiver frees the last slot, and then looks whether more has come; we say that more has come, and then look
  // whether it has freed the last. One of the two sees the other.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  const auto left = room();
  return !left || *left + n == size_;
}

// -- receiving -------------------------------------------------------------------------------------------

Ring::Index Receiver::position() const { return is_clients() ? Index(load(header_->head) - size_) : load(header_->tail); }

std::optional<unsigned> Receiver::waiting() const {
  const auto ahead = Index((is_clients() ? load(header_->tail) : load(header_->head)) - position());
  if (ahead > size_) return std::nullopt;
  return ahead;
}

Receiver::Piece Receiver::piece(unsigned i) const {
  const auto index = Index(position() + i);
  Slot slot = read(index);
  if (is_clients()) {
    const Slot place = own(index);
    if (slot.length > place.length) return {};
    slot.region = place.region;
    slot.offset = place.offset;
  }
  auto* const at = regions_->at(slot.region, slot.offset, slot.length);
  if (at == nullptr) return {};
  return {.bytes = std::span(at, slot.length), .more = (slot.flags & kMore) != 0};
}

void Receiver::release(unsigned n) const {
  if (is_clients()) {
    const Index first = position();
    for (unsigned i = 0; i < n; ++i) {
      const auto index = Index(first + i);
      write(index, 0, buffers_.length, own(index));
    }
    store(header_->head, Index(load(header_->head) + n));
  } else {
    store(header_->tail, Index(load(header_->tail) + n));
  }
}

void Receiver::begin() const {
  for (unsigned i = 0; i < size_; ++i) write(Index(i), 0, buffers_.length, own(Index(i)));
  store(header_->head, Index(load(header_->tail) + size_));
}

}  // namespace lkm::memif

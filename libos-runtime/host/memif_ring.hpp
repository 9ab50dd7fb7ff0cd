// SPDX-License-Identifier: GPL-2.0
//
// The shared memory of a memif, and the two ends of its rings. The other process may write all of it at any time:
// whatever is read here is checked, and used as it was read then.
//
// There is no copy of a ring's indexes in this process. Ours lie in the shared memory as the other end's do, so that a
// snapshot of the stack, which goes on later than it was taken, goes on where the ring is then.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "libos-runtime/host/memif.hpp"
#include "toolkit/base/mapping.hpp"
#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::memif {

class Regions {
 public:
  static constexpr std::size_t kMost = 64;
  /// Memory of the other process. Errors: EINVAL when it could be taken away from under us: it must be a memfd that is
  /// sealed against shrinking, of that size; as mmap(2).
  Result<void> add(const UniqueFd& memory, std::uint64_t size);
  /// Memory for the other process, and its descriptor.
  Result<UniqueFd> make(std::size_t size);
  /// nullptr: there is no such memory.
  [[nodiscard]] std::byte* at(unsigned region, std::uint64_t offset, std::uint64_t length) const;
  [[nodiscard]] std::size_t count() const { return regions_.size(); }
  void clear() { regions_.clear(); }

 private:
  std::vector<Mapping> regions_;
};

/// What both ends of a ring have.
class Ring {
 public:
  /// The memory of the ring's slots, if the client made it: of slot i at buffers + i * stride.
  struct Buffers {
    std::uint32_t offset = 0;
    std::uint32_t length = 0;  ///< of each; 0: this is the server's end
    std::uint32_t stride = 0;
  };
  Ring() = default;
  /// Nothing is read or written yet. `regions` must outlive it.
  Ring(const Regions& regions, RingHeader* header, unsigned slots_log2, Buffers buffers)
      : regions_(&regions), header_(header), size_(1u << slots_log2), buffers_(buffers) {}

  [[nodiscard]] static std::size_t bytes(unsigned slots_log2) { return sizeof(RingHeader) + (sizeof(Slot) << slots_log2); }
  [[nodiscard]] RingHeader& header() const { return *header_; }
  [[nodiscard]] unsigned size() const { return size_; }
  [[nodiscard]] bool is_clients() const { return buffers_.length != 0; }
  [[nodiscard]] bool cookie_is_right() const { return __atomic_load_n(&header_->cookie, __ATOMIC_RELAXED) == kCookie; }

 protected:
  using Index = std::uint16_t;
  [[nodiscard]] Slot read(Index index) const;
  void write(Index index, std::uint16_t flags, std::uint32_t length, const Slot& other) const;
  /// Of the memory that the client made: the place is ours, whatever the slot says.
  [[nodiscard]] Slot own(Index index) const;
  [[nodiscard]] Slot* slot(Index index) const { return reinterpret_cast<Slot*>(header_ + 1) + (index & (size_ - 1)); }

  const Regions* regions_ = nullptr;
  RingHeader* header_ = nullptr;
  unsigned size_ = 0;
  Buffers buffers_;
};

class Sender : public Ring {
 public:
  using Ring::Ring;
  /// Free slots; none: the indexes cannot be.
  [[nodiscard]] std::optional<unsigned> room() const;
  /// The memory of the i-th free slot; empty: it is nowhere.
  [[nodiscard]] std::span<std::byte> free_slot(unsigned i) const;
  /// What was written to it.
  void fill(unsigned i, std::size_t length, bool more) const;
  /// The first `n` of them are a frame. True if the receiver had taken all before, and so may wait to be told.
  [[nodiscard]] bool publish(unsigned n) const;

 private:
  [[nodiscard]] Index position() const;
};

class Receiver : public Ring {
 public:
  using Ring::Ring;
  /// Slots that came; none: the indexes cannot be.
  [[nodiscard]] std::optional<unsigned> waiting() const;
  struct Piece {
    std::span<std::byte> bytes;  ///< null: it is nowhere
    bool more = false;
  };
  /// Of the i-th of them.
  [[nodiscard]] Piece piece(unsigned i) const;
  /// The first `n` of them have been taken.
  void release(unsigned n) const;
  /// Of a client, once: all slots are free.
  void begin() const;

 private:
  [[nodiscard]] Index position() const;
};

}  // namespace lkm::memif

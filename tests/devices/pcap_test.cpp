// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/pcap.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "libos-runtime/host/pcap_wire.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

class Pcap : public testing::Test {
 protected:
  Pcap() : folder_(std::move(TempDir::make().value())) {}

  std::string write(const std::string& bytes) const {
    const std::string path = folder_.path() / "file.pcap";
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  /// errno that opening gives; 0 if it opens.
  int refused(const std::string& bytes) const {
    const auto reader = PcapReader::open(write(bytes));
    return reader ? 0 : reader.error().errno_value();
  }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_.path() / name; }

  std::vector<std::byte> frame_ = std::vector<std::byte>(2000);

 private:
  TempDir folder_;
};

std::string word(std::uint32_t value, bool swapped) {
  if (swapped) value = __builtin_bswap32(value);
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string header(std::uint32_t magic, bool swapped = false, std::uint32_t type = 1) {
  const std::string version = swapped ? std::string("\0\2\0\4", 4) : std::string("\2\0\4\0", 4);
  return word(magic, swapped) + version + word(0, swapped) + word(0, swapped) + word(65535, swapped) + word(type, swapped);
}

std::string packet(std::uint32_t seconds, std::uint32_t fraction, const std::string& bytes, std::size_t length,
                   bool swapped = false) {
  return word(seconds, swapped) + word(fraction, swapped) + word(std::uint32_t(bytes.size()), swapped) +
         word(std::uint32_t(length), swapped) + bytes;
}

TEST_F(Pcap, ReadsBothByteOrdersAndBothResolutions) {
  for (const bool swapped : {false, true}) {
    for (const bool nanoseconds : {false, true}) {
      auto reader = PcapReader::open(write(header(nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4, swapped) +
                                           packet(7, 5, "a first frame", 13, swapped) + packet(8, 0, "cut", 900, swapped)));
      ASSERT_TRUE(reader) << reader.error().message();
      const auto first = reader->next(frame_);
      ASSERT_TRUE(first);
      EXPECT_EQ(first->at, 7s + (nanoseconds ? 5ns : 5us));
      EXPECT_EQ(first->length, 13U);
      EXPECT_EQ(std::memcmp(frame_.data(), "a first frame", first->kept), 0);
      const auto second = reader->next(frame_);
      ASSERT_TRUE(second);
      EXPECT_EQ(second->kept, 3U);
      EXPECT_EQ(second->length, 900U);
      EXPECT_FALSE(reader->next(frame_));
    }
  }
}

TEST_F(Pcap, EndsWhereAFileIsCutOrMakesNoSense) {
  const std::string whole = header(0xa1b2c3d4) + packet(1, 0, "one", 3);
  for (const std::string& rest : {std::string("\1\2"), word(2, false) + word(0, false) + word(10, false) + word(10, false) + "short",
                                  word(2, false) + word(0, false) + word(0x7fffffff, false) + word(10, false)}) {
    auto reader = PcapReader::open(write(whole + rest));
    ASSERT_TRUE(reader);
    EXPECT_TRUE(reader->next(frame_));
    EXPECT_FALSE(reader->next(frame_));
    EXPECT_FALSE(reader->next(frame_));
  }
}

TEST_F(Pcap, OfAFrameThatIsTooLongTheRestIsLeftOut) {
  auto reader = PcapReader::open(write(header(0xa1b2c3d4) + packet(1, 0, std::string(3000, 'x'), 3000) + packet(2, 0, "next", 4)));
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->next(frame_)->kept, frame_.size());
  EXPECT_EQ(reader->next(frame_)->kept, 4U);
}

TEST_F(Pcap, OtherFilesAreRefused) {
  EXPECT_EQ(refused(""), EBADMSG);
  EXPECT_EQ(refused("[Unit]\nDescription=a text that is long enough\n"), EBADMSG);
  EXPECT_EQ(refused(header(0xa1b2c3d4, false, 113)), EMEDIUMTYPE);  // "cooked" capture
  EXPECT_EQ(refused(header(0x0a0d0d0a)), EBADMSG);
  EXPECT_EQ(PcapReader::open(path("nonesuch")).error().errno_value(), ENOENT);
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(PcapReader::open(path("pipe")).error().errno_value(), ESPIPE);
}

TEST_F(Pcap, WhatAWireSendsIsWhatAnotherReceives) {
  const std::string there = path("out.pcap");
  libos_frame_meta meta{};
  {
    auto wire = PcapWire::open({.in = {}, .out = there});
    ASSERT_TRUE(wire);
    std::string head(14, 'h'), body(40, 'b');
    const libos_iov pieces[] = {{head.data(), head.size()}, {body.data(), body.size()}};
    EXPECT_EQ((*wire)->send(meta, pieces), 0);
    EXPECT_EQ((*wire)->send(meta, pieces), 0);
  }
  auto wire = PcapWire::open({.in = there, .out = {}, .fast = true});
  ASSERT_TRUE(wire);
  EXPECT_EQ((*wire)->receive(meta, frame_), 0);  // it has not begun
  (*wire)->begin();
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ((*wire)->receive(meta, frame_), 54);
    EXPECT_EQ(std::memcmp(frame_.data(), (std::string(14, 'h') + std::string(40, 'b')).data(), 54), 0);
  }
  EXPECT_EQ((*wire)->receive(meta, frame_), 0);
  EXPECT_NE((*wire)->describe().find("2 frames in, at its end"), std::string::npos);
}

TEST_F(Pcap, AFileThatCannotBeWrittenIsRefusedAtOnce) {
  EXPECT_EQ(PcapWire::open({.in = {}, .out = "/dev/full"}).error().errno_value(), ENOSPC);
  EXPECT_EQ(PcapWire::open({.in = {}, .out = path("no/such/folder")}).error().errno_value(), ENOENT);
}

}  // namespace
}  // namespace lkm

// SPDX-License-Identifier: GPL-2.0
//
// The control protocol: what one line on the control socket means. No I/O here, so that a fuzzer can
// call all of it.
//
// Both ways go JSON objects (RFC 8259), one a line, over AF_UNIX SOCK_STREAM.
//
//   request   {"v":1,"id":7,"method":"load","params":{"what":"vegas"}}
//   replies   {"id":7,"event":{…}}            none or more, while it runs
//             {"id":7,"result":{…}}           once, or
//             {"id":7,"error":{"code":"EBUSY","errno":16,"message":"…","hint":"…"}}
//
// A connection serves one request at a time, in order. A line that is no request is answered with an
// error of id 0, and the connection is closed: what follows it cannot be trusted.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "toolkit/base/result.hpp"

namespace lkm::control {

using Json = nlohmann::json;

inline constexpr int kVersion = 1;
inline constexpr std::size_t kMaxLine = std::size_t{1} << 20;  ///< bytes, without the newline
inline constexpr std::size_t kMaxNesting = 32;                 ///< arrays and objects in each other

struct Request {
  std::uint64_t id = 0;
  std::string method;
  Json params = Json::object();
};

struct Reply {
  enum class Kind { kEvent, kResult, kError };
  std::uint64_t id = 0;
  Kind kind = Kind::kResult;
  Json body;                   ///< of an event or a result
  std::optional<Error> error;  ///< of an error
};

/// Cuts a byte stream into lines.
class LineReader {
 public:
  void feed(std::string_view bytes) { buffer_.append(bytes); }
  /// The next whole line without its newline; nullopt when more bytes are needed.
  /// Errors: EMSGSIZE when a line is longer than kMaxLine.
  Result<std::optional<std::string>> next();
  /// True when the stream may end here: no part of a line is left.
  [[nodiscard]] bool empty() const { return start_ == buffer_.size(); }

 private:
  std::string buffer_;
  std::size_t start_ = 0;    // of the line that next() looks for
  std::size_t scanned_ = 0;  // no newline in [start_, scanned_)
};

/// Errors of both: EBADMSG with what is wrong, EPROTONOSUPPORT for another version.
Result<Request> parse_request(std::string_view line);
Result<Reply> parse_reply(std::string_view line);

/// One line each, with its newline. Bytes that are no UTF-8 become U+FFFD.
std::string encode_request(const Request& request);
std::string encode_event(std::uint64_t id, const Json& body);
std::string encode_result(std::uint64_t id, const Json& body);
std::string encode_error(std::uint64_t id, const Error& error);

/// A member of `params`. Errors: EINVAL that names the member and the type it must have.
Result<std::string> string_param(const Json& params, const char* name);
/// The same with a value for an absent member.
Result<std::string> string_param(const Json& params, const char* name, std::string fallback);
Result<bool> bool_param(const Json& params, const char* name, bool fallback);
Result<std::int64_t> integer_param(const Json& params, const char* name, std::int64_t fallback);

}  // namespace lkm::control

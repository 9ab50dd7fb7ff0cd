// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/protocol.hpp"

#include <cstring>

namespace lkm::control {
namespace {

// Depth of the deepest bracket outside of strings. The parser of nlohmann::json keeps its own stack on
// the heap, but dump() and copying recurse, so depth is bounded before anything is built.
std::size_t nesting(std::string_view text) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

Result<Json> parse_object(std::string_view line) {
  if (line.size() > kMaxLine) return fail(EMSGSIZE, "a message of {} bytes", line.size());
  if (nesting(line) > kMaxNesting) {
    return fail(EBADMSG, "a message nested deeper than {} levels", kMaxNesting);
  }
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return fail(EBADMSG, "a message that is not JSON");
  if (!json.is_object()) return fail(EBADMSG, "a message that is no JSON object");
  return json;
}

Result<std::uint64_t> id_of(const Json& json) {
  const auto id = json.find("id");
  if (id == json.end() || !id->is_number_unsigned()) {
    return fail(EBADMSG, "\"id\" must be an unsigned integer");
  }
  return id->get<std::uint64_t>();
}

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Error error_of(const Json& json) {
  const auto text = [&](const char* name) {
    const auto member = json.find(name);
    return member != json.end() && member->is_string() ? member->get<std::string>() : std::string();
  };
  int number = EPROTO;
  if (const auto member = json.find("errno");
      member != json.end() && member->is_number_unsigned() && *member <= 4095u) {
    number = member->get<int>();
  }
  return Error(std::error_code(number, std::generic_category()), text("message"))
      .with_hint(text("hint"));
}

}  // namespace

Result<std::optional<std::string>> LineReader::next() {
  const std::size_t end = buffer_.find('\n', scanned_);
  const std::size_t length = (end == std::string::npos ? buffer_.size() : end) - start_;
  if (length > kMaxLine) return fail(EMSGSIZE, "a line longer than {} bytes", kMaxLine);
  if (end == std::string::npos) {
    buffer_.erase(0, start_);
    start_ = 0;
    scanned_ = buffer_.size();
    return std::nullopt;
  }
  std::string line = buffer_.substr(start_, length);
  start_ = scanned_ = end + 1;
  return line;
}

Result<Request> parse_request(std::string_view line) {
  LKM_TRY(Json json, parse_object(line));
  const auto version = json.find("v");
  if (version == json.end() || !version->is_number_integer()) {
    return fail(EBADMSG, "\"v\" must be the integer {}", kVersion);
  }
  if (*version != kVersion) {
    return fail_hint(EPROTONOSUPPORT, "use the same lkm-run for this command and for `lkm-run up`",
                     "protocol version {}, this side speaks {}", version->dump(), kVersion);
  }
  Request request;
  LKM_TRY(request.id, id_of(json));
  const auto method = json.find("method");
  if (method == json.end() || !method->is_string() || method->get_ref<std::string&>().empty()) {
    return fail(EBADMSG, "\"method\" must be a non-empty string");
  }
  request.method = std::move(method->get_ref<std::string&>());
  if (const auto params = json.find("params"); params != json.end()) {
    if (!params->is_object()) return fail(EBADMSG, "\"params\" must be an object");
    request.params = std::move(*params);
  }
  return request;
}

Result<Reply> parse_reply(std::string_view line) {
  LKM_TRY(Json json, parse_object(line));
  Reply reply;
  LKM_TRY(reply.id, id_of(json));
  if (const auto event = json.find("event"); event != json.end()) {
    reply.kind = Reply::Kind::kEvent;
    reply.body = std::move(*event);
  } else if (const auto result = json.find("result"); result != json.end()) {
    reply.kind = Reply::Kind::kResult;
    reply.body = std::move(*result);
  } else if (const auto error = json.find("error"); error != json.end() && error->is_object()) {
    reply.kind = Reply::Kind::kError;
    reply.error = error_of(*error);
  } else {
    return fail(EBADMSG, "a reply without event, result or error");
  }
  return reply;
}

std::string encode_request(const Request& request) {
  return line_of({{"v", kVersion},
                  {"id", request.id},
                  {"method", request.method},
                  {"params", request.params}});
}

std::string encode_event(std::uint64_t id, const Json& body) {
  return line_of({{"id", id}, {"event", body}});
}

std::string encode_result(std::uint64_t id, const Json& body) {
  return line_of({{"id", id}, {"result", body}});
}

std::string encode_error(std::uint64_t id, const Error& error) {
  const char* name = strerrorname_np(error.errno_value());
  Json body = {{"code", name ? name : "EUNKNOWN"},
               {"errno", error.errno_value()},
               {"message", error.what()}};
  if (!error.hint().empty()) body["hint"] = error.hint();
  return line_of({{"id", id}, {"error", std::move(body)}});
}

Result<std::string> string_param(const Json& params, const char* name) {
  const auto member = params.find(name);
  if (member == params.end() || !member->is_string()) {
    return fail(EINVAL, "parameter \"{}\" must be a string", name);
  }
  std::string value = member->get<std::string>();
  // What gets here ends in file names and kernel strings: a NUL would cut it short unseen.
  if (value.find('\0') != std::string::npos) {
    return fail(EINVAL, "parameter \"{}\" holds a NUL byte", name);
  }
  return value;
}

Result<std::string> string_param(const Json& params, const char* name, std::string fallback) {
  if (!params.contains(name)) return fallback;
  return string_param(params, name);
}

Result<bool> bool_param(const Json& params, const char* name, bool fallback) {
  const auto member = params.find(name);
  if (member == params.end()) return fallback;
  if (!member->is_boolean()) return fail(EINVAL, "parameter \"{}\" must be true or false", name);
  return member->get<bool>();
}

Result<std::int64_t> integer_param(const Json& params, const char* name, std::int64_t fallback) {
  const auto member = params.find(name);
  if (member == params.end()) return fallback;
  if (!member->is_number_integer()) return fail(EINVAL, "parameter \"{}\" must be an integer", name);
  return member->get<std::int64_t>();
}

}  // namespace lkm::control

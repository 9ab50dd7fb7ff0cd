// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/protocol.hpp"

#include <gtest/gtest.h>

namespace lkm::control {
namespace {

int error_of_request(std::string_view line) {
  const auto request = parse_request(line);
  return request ? 0 : request.error().errno_value();
}

TEST(Protocol, ReadsBackARequestThatItWrote) {
  std::string line = encode_request({7, "load", {{"what", "vegas"}, {"parameters", "alpha=3"}}});
  ASSERT_EQ(line.back(), '\n');
  line.pop_back();
  const auto request = parse_request(line);
  ASSERT_TRUE(request) << request.error().message();
  EXPECT_EQ(request->id, 7u);
  EXPECT_EQ(request->method, "load");
  EXPECT_EQ(request->params["what"], "vegas");
}

TEST(Protocol, GivesARequestWithoutParamsAnEmptyObject) {
  const auto request = parse_request(R"({"v":1,"id":1,"method":"about"})");
  ASSERT_TRUE(request);
  EXPECT_TRUE(request->params.is_object());
  EXPECT_TRUE(request->params.empty());
}

TEST(Protocol, RefusesWhatIsNoRequest) {
  const char* const lines[] = {
      "",
      "load",
      "{",
      "[]",
      "null",
      "17",
      "{}",
      R"({"v":1})",
      R"({"v":"1","id":1,"method":"x"})",
      R"({"v":1,"id":-1,"method":"x"})",
      R"({"v":1,"id":1.5,"method":"x"})",
      R"({"v":1,"id":1,"method":""})",
      R"({"v":1,"id":1,"method":7})",
      R"({"v":1,"id":1,"method":"x","params":[]})",
      R"({"v":1,"id":1,"method":"x","params":null})",
      R"({"v":1,"id":1,"method":"x"} {"v":1})",
      R"({"v":1,"id":18446744073709551616,"method":"x"})",
      "{\"v\":1,\"id\":1,\"method\":\"\xff\"}",
  };
  for (const char* line : lines) EXPECT_EQ(error_of_request(line), EBADMSG) << line;
}

TEST(Protocol, NamesTheVersionThatItSpeaks) {
  const auto request = parse_request(R"({"v":2,"id":1,"method":"about"})");
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().errno_value(), EPROTONOSUPPORT);
  EXPECT_NE(request.error().what().find("speaks 1"), std::string::npos);
  EXPECT_FALSE(request.error().hint().empty());
}

TEST(Protocol, BoundsTheNesting) {
  const auto nested = [](std::size_t depth) {
    return R"({"v":1,"id":1,"method":"x","params":{"a":)" + std::string(depth, '[') +
           std::string(depth, ']') + "}}";
  };
  EXPECT_EQ(error_of_request(nested(kMaxNesting - 2)), 0);
  EXPECT_EQ(error_of_request(nested(kMaxNesting - 1)), EBADMSG);
  EXPECT_EQ(error_of_request(nested(400'000)), EBADMSG);
}

TEST(Protocol, DoesNotCountBracketsInStrings) {
  EXPECT_EQ(error_of_request(R"({"v":1,"id":1,"method":"\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["})"), 0);
}

TEST(Protocol, CarriesAnErrorWithItsHint) {
  const std::string line =
      encode_error(3, fail_hint(EBUSY, "lkm-run ls", "unload '{}'", "tcp_vegas").value());
  const auto json = Json::parse(line);
  EXPECT_EQ(json["error"]["code"], "EBUSY");
  const auto reply = parse_reply(line);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->id, 3u);
  ASSERT_EQ(reply->kind, Reply::Kind::kError);
  EXPECT_EQ(reply->error->errno_value(), EBUSY);
  EXPECT_EQ(reply->error->what(), "unload 'tcp_vegas'");
  EXPECT_EQ(reply->error->hint(), "lkm-run ls");
}

TEST(Protocol, CarriesEventsAndResults) {
  const auto event = parse_reply(encode_event(1, {{"log", "text"}}));
  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, Reply::Kind::kEvent);
  EXPECT_EQ(event->body["log"], "text");
  const auto result = parse_reply(encode_result(1, Json::object()));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->kind, Reply::Kind::kResult);
}

TEST(Protocol, ReplacesBytesThatAreNoUtf8) {
  const auto event = parse_reply(encode_event(1, {{"log", "a\xff"}}));
  ASSERT_TRUE(event);
  EXPECT_EQ(event->body["log"], "a\xef\xbf\xbd");
}

TEST(Protocol, RefusesAReplyThatSaysNothing) {
  EXPECT_FALSE(parse_reply(R"({"id":1})"));
  EXPECT_FALSE(parse_reply(R"({"id":1,"error":"no"})"));
  EXPECT_FALSE(parse_reply(R"({"result":{}})"));
}

TEST(Protocol, ReadsAnErrorWithMembersOfWrongType) {
  const auto reply = parse_reply(R"({"id":1,"error":{"errno":"x","message":[],"hint":9}})");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error->errno_value(), EPROTO);
}

TEST(LineReader, CutsLinesWhereverTheBytesWereSplit) {
  LineReader lines;
  std::vector<std::string> seen;
  for (const char c : std::string("one\n\ntwo\nthr")) {
    lines.feed({&c, 1});
    for (;;) {
      const auto line = lines.next();
      ASSERT_TRUE(line);
      if (!*line) break;
      seen.push_back(**line);
    }
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"one", "", "two"}));
  EXPECT_FALSE(lines.empty());
}

TEST(LineReader, RefusesALineWithoutAnEnd) {
  LineReader lines;
  lines.feed(std::string(kMaxLine, 'x'));
  EXPECT_TRUE(lines.next());
  lines.feed("x");
  const auto line = lines.next();
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error().errno_value(), EMSGSIZE);
}

TEST(Params, NameTheMemberAndItsType) {
  const Json params = {{"what", 7}, {"follow", "yes"}, {"nul", std::string("a\0b", 3)}};
  EXPECT_NE(string_param(params, "what").error().what().find("\"what\" must be a string"),
            std::string::npos);
  EXPECT_FALSE(string_param(params, "absent"));
  EXPECT_EQ(string_param(params, "absent", "x").value(), "x");
  EXPECT_FALSE(string_param(params, "what", "x"));
  EXPECT_FALSE(string_param(params, "nul"));
  EXPECT_FALSE(bool_param(params, "follow", false));
  EXPECT_TRUE(bool_param(params, "absent", true).value());
  EXPECT_EQ(integer_param(params, "what", 1).value(), 7);
  EXPECT_FALSE(integer_param(params, "follow", 1));
}

}  // namespace
}  // namespace lkm::control

// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/scenario_toml.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include "toolkit/base/file.hpp"
#include "toolkit/base/toml_table.hpp"
#include "toolkit/net/units.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostOfARange = 10'000;

const std::vector<std::pair<std::string_view, FlowKind>> kKinds = {{"bulk", FlowKind::kBulk},
                                                                   {"requests", FlowKind::kRequests},
                                                                   {"on-off", FlowKind::kOnOff},
                                                                   {"poisson", FlowKind::kPoisson},
                                                                   {"udp", FlowKind::kUdp},
                                                                   {"replay", FlowKind::kReplay}};
const std::vector<std::pair<std::string_view, FlowSpec::Sizes>> kSizes = {
    {"fixed", FlowSpec::Sizes::kFixed},
    {"exponential", FlowSpec::Sizes::kExponential},
    {"pareto", FlowSpec::Sizes::kPareto}};

const std::vector<std::pair<std::string_view, IpFamily>> kFamilies = {{"v4", IpFamily::kV4}, {"v6", IpFamily::kV6}};
const std::vector<std::pair<std::string_view, bool Measure::*>> kMeasures = {{"tcp", &Measure::tcp},
                                                                            {"queues", &Measure::queues},
                                                                            {"sojourns", &Measure::sojourns},
                                                                            {"variables", &Measure::variables}};

/// "s[1-3]" is s1, s2, s3.
Result<std::vector<std::string>> expand(const std::string& name, const std::string& where) {
  const auto open = name.find('[');
  if (open == std::string::npos) return std::vector{name};
  const auto dash = name.find('-', open);
  const auto close = name.find(']', open);
  unsigned first = 0, last = 0;
  const auto number = [&](std::size_t from, std::size_t to, unsigned& value) {
    const auto [end, error] = std::from_chars(name.data() + from, name.data() + to, value);
    return error == std::errc() && end == name.data() + to;
  };
  if (dash == std::string::npos || close == std::string::npos || dash > close || !number(open + 1, dash, first) ||
      !number(dash + 1, close, last) || last < first || last - first >= kMostOfARange)
    return Failure(Error({}, fmt::format("{}: '{}' is no range of names, as s[1-8] is", where, name)));
  std::vector<std::string> names;
  for (unsigned i = first; i <= last; ++i)
    names.push_back(fmt::format("{}{}{}", name.substr(0, open), i, name.substr(close + 1)));
  return names;
}

/// Calls `each(a, b)` for the pairs of two names or ranges.
template <typename Each>
Result<void> pair_up(const std::string& a, const std::string& b, const std::string& where, Each each) {
  LKM_TRY(const auto as, expand(a, where));
  LKM_TRY(const auto bs, expand(b, where));
  if (as.size() != bs.size() && as.size() != 1 && bs.size() != 1)
    return Failure(Error({}, fmt::format("{}: '{}' and '{}' are ranges of different lengths", where, a, b)));
  for (std::size_t i = 0; i < std::max(as.size(), bs.size()); ++i)
    each(as[as.size() == 1 ? 0 : i], bs[bs.size() == 1 ? 0 : i]);
  return {};
}

/// What is in the file of that key, a Trace or a Replay; `otherwise` when there is none.
template <typename What>
Result<std::shared_ptr<const What>> read_named(TomlTable& table, const char* key, const std::filesystem::path& folder,
                                               std::shared_ptr<const What> otherwise = nullptr) {
  LKM_TRY(const toml::node* node, table.find(key));
  if (node == nullptr) return otherwise;
  std::string file;
  LKM_CHECK(table.get(key, file));
  auto what = What::read((folder / file).lexically_normal());
  if (!what) return table.refuse(node->source(), "{}", what.error().message());
  return std::make_shared<const What>(std::move(*what));
}

Result<void> read_link(TomlTable table, Scenario& scenario, const std::filesystem::path& folder) {
  LinkSpec link{.where = table.where()};
  for (const char* key : {"a", "b"}) LKM_CHECK(table.require(key));
  LKM_CHECK(table.get("a", link.a));
  LKM_CHECK(table.get("b", link.b));
  LKM_CHECK(table.get("rate", link.rate, parse_rate));
  LKM_TRY(link.trace, read_named<Trace>(table, "trace", folder));
  LKM_TRY(link.trace_back, read_named(table, "trace_back", folder, link.trace));
  LKM_CHECK(table.get("delay", link.delay, parse_duration));
  LKM_CHECK(table.get("jitter", link.jitter, parse_duration));
  LKM_CHECK(table.get("loss", link.loss, parse_fraction));
  LKM_CHECK(table.get("reorder", link.reorder, parse_fraction));
  LKM_CHECK(table.get("qdisc", link.qdisc));
  LKM_CHECK(table.get("limit", link.limit, parse_limit));
  LKM_CHECK(table.get("ecn", link.ecn));
  LKM_CHECK(table.get("mark_at", link.mark_at, parse_limit));
  LKM_CHECK(table.get("mtu", link.mtu));
  LKM_CHECK(table.done());
  return pair_up(link.a, link.b, link.where, [&](const std::string& a, const std::string& b) {
    link.a = a;
    link.b = b;
    scenario.links.push_back(link);
  });
}

Result<void> read_flow(TomlTable table, Scenario& scenario, const std::filesystem::path& folder) {
  FlowSpec flow{.where = table.where()};
  for (const char* key : {"from", "to"}) LKM_CHECK(table.require(key));
  LKM_CHECK(table.get("name", flow.name));
  LKM_CHECK(table.choose("kind", flow.kind, kKinds));
  LKM_CHECK(table.get("from", flow.from));
  LKM_CHECK(table.get("to", flow.to));
  LKM_CHECK(table.choose("ip", flow.ip, kFamilies));
  LKM_CHECK(table.get("cc", flow.control));
  LKM_CHECK(table.get("count", flow.count));
  LKM_CHECK(table.get("start", flow.start, parse_duration));
  LKM_CHECK(table.get("stagger", flow.stagger, parse_duration));
  LKM_CHECK(table.get("stop", flow.stop, parse_duration));
  LKM_CHECK(table.get("bytes", flow.bytes, parse_size));
  LKM_CHECK(table.get("request", flow.request_bytes, parse_size));
  LKM_CHECK(table.get("response", flow.response_bytes, parse_size));
  LKM_CHECK(table.get("interval", flow.interval, parse_duration));
  LKM_CHECK(table.get("on", flow.on, parse_duration));
  LKM_CHECK(table.get("off", flow.off, parse_duration));
  LKM_CHECK(table.get("arrivals", flow.arrivals));
  LKM_CHECK(table.choose("sizes", flow.sizes, kSizes));
  LKM_CHECK(table.get("rate", flow.rate, parse_rate));
  LKM_CHECK(table.get("datagram", flow.datagram, parse_size));
  LKM_TRY(flow.replay, read_named<Replay>(table, "file", folder));
  LKM_CHECK(table.done());
  return pair_up(flow.from, flow.to, flow.where, [&](const std::string& from, const std::string& to) {
    flow.from = from;
    flow.to = to;
    scenario.flows.push_back(flow);
  });
}

/// As `lkm-run load` takes it: a path is one if it has a slash.
std::string module_source(const std::string& given, const std::filesystem::path& folder) {
  return given.find('/') == std::string::npos ? given : (folder / given).lexically_normal().string();
}

Result<void> read_module(TomlTable table, Scenario& scenario, const std::filesystem::path& folder) {
  ModuleSpec module;
  LKM_CHECK(table.require("source"));
  LKM_CHECK(table.get("source", module.source));
  LKM_CHECK(table.get("parameters", module.parameters));
  LKM_CHECK(table.done());
  module.source = module_source(module.source, folder);
  scenario.modules.push_back(std::move(module));
  return {};
}

Result<void> read_event(TomlTable table, Scenario& scenario, const std::filesystem::path& folder) {
  EventSpec event{.target = {}, .where = table.where()};
  LKM_CHECK(table.require("at"));
  LKM_CHECK(table.get("at", event.at, parse_duration));
  std::string swap, down, up, link;
  LKM_CHECK(table.get("swap", swap));
  LKM_CHECK(table.get("link_down", down));
  LKM_CHECK(table.get("link_up", up));
  LKM_CHECK(table.get("link", link));
  LKM_CHECK(table.get("rate", event.rate, parse_rate));
  LKM_CHECK(table.done());
  if (int(!swap.empty()) + int(!down.empty()) + int(!up.empty()) + int(!link.empty()) != 1)
    return Failure(Error({}, fmt::format("{}: an event needs one of swap, link_down, link_up, or link with a rate",
                                         event.where)));
  if (!swap.empty()) {
    event.kind = EventSpec::Kind::kSwap;
    event.target = module_source(swap, folder);
  } else if (!down.empty() || !up.empty()) {
    event.kind = down.empty() ? EventSpec::Kind::kLinkUp : EventSpec::Kind::kLinkDown;
    event.target = down.empty() ? up : down;
  } else {
    event.target = link;
  }
  scenario.events.push_back(std::move(event));
  return {};
}

Result<void> read_measures(TomlTable& top, Scenario& scenario) {
  LKM_TRY(const toml::node* node, top.find("measure"));
  if (node == nullptr) return {};
  const toml::array* words = node->as_array();
  if (words == nullptr) return top.refuse(node->source(), "'measure' must be a list: [\"tcp\", \"queues\"]");
  scenario.measure = {.tcp = false, .queues = false, .sojourns = false, .variables = false};
  for (const toml::node& word : *words) {
    const auto found = std::ranges::find(kMeasures, word.value_or(std::string_view()), [](const auto& one) { return one.first; });
    if (found == kMeasures.end())
      return top.refuse(word.source(), "'measure' is of tcp, queues, sojourns and variables");
    scenario.measure.*found->second = true;
  }
  if (scenario.measure.sojourns && !scenario.measure.queues)
    return top.refuse(node->source(), "'measure' with sojourns and without queues");
  return {};
}

Result<void> read_sysctls(const toml::table& table, const std::string& shown, Scenario& scenario) {
  for (const auto& [key, value] : table) {
    if (const auto* text = value.as_string()) {
      scenario.sysctls[std::string(key.str())] = **text;
    } else if (const auto* number = value.as_integer()) {
      scenario.sysctls[std::string(key.str())] = fmt::format("{}", **number);
    } else {
      return Failure(Error({}, fmt::format("{}:{}:{}: the sysctl '{}' must be text or a whole number", shown,
                                           value.source().begin.line, value.source().begin.column, key.str()))
                         .with_hint("put the name in quotes: \"net.ipv4.tcp_ecn\" = 1"));
    }
  }
  return {};
}

std::string duration(nanoseconds value) { return fmt::format("\"{}ns\"", value.count()); }

template <typename T>
std::string_view name_of(T value, const std::vector<std::pair<std::string_view, T>>& choices) {
  return std::ranges::find(choices, value, &std::pair<std::string_view, T>::second)->first;
}

/// Lines of a table; what is as it would be without them is left out.
class Lines {
 public:
  explicit Lines(std::string& text) : text_(text) {}
  void put(std::string_view key, const std::string& value) { text_ += fmt::format("{} = {}\n", key, value); }
  void text(std::string_view key, const std::string& value) {
    if (!value.empty()) put(key, toml_quoted(value));
  }
  void time(std::string_view key, nanoseconds value) {
    if (value != 0ns) put(key, duration(value));
  }
  void quantity(std::string_view key, std::uint64_t value, std::string_view unit, std::uint64_t usual = 0) {
    if (value != usual) put(key, fmt::format("\"{}{}\"", value, unit));
  }
  void share(std::string_view key, double value) {
    if (value > 0) put(key, fmt::format("\"{:.12f}%\"", value * 100));
  }
  void limit(std::string_view key, const Limit& value) {
    if (value.value > 0) put(key, toml_quoted(format_limit(value)));
  }

 private:
  std::string& text_;
};

}  // namespace

Result<Scenario> parse_scenario(std::string_view text, const std::string& shown, const std::filesystem::path& folder) {
  LKM_TRY(const toml::table root, parse_toml(text, shown));
  Scenario scenario;
  TomlTable top(root, shown, "a scenario");
  LKM_CHECK(top.get("title", scenario.title));
  LKM_CHECK(top.get("seed", scenario.seed));
  LKM_CHECK(top.get("duration", scenario.duration, parse_duration));
  LKM_CHECK(top.get("sample", scenario.sample, parse_duration));
  LKM_CHECK(read_measures(top, scenario));
  LKM_TRY(const toml::node* sysctls, top.find("sysctl"));
  if (sysctls != nullptr) {
    if (!sysctls->is_table()) return top.refuse(sysctls->source(), "'sysctl' must be a table: [sysctl]");
    LKM_CHECK(read_sysctls(*sysctls->as_table(), shown, scenario));
  }
  for (const char* kind : {"link", "flow", "module", "event"}) {
    LKM_TRY(const toml::node* node, top.find(kind));
    if (node == nullptr) continue;
    if (!node->is_array_of_tables()) return top.refuse(node->source(), "'{0}' must be tables: [[{0}]]", kind);
    for (const toml::node& one : *node->as_array()) {
      TomlTable table(*one.as_table(), shown, fmt::format("a {}", kind));
      const std::string_view name(kind);
      LKM_CHECK(name == "link"     ? read_link(std::move(table), scenario, folder)
                : name == "flow"   ? read_flow(std::move(table), scenario, folder)
                : name == "module" ? read_module(std::move(table), scenario, folder)
                                   : read_event(std::move(table), scenario, folder));
    }
  }
  LKM_CHECK(top.done());
  if (auto good = check(scenario); !good) {
    const bool placed = good.error().what().starts_with(shown + ":");
    return placed ? Failure(std::move(good).error())
                  : Failure(Error({}, fmt::format("{}: {}", shown, good.error().what())).with_hint(good.error().hint()));
  }
  return scenario;
}

Result<Scenario> read_scenario(const std::filesystem::path& file) {
  LKM_TRY(const std::string text, read_file(file));
  return parse_scenario(text, file.string(), std::filesystem::absolute(file).parent_path());
}

std::string to_toml(const Scenario& scenario) {
  std::string text;
  Lines lines(text);
  lines.text("title", scenario.title);
  lines.put("seed", fmt::format("{}", scenario.seed));
  lines.time("duration", scenario.duration);
  lines.time("sample", scenario.sample);
  if (scenario.measure != Measure()) {
    std::string words;
    for (const auto& [name, member] : kMeasures) {
      if (scenario.measure.*member) words += (words.empty() ? "" : ", ") + toml_quoted(std::string(name));
    }
    lines.put("measure", "[" + words + "]");
  }
  if (!scenario.sysctls.empty()) {
    text += "\n[sysctl]\n";
    for (const auto& [key, value] : scenario.sysctls) lines.put(toml_quoted(key), toml_quoted(value));
  }
  for (const ModuleSpec& module : scenario.modules) {
    text += "\n[[module]]\n";
    lines.text("source", module.source);
    lines.text("parameters", module.parameters);
  }
  for (const LinkSpec& link : scenario.links) {
    text += "\n[[link]]\n";
    lines.text("a", link.a);
    lines.text("b", link.b);
    lines.quantity("rate", link.rate, "bit");
    if (link.trace) lines.text("trace", link.trace->name());
    if (link.trace_back != link.trace) lines.text("trace_back", link.trace_back->name());
    lines.time("delay", link.delay);
    lines.time("jitter", link.jitter);
    lines.share("loss", link.loss);
    lines.share("reorder", link.reorder);
    lines.text("qdisc", link.qdisc);
    lines.limit("limit", link.limit);
    if (link.ecn) lines.put("ecn", "true");
    lines.limit("mark_at", link.mark_at);
    lines.put("mtu", fmt::format("{}", link.mtu));
  }
  for (const FlowSpec& flow : scenario.flows) {
    const FlowSpec usual;
    text += "\n[[flow]]\n";
    lines.text("name", flow.name);
    lines.put("kind", fmt::format("\"{}\"", name_of(flow.kind, kKinds)));
    lines.text("from", flow.from);
    lines.text("to", flow.to);
    if (flow.ip != usual.ip) lines.put("ip", fmt::format("\"{}\"", name_of(flow.ip, kFamilies)));
    lines.text("cc", flow.control);
    lines.put("count", fmt::format("{}", flow.count));
    lines.time("start", flow.start);
    lines.time("stagger", flow.stagger);
    lines.time("stop", flow.stop);
    lines.quantity("bytes", flow.bytes, "B");
    lines.quantity("request", flow.request_bytes, "B", usual.request_bytes);
    lines.quantity("response", flow.response_bytes, "B", usual.response_bytes);
    lines.time("interval", flow.interval);
    lines.time("on", flow.on);
    lines.time("off", flow.off);
    if (flow.arrivals > 0) lines.put("arrivals", fmt::format("{}", flow.arrivals));
    if (flow.sizes != usual.sizes) lines.put("sizes", fmt::format("\"{}\"", name_of(flow.sizes, kSizes)));
    lines.quantity("rate", flow.rate, "bit");
    lines.quantity("datagram", flow.datagram, "B", usual.datagram);
    if (flow.replay) lines.text("file", flow.replay->name);
  }
  for (const EventSpec& event : scenario.events) {
    text += "\n[[event]]\n";
    lines.put("at", duration(event.at));
    switch (event.kind) {
      case EventSpec::Kind::kSwap:
        lines.text("swap", event.target);
        break;
      case EventSpec::Kind::kLinkDown:
        lines.text("link_down", event.target);
        break;
      case EventSpec::Kind::kLinkUp:
        lines.text("link_up", event.target);
        break;
      case EventSpec::Kind::kRate:
        lines.text("link", event.target);
        lines.quantity("rate", event.rate, "bit");
        break;
    }
  }
  return text;
}

}  // namespace lkm::lab

#include "detect/ids_alert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hyperward::detect {
namespace {

using testing::HasSubstr;
using testing::Not;

// As Suricata 6 writes it, less what it says of itself.
constexpr std::string_view kEve =
    R"({"timestamp":"2024-05-01T12:00:00.000000+0000","flow_id":1,"in_iface":"tap0","event_type":"alert",)"
    R"("src_ip":"10.9.0.2","src_port":40000,"dest_ip":"203.0.113.9","dest_port":25,"proto":"TCP",)"
    R"("metadata":{"flowbits":["x"]},"alert":{"action":"allowed","gid":1,"signature_id":2001219,"rev":20,)"
    R"("signature":"ET SCAN Potential SSH Scan","category":"Attempted Information Leak","severity":2,)"
    R"("metadata":{"tag":["Bad"]}},"flow":{"pkts_toserver":1},"payload":"AAAA"})";

IdsAlert alert_of(std::string_view line) {
  const auto alert = parse_ids_line(line);
  if (alert && *alert) return **alert;
  ADD_FAILURE() << (alert ? "no alert" : alert.error().message);
  return {};
}

std::string mistake_in(std::string_view line) {
  const auto alert = parse_ids_line(line);
  if (alert) return *alert ? "an alert" : "no alert";
  EXPECT_EQ(alert.error().code, Code::kInvalid);
  return alert.error().message;
}

// kEve with one part of it replaced.
std::string eve_with(std::string_view part, std::string_view by) {
  std::string line(kEve);
  const size_t at = line.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return line.replace(at, part.size(), by);
}

std::string generic(std::string_view protocol, std::string_view source, std::string_view destination) {
  return fmt::format(R"({{"protocol":"{}","source":"{}","destination":"{}","text":"t"}})", protocol, source,
                     destination);
}

TEST(IdsAlert, reads_an_alert_of_suricata) {
  const IdsAlert alert = alert_of(kEve);
  EXPECT_EQ(alert.protocol, Protocol::kTcp);
  EXPECT_EQ(to_string(alert.source), "10.9.0.2:40000");
  EXPECT_EQ(to_string(alert.destination), "203.0.113.9:25");
  EXPECT_EQ(alert.text, "ET SCAN Potential SSH Scan");
  EXPECT_EQ(alert.signature, 2001219U);
  EXPECT_EQ(alert.severity, 2U);
}

TEST(IdsAlert, reads_a_generic_alert) {
  const IdsAlert alert =
      alert_of(R"({"protocol":"udp","source":"[2001:db8::2]:40000","destination":"[2001:db8::9]:53","text":"a tunnel",)"
               R"("signature":7,"severity":1})");
  EXPECT_EQ(alert.protocol, Protocol::kUdp);
  EXPECT_EQ(to_string(alert.source), "[2001:db8::2]:40000");
  EXPECT_EQ(to_string(alert.destination), "[2001:db8::9]:53");
  EXPECT_EQ(alert.text, "a tunnel");
  EXPECT_EQ(alert.signature, 7U);
  EXPECT_EQ(alert.severity, 1U);
}

TEST(IdsAlert, signature_and_severity_may_be_left_out) {
  const IdsAlert alert = alert_of(generic("tcp", "10.9.0.2:1", "192.0.2.1:2"));
  EXPECT_EQ(alert.signature, 0U);
  EXPECT_EQ(alert.severity, 0U);
}

TEST(IdsAlert, passes_over_what_suricata_writes_beside_alerts) {
  for (const std::string_view type : {"flow", "stats", "dns", "", "Alert"})
    EXPECT_EQ(mistake_in(eve_with(R"("event_type":"alert")", fmt::format(R"("event_type":"{}")", type))), "no alert");
  EXPECT_EQ(mistake_in(R"({"event_type":"stats","stats":{"uptime":1}})"), "no alert");
}

TEST(IdsAlert, knows_protocols_in_any_case) {
  const std::pair<std::string_view, Protocol> names[] = {
      {"TCP", Protocol::kTcp},   {"udp", Protocol::kUdp},          {"Sctp", Protocol::kSctp},
      {"ICMP", Protocol::kIcmp}, {"IPv6-ICMP", Protocol::kIcmpV6}, {"icmp6", Protocol::kIcmpV6},
  };
  for (const auto& [name, protocol] : names)
    EXPECT_EQ(alert_of(eve_with(R"("TCP")", fmt::format(R"("{}")", name))).protocol, protocol) << name;
}

TEST(IdsAlert, protocols_without_ports_have_none) {
  EXPECT_EQ(alert_of(eve_with(R"("TCP")", R"("ICMP")")).destination.port, 0);
  std::string line = eve_with(R"("src_port":40000,)", "");
  line.replace(line.find(R"("TCP")"), 5, R"("ICMP")");
  EXPECT_EQ(to_string(alert_of(line).source), "10.9.0.2:0");
  EXPECT_EQ(to_string(alert_of(generic("icmp6", "2001:db8::2", "2001:db8::9")).source), "[2001:db8::2]:0");
}

TEST(IdsAlert, names_the_field_that_is_wrong) {
  EXPECT_EQ(mistake_in(eve_with(R"("proto":"TCP",)", "")), "proto must be a string");
  EXPECT_EQ(mistake_in(eve_with(R"("TCP")", R"("GRE")")), "proto must be tcp, udp, icmp, ipv6-icmp or sctp");
  EXPECT_EQ(mistake_in(eve_with("10.9.0.2", "10.9.0.256")), "src_ip must be an IP address");
  EXPECT_EQ(mistake_in(eve_with(R"("203.0.113.9")", "7")), "dest_ip must be a string");
  EXPECT_EQ(mistake_in(eve_with(R"("src_port":40000,)", "")), "src_port is missing");
  EXPECT_EQ(mistake_in(eve_with("40000", "65536")), "src_port must be a number from 0 to 65535");
  EXPECT_EQ(mistake_in(eve_with("40000", "-1")), "src_port must be a number from 0 to 65535");
  EXPECT_EQ(mistake_in(eve_with("40000", "4e4")), "src_port must be a number from 0 to 65535");
  EXPECT_EQ(mistake_in(eve_with(R"("signature":)", R"("no-signature":)")), "alert.signature must be a string");
  EXPECT_EQ(mistake_in(eve_with("2001219", "4294967296")), "alert.signature_id must be a number from 0 to 4294967295");
  EXPECT_EQ(mistake_in(eve_with(R"("severity":2)", R"("severity":"2")")),
            "alert.severity must be a number from 0 to 4294967295");
  EXPECT_EQ(mistake_in(eve_with(R"("event_type":"alert")", R"("event_type":1)")), "event_type must be a string");
  EXPECT_EQ(mistake_in(eve_with(R"("alert":{)", R"("other":{)")), "alert must be an object");
  EXPECT_EQ(mistake_in("{}"), "protocol must be a string");
  EXPECT_EQ(mistake_in(generic("tcp", "10.9.0.2", "192.0.2.1:2")), "source must be ADDRESS:PORT");
  EXPECT_EQ(mistake_in(generic("icmp", "10.9.0.2", "192.0.2")), "destination must be an IP address");
}

TEST(IdsAlert, does_not_repeat_hostile_text_in_a_mistake) {
  const std::string text(100'000, 'x');
  EXPECT_THAT(mistake_in(eve_with("10.9.0.2", text)), Not(HasSubstr("xx")));
}

TEST(IdsAlert, refuses_what_is_no_json_object) {
  for (const std::string_view line :
       {"", " ", "[]", "7", "null", "{", "{}{}", "{\"a\":}", "\"\xff\"", "{\"a\":\"\xff\"}"})
    EXPECT_EQ(mistake_in(line), "a line that is no JSON object") << line;
}

TEST(IdsAlert, keeps_control_characters_of_the_text) {
  EXPECT_EQ(alert_of(eve_with("ET SCAN", R"(\u001b[2J\u0000)")).text,
            std::string_view("\x1b[2J\0 Potential SSH Scan", 24));
}

TEST(IdsAlert, cuts_the_text_between_characters) {
  const std::string exact(kMaxAlertTextBytes, 'x');
  EXPECT_EQ(alert_of(eve_with("ET SCAN Potential SSH Scan", exact)).text, exact);
  EXPECT_EQ(alert_of(eve_with("ET SCAN Potential SSH Scan", exact + "y")).text, exact);
  for (const std::string_view wide : {"\u00e4", "\u20ac", "\U0001f512"}) {
    for (size_t before_end = 1; before_end < wide.size(); ++before_end) {
      const std::string before(kMaxAlertTextBytes - before_end, 'x');
      EXPECT_EQ(alert_of(eve_with("ET SCAN Potential SSH Scan", fmt::format("{}{}", before, wide))).text, before);
    }
  }
}

TEST(IdsAlert, bounds_the_line) {
  const std::string filler(kMaxAlertLineBytes - kEve.size() + 4, 'A');
  EXPECT_EQ(alert_of(eve_with("AAAA", filler)).severity, 2U);
  EXPECT_EQ(mistake_in(eve_with("AAAA", filler + "A")), "a line of 1048577 bytes, 1048576 are the most");
}

TEST(IdsAlert, bounds_the_nesting) {
  EXPECT_EQ(mistake_in(std::string(kMaxAlertLineBytes, '[')), "a line nested deeper than 32");
  std::string objects;
  while (objects.size() < kMaxAlertLineBytes - 5) objects += R"({"":)";
  EXPECT_EQ(mistake_in(objects), "a line nested deeper than 32");
  const auto nested = [](size_t depth) {
    return eve_with(R"("AAAA")", std::string(depth, '[') + std::string(depth, ']'));
  };
  EXPECT_EQ(alert_of(nested(31)).severity, 2U);
  EXPECT_EQ(mistake_in(nested(32)), "a line nested deeper than 32");
}

TEST(IdsAlert, brackets_within_a_string_nest_nothing) {
  const std::string brackets(1000, '{');
  EXPECT_EQ(alert_of(eve_with("AAAA", brackets)).severity, 2U);
  EXPECT_EQ(alert_of(eve_with("AAAA", R"(\")" + brackets + R"(\\)")).severity, 2U);
}

}  // namespace
}  // namespace hyperward::detect

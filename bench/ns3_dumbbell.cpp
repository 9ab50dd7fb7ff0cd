// SPDX-License-Identifier: GPL-2.0
//
// The dumbbell of the lab (toolkit/lab/presets.cpp) in ns-3, with ns-3's own TCP. Prints what lab.cpp compares with. A
// program of its own, so that the benchmark can do without ns-3.
//
//   lkm-bench-ns3 MBIT FLOWS SECONDS
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "ns3/applications-module.h"
#include "ns3/core-module.h"
#include "ns3/internet-module.h"
#include "ns3/network-module.h"
#include "ns3/point-to-point-module.h"
#include "ns3/traffic-control-module.h"

namespace {

constexpr unsigned kRttMs = 40;
constexpr unsigned kMss = 1448;
constexpr unsigned kBuffer = 64U << 20;  // of a socket, as in the lab: the path limits the window

std::uint64_t g_packets = 0;
void count(ns3::Ptr<const ns3::Packet>) { ++g_packets; }

}  // namespace

int main(int argc, char** argv) {
  using namespace ns3;
  if (argc != 4) return 2;
  const unsigned mbit = std::strtoul(argv[1], nullptr, 10), flows = std::strtoul(argv[2], nullptr, 10),
                 seconds = std::strtoul(argv[3], nullptr, 10);

  Config::SetDefault("ns3::TcpL4Protocol::SocketType", TypeIdValue(TcpCubic::GetTypeId()));
  Config::SetDefault("ns3::TcpSocket::SegmentSize", UintegerValue(kMss));
  Config::SetDefault("ns3::TcpSocket::SndBufSize", UintegerValue(kBuffer));
  Config::SetDefault("ns3::TcpSocket::RcvBufSize", UintegerValue(kBuffer));
  Config::SetDefault("ns3::TcpSocket::InitialCwnd", UintegerValue(10));

  NodeContainer nodes;  // sender, left, right, receiver: all flows share the ends, as in the lab
  nodes.Create(4);
  InternetStackHelper().Install(nodes);

  const std::uint64_t bdp = std::uint64_t(mbit) * 1'000'000 / 8 * kRttMs / 1000 / (kMss + 66);
  PointToPointHelper bottleneck;
  bottleneck.SetDeviceAttribute("DataRate", DataRateValue(DataRate(mbit * 1'000'000ULL)));
  bottleneck.SetChannelAttribute("Delay", TimeValue(MilliSeconds(kRttMs / 2)));
  bottleneck.SetQueue("ns3::DropTailQueue<Packet>", "MaxSize",
                      QueueSizeValue(QueueSize(QueueSizeUnit::PACKETS, std::uint32_t(std::max<std::uint64_t>(bdp, 100)))));
  PointToPointHelper access;
  access.SetDeviceAttribute("DataRate", StringValue("100Gbps"));
  access.SetQueue("ns3::DropTailQueue<Packet>", "MaxSize", StringValue("100000p"));

  Ipv4AddressHelper addresses;
  addresses.SetBase("10.0.0.0", "255.255.255.252");
  const auto link = [&](const PointToPointHelper& helper, std::uint32_t a) {
    const auto devices = PointToPointHelper(helper).Install(nodes.Get(a), nodes.Get(a + 1));
    const auto assigned = addresses.Assign(devices);
    TrafficControlHelper().Uninstall(devices);  // the device's queue is the only one, as in the lab
    addresses.NewNetwork();
    return std::pair(devices, assigned);
  };
  link(access, 0);
  const auto middle = link(bottleneck, 1).first;
  const auto far = link(access, 2).second;
  for (std::uint32_t end = 0; end < 2; ++end)
    middle.Get(end)->TraceConnectWithoutContext("PhyTxEnd", MakeCallback(&count));

  const InetSocketAddress there(far.GetAddress(1), 5000);
  PacketSinkHelper("ns3::TcpSocketFactory", there).Install(nodes.Get(3)).Start(Seconds(0));
  BulkSendHelper sender("ns3::TcpSocketFactory", there);
  sender.SetAttribute("SendSize", UintegerValue(65536));
  for (unsigned i = 0; i < flows; ++i) sender.Install(nodes.Get(0)).Start(Seconds(0));
  Ipv4GlobalRoutingHelper::PopulateRoutingTables();

  Simulator::Stop(Seconds(seconds));
  const auto began = std::chrono::steady_clock::now();
  Simulator::Run();
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - began;
  Simulator::Destroy();
  std::printf("{\"wall_s\":%.6f,\"packets\":%llu}\n", wall.count(), (unsigned long long)g_packets);
  return 0;
}

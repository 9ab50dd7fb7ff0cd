// SPDX-License-Identifier: GPL-2.0
//
// The methods of links, devices and flows. What links and flows take and give is in toolkit/net/json.hpp
// and toolkit/flow/json.hpp. A device: {name, wire, carrier, netns, address, mtu}.
//
//   link.add   a link                  → the link
//   link.del   {id}                    → {}
//   link.list                          → {links:[link…]}
//   device.add {name, tap|packet|cable|memif|uplink|pcap|pcap_out, role?, pace?, netns?, address?, gateway?, mtu?, mac?}
//                                      → the device, which is up
//   device.del {name}                  → {}
//   device.list                        → {devices:[device…]}
//   capture       {device, netns?, file, snap?, count?} → {packets, dropped}, after events {"capture":the same}
//   capture.start the same             → {}; it goes on by itself
//   capture.stop  {file}               → {packets, dropped}
//   flow.start a flow                  → its report
//   flow.wait  {id, every_ns?}         → its report at the end, after events {"flow":report}
//   flow.stop  {id}                    → its report
//   flow.list                          → {flows:[report…]}
#pragma once

#include <functional>

#include "toolkit/control/server.hpp"
#include "toolkit/net/uplink.hpp"

namespace lkm::control {

/// The server keeps the links and flows; it must be destroyed on a fiber then.
/// `make_uplink` gives the stack's end of the wire to an Uplink that serves in another process; without it there are none.
using MakeUplink = std::function<Result<UniqueFd>(Reach)>;
void add_network_methods(Server& server, Stack& stack, MakeUplink make_uplink = {});

}  // namespace lkm::control

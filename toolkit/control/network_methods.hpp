// SPDX-License-Identifier: GPL-2.0
//
// The methods of links, devices and flows. What links and flows take and give is in toolkit/net/json.hpp
// and toolkit/flow/json.hpp. A device: {name, wire, carrier, netns, address, mtu}.
//
//   link.add   a link                  → the link
//   link.del   {id}                    → {}
//   link.list                          → {links:[link…]}
//   device.add {name, tap|cable, netns?, address?, gateway?, mtu?}  → the device, which is up
//   device.del {name}                  → {}
//   device.list                        → {devices:[device…]}
//   flow.start a flow                  → its report
//   flow.wait  {id, every_ns?}         → its report at the end, after events {"flow":report}
//   flow.stop  {id}                    → its report
//   flow.list                          → {flows:[report…]}
#pragma once

#include "toolkit/control/server.hpp"

namespace lkm::control {

/// The server keeps the links and flows; it must be destroyed on a fiber then.
void add_network_methods(Server& server, Stack& stack);

}  // namespace lkm::control

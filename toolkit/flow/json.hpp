// SPDX-License-Identifier: GPL-2.0
//
// Flows as JSON, for the control protocol and for reports. A size or a duration that comes in is
// text with its unit ("10MiB", "5s"); what goes out is a number whose key names the unit.
#pragma once

#include <nlohmann/json.hpp>

#include "toolkit/base/result.hpp"
#include "toolkit/flow/flow.hpp"

namespace lkm {

/// {"kind":"bulk|requests","client":"a","server":"b","transport":"tcp|mptcp|sctp|telex",
///  "family":"v4|v6","address":"10.0.0.2","port":0,"control":"cubic","bytes":"10MiB",
///  "requests":100,"duration":"5s","request_bytes":"64B","response_bytes":"64B",
///  "interval":"10ms","seed":1}; no member is required. EINVAL names a member that is wrong.
Result<FlowSpec> flow_spec_from_json(const nlohmann::json& object);

nlohmann::json to_json(const FlowReport& report);

}  // namespace lkm

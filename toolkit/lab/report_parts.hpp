// SPDX-License-Identifier: GPL-2.0
//
// The files that a report is made of, as embed.cmake puts them into the program.
#pragma once

#include <string_view>

namespace lkm::lab {

extern const std::string_view kReportHtml, kReportCss, kReportJs, kDrawJs, kWatchHtml, kWatchJs, kUplotCss, kUplotJs;

}  // namespace lkm::lab

# SPDX-License-Identifier: GPL-2.0
# Writes files into a C++ source: cmake -DSOURCE_DIR=… -DOUT=… -P embed.cmake
set(parts
  kReportHtml toolkit/lab/report/report.html
  kReportCss toolkit/lab/report/report.css
  kReportJs toolkit/lab/report/report.js
  kDrawJs toolkit/lab/report/draw.js
  kWatchHtml toolkit/lab/report/watch.html
  kWatchJs toolkit/lab/report/watch.js
  kUplotCss third_party/uplot/uPlot.min.css
  kUplotJs third_party/uplot/uPlot.iife.min.js)
set(text "// Made by toolkit/lab/embed.cmake.\n#include \"toolkit/lab/report_parts.hpp\"\n\nnamespace lkm::lab {\n\n")
while(parts)
  list(POP_FRONT parts name file)
  # As hexadecimal and back: no character of a script means anything to CMake then.
  file(READ "${SOURCE_DIR}/${file}" content HEX)
  string(REGEX REPLACE "(..)" "0x\\1," content "${content}")
  string(APPEND text "static const unsigned char ${name}Bytes[] = {${content}};\n")
  string(APPEND text "const std::string_view ${name}(reinterpret_cast<const char*>(${name}Bytes), sizeof ${name}Bytes);\n")
endwhile()
file(WRITE "${OUT}" "${text}\n}  // namespace lkm::lab\n")

# SPDX-License-Identifier: GPL-2.0
# Writes the template files into a C++ source: cmake -DFOLDER=… -DOUT=… -P embed.cmake
set(text "// Made from tools/lkm-run/templates/cc by embed.cmake.\n")
string(APPEND text "#include \"tools/lkm-run/module_template.hpp\"\n\nnamespace lkm::cli {\n\n")
string(APPEND text "const std::vector<TemplateFile>& cc_template() {\n")
string(APPEND text "  static const std::vector<TemplateFile> files = {\n")
foreach(name Kbuild Makefile README.md module.c tests/CMakeLists.txt tests/module_test.cpp)
  file(READ "${FOLDER}/${name}" content)
  string(APPEND text "      {\"${name}\", R\"lkm(${content})lkm\"},\n")
endforeach()
string(APPEND text "  };\n  return files;\n}\n\n}  // namespace lkm::cli\n")
file(WRITE "${OUT}" "${text}")

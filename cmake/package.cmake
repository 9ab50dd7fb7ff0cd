# SPDX-License-Identifier: GPL-2.0
#
# The CMake package lkm-run: the library with which authors of modules test them (toolkit/lab/fixture.hpp). It is found
# in the build folder as well as where it was installed; `lkm-run test` tells CMake which.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(libraries lkm_base lkm_host lkm_net lkm_flow lkm_lab lkm_lab_fixture)
set_target_properties(lkm_lab_fixture PROPERTIES EXPORT_NAME lab_fixture)
target_compile_features(lkm_lab_fixture INTERFACE cxx_std_20)
target_include_directories(lkm_lab_fixture INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/lkm-run>)
if(LKM_SANITIZE)
  target_compile_options(lkm_lab_fixture INTERFACE -fsanitize=${LKM_SANITIZE})
  target_link_options(lkm_lab_fixture INTERFACE -fsanitize=${LKM_SANITIZE})
endif()

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/lkm-run)
install(TARGETS ${libraries} EXPORT lkm-run ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/lkm-run)
install(EXPORT lkm-run NAMESPACE lkm-run:: FILE lkm-run-targets.cmake DESTINATION ${package})
export(EXPORT lkm-run NAMESPACE lkm-run:: FILE ${CMAKE_BINARY_DIR}/package/lkm-run-targets.cmake)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/lkm-run-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
configure_file(${CMAKE_CURRENT_LIST_DIR}/lkm-run-config.cmake ${CMAKE_BINARY_DIR}/package/lkm-run-config.cmake COPYONLY)
install(FILES ${CMAKE_BINARY_DIR}/package/lkm-run-config.cmake ${CMAKE_BINARY_DIR}/package/lkm-run-config-version.cmake
        DESTINATION ${package})

# What fixture.hpp includes, and the reader of scenario files.
foreach(header toolkit/lab/fixture.hpp toolkit/lab/presets.hpp toolkit/lab/run.hpp toolkit/lab/scenario.hpp
               toolkit/lab/scenario_toml.hpp toolkit/lab/replay.hpp toolkit/lab/summary.hpp toolkit/lab/trace.hpp
               toolkit/lab/times.hpp toolkit/net/ip.hpp toolkit/base/result.hpp toolkit/base/unique_fd.hpp
               libos-runtime/host/stack.hpp libos-runtime/host/source_line.hpp)
  cmake_path(GET header PARENT_PATH folder)
  install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lkm-run/${folder})
endforeach()

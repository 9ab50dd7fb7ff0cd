# SPDX-License-Identifier: GPL-2.0
#
# find_package(lkm-run): the target lkm-run::lab_fixture, and
#
#   lkm_run_discover_tests(mycc_test)
#
# which makes each test of a GoogleTest program one of ctest, so that all can run at once.
include(CMakeFindDependencyMacro)
foreach(dependency fmt GTest nlohmann_json Threads tomlplusplus)
  find_dependency(${dependency})
endforeach()
include(${CMAKE_CURRENT_LIST_DIR}/lkm-run-targets.cmake)

include(GoogleTest)
function(lkm_run_discover_tests target)
  # When they run and not in the build; a loaded machine may take a while to list them.
  gtest_discover_tests(${target} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60)
endfunction()

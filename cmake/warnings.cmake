# SPDX-License-Identifier: GPL-2.0
option(LKM_WERROR "Warnings are errors" OFF)
add_compile_options(-Wall -Wextra -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # gcc 12 sees an overlapping copy in `"x" + std::string` that is none (its bug 105651).
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
if(LKM_WERROR)
  add_compile_options(-Werror)
endif()

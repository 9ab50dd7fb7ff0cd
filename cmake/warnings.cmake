# SPDX-License-Identifier: GPL-2.0
option(LKM_WERROR "Warnings are errors" OFF)
add_compile_options(-Wall -Wextra -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> -Wno-missing-field-initializers)
if(LKM_WERROR)
  add_compile_options(-Werror)
endif()

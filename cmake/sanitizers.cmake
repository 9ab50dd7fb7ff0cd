# SPDX-License-Identifier: GPL-2.0
set(LKM_SANITIZE "" CACHE STRING "Sanitizers for -fsanitize=, such as address,undefined")
if(LKM_SANITIZE)
  # A report ends the test that caused it.
  add_compile_options(-fsanitize=${LKM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${LKM_SANITIZE})
endif()

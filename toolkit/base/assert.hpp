// SPDX-License-Identifier: GPL-2.0
//
// LKM_ASSERT(condition): a broken invariant ends the process, in release builds too. It is for what
// the code itself promises, never for input from outside: that gets an Error.
#pragma once

#include <cstdio>
#include <cstdlib>

#define LKM_ASSERT(condition)                                                                \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      std::fprintf(stderr, "%s:%d: broken invariant: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (0)

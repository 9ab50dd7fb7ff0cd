/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* As on x86-64, so that programs' structures are the library's. */
#include <../arch/x86/include/uapi/asm/stat.h>

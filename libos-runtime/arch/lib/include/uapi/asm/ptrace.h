/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef _UAPI_ASM_LIB_PTRACE_H
#define _UAPI_ASM_LIB_PTRACE_H
/* Nothing here runs in a user mode that could be traced. */
#endif

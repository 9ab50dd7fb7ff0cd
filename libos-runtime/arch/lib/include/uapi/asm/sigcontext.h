/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef _UAPI_ASM_LIB_SIGCONTEXT_H
#define _UAPI_ASM_LIB_SIGCONTEXT_H

/* Signal handlers run in programs, on frames that the host builds. */
struct sigcontext {
	unsigned long unused;
};

#endif

/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_UACCESS_H
#define _ASM_LIB_UACCESS_H

/*
 * User pointers are pointers of this process, or, in libos_entry.syscall_for(), of another one.
 * libos_copy_from_user() and libos_copy_to_user() (switch.S) tell them apart by current->thread.user.
 * libos_copy_user() is the one place that follows those of this process: a fault there ends the copy
 * and gives the number of bytes that were not copied.
 */
#include <linux/string.h>
#include <asm/extable.h>

#include <asm-generic/access_ok.h>

unsigned long libos_copy_user(void *to, const void *from, unsigned long n);
unsigned long libos_copy_from_user(void *to, const void *from, unsigned long n);
unsigned long libos_copy_to_user(void *to, const void *from, unsigned long n);

static inline __must_check unsigned long raw_copy_from_user(void *to, const void __user *from,
							    unsigned long n)
{
	return libos_copy_from_user(to, (const void __force *)from, n);
}

static inline __must_check unsigned long raw_copy_to_user(void __user *to, const void *from,
							  unsigned long n)
{
	return libos_copy_to_user((void __force *)to, from, n);
}

#define __get_kernel_nofault(dst, src, type, label)                         \
do {                                                                        \
	if (libos_copy_user((dst), (src), sizeof(type)))                    \
		goto label;                                                 \
} while (0)

#define __put_kernel_nofault(dst, src, type, label)                         \
do {                                                                        \
	if (libos_copy_user((dst), (src), sizeof(type)))                    \
		goto label;                                                 \
} while (0)

unsigned long libos_clear_user(void *to, unsigned long n);
#define __clear_user(to, n) libos_clear_user((void __force *)(to), (n))

#include <asm-generic/uaccess.h>

#endif

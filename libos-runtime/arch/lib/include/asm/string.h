/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_STRING_H
#define _ASM_LIB_STRING_H

/* The host's libc has these tuned for the CPU at hand. */
#define __HAVE_ARCH_MEMCPY
void *memcpy(void *to, const void *from, size_t len);
#define __HAVE_ARCH_MEMMOVE
void *memmove(void *to, const void *from, size_t len);
#define __HAVE_ARCH_MEMSET
void *memset(void *to, int byte, size_t len);
#define __HAVE_ARCH_MEMCMP
int memcmp(const void *a, const void *b, size_t len);

#endif

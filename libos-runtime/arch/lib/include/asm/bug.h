/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_BUG_H
#define _ASM_LIB_BUG_H

/*
 * BUG() is an undefined instruction that the bug table describes; the host's SIGILL handler comes
 * to libos_fault(), which asks report_bug(). So a BUG() in a module ends a task, not the process.
 */
#if defined(CONFIG_BUG) && !defined(__ASSEMBLY__)
#include <linux/stringify.h>
#include <linux/objtool.h>

#ifdef CONFIG_DEBUG_BUGVERBOSE
#define LIB_BUG_WHERE ".long %c0 - .\n\t.word %c1\n\t"
#define LIB_BUG_ARGS "i" (__FILE__), "i" (__LINE__),
#else
#define LIB_BUG_WHERE
#define LIB_BUG_ARGS "i" (0), "i" (0),
#endif

#define BUG()                                                               \
do {                                                                        \
	asm volatile("1:\tud2\n\t"                                          \
		     ".pushsection __bug_table,\"aw\"\n\t"                  \
		     ".balign 4\n"                                          \
		     "2:\t.long 1b - .\n\t"                                 \
		     LIB_BUG_WHERE                                          \
		     ".word %c2\n\t"                                        \
		     ".org 2b + %c3\n\t"                                    \
		     ".popsection"                                          \
		     : : LIB_BUG_ARGS "i" (0), "i" (sizeof(struct bug_entry))); \
	__builtin_unreachable();                                            \
} while (0)
#define HAVE_ARCH_BUG
#endif

#include <asm-generic/bug.h>

#endif

/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/linkage.h>

/*
 * __wrap_FUNCTION for each line of ledger_table.h: where a plugin's call of FUNCTION comes to. One instruction
 * each, and then one of two ways that they share. Whatever is known of the call lies on the caller's stack,
 * so the function may sleep.
 *
 * struct ledger_frame of ledger.c, from %rsp upwards: the six argument registers, the table's index, the
 * result, %rax (of calls with variable arguments), a word of ledger.c's. Above it are the saved %rbp and the
 * return address: a frame like any other's, so back traces show who asked.
 */
#define FRAME_SIZE 80

	.text
	.set ledger_index, 0

.macro ledger_stub function way
SYM_FUNC_START(__wrap_\function)
	movl	$ledger_index, %r11d
	jmp	\way
SYM_FUNC_END(__wrap_\function)
	.pushsection .data, "aw"
	.weak	\function
	.quad	\function
	.popsection
	.set ledger_index, ledger_index + 1
.endm

.macro ledger_save
	pushq	%rbp
	movq	%rsp, %rbp
	subq	$FRAME_SIZE, %rsp
	movq	%rdi, (%rsp)
	movq	%rsi, 8(%rsp)
	movq	%rdx, 16(%rsp)
	movq	%rcx, 24(%rsp)
	movq	%r8, 32(%rsp)
	movq	%r9, 40(%rsp)
	movq	%r11, 48(%rsp)
	movq	%rax, 64(%rsp)
	movq	%rsp, %rdi
	movq	8(%rbp), %rsi
	call	libos_ledger_before
	movq	%rax, %r11
	movq	(%rsp), %rdi
	movq	8(%rsp), %rsi
	movq	16(%rsp), %rdx
	movq	24(%rsp), %rcx
	movq	32(%rsp), %r8
	movq	40(%rsp), %r9
	movq	64(%rsp), %rax
.endm

/* What gives back or arms is recorded before the call, which then is a jump: nothing is left of us. */
SYM_FUNC_START_LOCAL(libos_ledger_jump)
	ledger_save
	leave
	jmp	*%r11
SYM_FUNC_END(libos_ledger_jump)

/*
 * What takes is recorded when it has succeeded. Arguments on the stack are copied, the eight words that lie
 * there, whether they are arguments or not: no function of the table has more.
 */
SYM_FUNC_START_LOCAL(libos_ledger_call)
	ledger_save
	pushq	72(%rbp)
	pushq	64(%rbp)
	pushq	56(%rbp)
	pushq	48(%rbp)
	pushq	40(%rbp)
	pushq	32(%rbp)
	pushq	24(%rbp)
	pushq	16(%rbp)
	call	*%r11
	addq	$64, %rsp
	movq	%rax, 56(%rsp)
	movq	%rsp, %rdi
	movq	8(%rbp), %rsi
	call	libos_ledger_after
	movq	56(%rsp), %rax
	leave
	ret
SYM_FUNC_END(libos_ledger_call)

	.pushsection .data, "aw"
	.balign	8
SYM_DATA_START(libos_ledger_functions)
	.popsection

#define LEDGER_TAKE(function, class, key, more, count, done, how, undo) ledger_stub function libos_ledger_call;
#define LEDGER_GIVE(function, class, key, more) ledger_stub function libos_ledger_jump;
#define LEDGER_ARM(function, class, key) ledger_stub function libos_ledger_jump;
#include "ledger_table.h"

	.pushsection .data, "aw"
SYM_DATA_END(libos_ledger_functions)
	.popsection

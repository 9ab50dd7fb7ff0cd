/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/linkage.h>

/*
 * u64 arch_kunit_lost_registers(u64 seed, void (*fn)(void))
 *
 * Fills the registers that a function must keep (rbx, rbp, r12 to r15) with numbers made from seed,
 * calls fn, and returns 0 if they are all as before.
 */
	.text
SYM_FUNC_START(arch_kunit_lost_registers)
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	subq	$24, %rsp
	movq	%rdi, (%rsp)
	leaq	1(%rdi), %rbx
	leaq	2(%rdi), %rbp
	leaq	3(%rdi), %r12
	leaq	4(%rdi), %r13
	leaq	5(%rdi), %r14
	leaq	6(%rdi), %r15
	call	*%rsi

	/* Each number minus its offset is the seed again; rax collects the bits that are not. */
	movq	(%rsp), %rdi
	leaq	-1(%rbx), %rax
	xorq	%rdi, %rax
	leaq	-2(%rbp), %rdx
	xorq	%rdi, %rdx
	orq	%rdx, %rax
	leaq	-3(%r12), %rdx
	xorq	%rdi, %rdx
	orq	%rdx, %rax
	leaq	-4(%r13), %rdx
	xorq	%rdi, %rdx
	orq	%rdx, %rax
	leaq	-5(%r14), %rdx
	xorq	%rdi, %rdx
	orq	%rdx, %rax
	leaq	-6(%r15), %rdx
	xorq	%rdi, %rdx
	orq	%rdx, %rax
	addq	$24, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	ret
SYM_FUNC_END(arch_kunit_lost_registers)

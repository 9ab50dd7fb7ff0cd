/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/linkage.h>
#include <asm/asm-offsets.h>

/*
 * A switched-out task's stack, from thread.sp upwards: r15 r14 r13 r12 rbx rbp, return address.
 * stacktrace.c and copy_thread() know this layout. FPU control words are never changed by anyone.
 */
	.text

/* struct task_struct *libos_switch(struct task_struct *prev, struct task_struct *next) */
SYM_FUNC_START(libos_switch)
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, TASK_THREAD_SP(%rdi)
	movq	TASK_THREAD_SP(%rsi), %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	movq	%rdi, %rax
	ret
SYM_FUNC_END(libos_switch)

/* First code of a new task: libos_task_start(prev, fn, arg), which never returns. */
SYM_FUNC_START(libos_first_switch)
	movq	%rax, %rdi
	movq	%r12, %rsi
	movq	%r13, %rdx
	xorl	%ebp, %ebp
	pushq	$0
	jmp	libos_task_start
SYM_FUNC_END(libos_first_switch)

/* void libos_call_on(void *stack_top, void (*fn)(void)): start_kernel() on the boot stack. */
SYM_FUNC_START(libos_call_on)
	pushq	%rbp
	movq	%rsp, %rbp
	movq	%rdi, %rsp
	andq	$-16, %rsp
	call	*%rsi
	movq	%rbp, %rsp
	popq	%rbp
	ret
SYM_FUNC_END(libos_call_on)

/*
 * unsigned long libos_copy_from_user(void *to, const void *from, unsigned long n), and to_user:
 * libos_copy_user(), or the host's copy when the user memory is another process's.
 */
SYM_FUNC_START(libos_copy_from_user)
	movq	libos_current(%rip), %rax
	cmpq	$0, TASK_THREAD_USER(%rax)
	je	libos_copy_user
	jmp	libos_user_read
SYM_FUNC_END(libos_copy_from_user)

SYM_FUNC_START(libos_copy_to_user)
	movq	libos_current(%rip), %rax
	cmpq	$0, TASK_THREAD_USER(%rax)
	je	libos_copy_user
	jmp	libos_user_write
SYM_FUNC_END(libos_copy_to_user)

/*
 * unsigned long libos_copy_user(void *to, const void *from, unsigned long n)
 * The number of bytes not copied. Short copies by registers: `rep movsb` costs some 30 cycles to start.
 */
SYM_FUNC_START(libos_copy_user)
	movq	%rdx, %rcx
	cmpq	$16, %rcx
	ja	2f
	cmpq	$8, %rcx
	jb	4f
	je	6f
2:	rep movsb
3:	movq	%rcx, %rax
	ret
4:	cmpq	$4, %rcx
	jne	2b
5:	movl	(%rsi), %eax
7:	movl	%eax, (%rdi)
	xorl	%eax, %eax
	ret
6:	movq	(%rsi), %rax
8:	movq	%rax, (%rdi)
	xorl	%eax, %eax
	ret

	.pushsection __ex_table, "a"
	.balign	4
	.long	2b - ., 3b - .
	.long	5b - . , 3b - .
	.long	7b - . , 3b - .
	.long	6b - . , 3b - .
	.long	8b - . , 3b - .
	.popsection
SYM_FUNC_END(libos_copy_user)

/* unsigned long libos_clear_user(void *to, unsigned long n) */
SYM_FUNC_START(libos_clear_user)
	movq	libos_current(%rip), %rax
	cmpq	$0, TASK_THREAD_USER(%rax)
	jne	libos_user_clear
	movq	%rsi, %rcx
	xorl	%eax, %eax
1:	rep stosb
2:	movq	%rcx, %rax
	ret

	.pushsection __ex_table, "a"
	.balign	4
	.long	1b - ., 2b - .
	.popsection
SYM_FUNC_END(libos_clear_user)

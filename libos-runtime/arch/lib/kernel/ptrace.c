// SPDX-License-Identifier: GPL-2.0
/* ptrace(2) is not in our system call table: nothing here has a user mode to trace. */
#include <linux/bug.h>
#include <linux/ptrace.h>

long arch_ptrace(struct task_struct *child, long request, unsigned long addr, unsigned long data)
{
	return -EOPNOTSUPP;
}

void ptrace_disable(struct task_struct *child)
{
}

void user_disable_single_step(struct task_struct *child)
{
}

/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_STACKTRACE_H
#define _ASM_LIB_STACKTRACE_H

struct task_struct;

/* Whether [sp, sp + 16) lies on the task's fiber stack. */
bool libos_on_fiber(struct task_struct *task, unsigned long sp);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_CURRENT_H
#define _ASM_LIB_CURRENT_H

struct task_struct;

/* One CPU, hence one variable; part of the module ABI. Changed by switch_to() only. */
extern struct task_struct *libos_current;

#define current libos_current
#define get_current() current

#endif

/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_SWITCH_TO_H
#define _ASM_LIB_SWITCH_TO_H

#include <asm/current.h>

struct task_struct;

/* switch.S: saves the callee-saved registers on prev's fiber stack and goes on with next's. */
struct task_struct *libos_switch(struct task_struct *prev, struct task_struct *next);
void libos_switching(struct task_struct *prev, struct task_struct *next);
void libos_switched(void);

#define switch_to(prev, next, last)                  \
do {                                                 \
	libos_switching((prev), (next));             \
	libos_current = (next);                      \
	(last) = libos_switch((prev), (next));       \
	libos_switched();                            \
} while (0)

#endif

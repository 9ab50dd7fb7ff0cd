// SPDX-License-Identifier: GPL-2.0
/* Who is inside a module: for the host to find out who never leaves it. */
#include <linux/kallsyms.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/stacktrace.h>
#include <linux/string.h>
#include <../kernel/module/internal.h>
#include "plugin.h"

/* What a task that waits for a lock has between the scheduler and the module. */
static const char *const lock_functions[] = {
	"__mutex_lock", "mutex_lock", "__down", "down", "rwsem_down", "rt_mutex", "__rt_mutex",
};

static bool is_lock_function(unsigned long ip)
{
	char name[KSYM_SYMBOL_LEN];

	sprint_symbol_no_offset(name, ip);
	for (unsigned int i = 0; i < ARRAY_SIZE(lock_functions); i++) {
		if (str_has_prefix(name, lock_functions[i]))
			return true;
	}
	return false;
}

struct look {
	const struct module *mod;
	unsigned long ip; /* in the module; 0: not found yet */
	bool locked;
};

/* stack_trace_save_tsk() would leave out the functions of locks. */
static bool look_at_frame(void *cookie, unsigned long ip)
{
	struct look *look = cookie;

	if (ip > look->mod->arch.text && ip <= look->mod->arch.text_end)
		look->ip = ip;
	else
		look->locked |= is_lock_function(ip);
	return !look->ip;
}

static bool look_at(const struct module *mod, struct task_struct *task, struct libos_inside *inside)
{
	struct look look = { .mod = mod };

	arch_stack_walk(look_at_frame, &look, task, NULL);
	if (look.ip) {
		inside->pid = task_pid_nr(task);
		inside->runnable = task_is_running(task);
		inside->locked = look.locked && (READ_ONCE(task->__state) & TASK_UNINTERRUPTIBLE);
		inside->is_thread = !!(task->flags & PF_KTHREAD);
		inside->calls = task->thread.calls;
		inside->switches = task->nvcsw + task->nivcsw;
		inside->runtime_ns = task->se.sum_exec_runtime;
		inside->ip = look.ip - 1;
		inside->name = task->comm;
	}
	return look.ip;
}

void libos_module_inside(const char *name,
			 void (*visit)(void *cookie, const struct libos_inside *task),
			 void *cookie)
{
	struct task_struct *process, *task;
	struct module *mod;

	mutex_lock(&module_mutex);
	mod = find_module(name);
	mutex_unlock(&module_mutex);
	if (!mod)
		return;
	rcu_read_lock();
	for_each_process_thread(process, task) {
		struct libos_inside inside = { };

		if (task != current && look_at(mod, task, &inside))
			visit(cookie, &inside);
	}
	rcu_read_unlock();
}

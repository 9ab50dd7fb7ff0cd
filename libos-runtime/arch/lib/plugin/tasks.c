// SPDX-License-Identifier: GPL-2.0
/*
 * Visits all tasks but the caller's. With a thousand of them that takes a good part of a millisecond, for their
 * stacks are in no cache: so others run between the pieces, and only who ran after its visit is visited again,
 * at once.
 */
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched/signal.h>
#include "plugin.h"

#define VISITS_AT_A_TIME 64

u64 libos_visit_tasks(libos_task_visit visit, void *cookie)
{
	static u64 walks;
	unsigned int visited = 0;
	u64 walk = ++walks;
	struct task_struct *task;
	struct pid *pid;
	int nr = 0;

	do {
		rcu_read_lock();
		pid = find_ge_pid(nr + 1, &init_pid_ns);
		nr = pid ? pid_nr(pid) : 0;
		task = pid_task(pid, PIDTYPE_PID);
		if (task && task != current && visit(cookie, task))
			task->thread.visited = walk;
		rcu_read_unlock();
		if (++visited % VISITS_AT_A_TIME == 0)
			libos_yield();
	} while (pid);
	return walk;
}

void libos_visit_rest(u64 walk, libos_task_visit visit, void *cookie)
{
	struct task_struct *process, *task;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if (task != current && (!walk || task->thread.visited != walk))
			visit(cookie, task);
	}
	rcu_read_unlock();
}

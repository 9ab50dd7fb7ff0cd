// SPDX-License-Identifier: GPL-2.0
/*
 * Renews a module in place: the same module, with its data, its objects and everything that is
 * registered, goes on with the code of another build. The host decides whether the two builds agree,
 * binds the new code to the old data and redirects the old functions. Here is what the kernel must
 * know: that nobody stands in the old code, where the new code is, and whose symbols it uses.
 */
#include <linux/bug.h>
#include <linux/kallsyms.h>
#include <linux/module.h>
#include <linux/moduleloader.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/stacktrace.h>
#include <linux/string.h>
#include <../kernel/module/internal.h>
#include "ledger.h"
#include "plugin.h"

/* kernel/module/main.c, see module_main.h. */
void libos_mod_update_bounds(struct module *mod);

struct inside {
	const struct module *mod;
	unsigned long ip; /* the first found; 0: none */
	bool interrupt;
	unsigned int tasks;
	char *who;
	size_t who_len;
};

static bool is_outside(void *cookie, unsigned long ip)
{
	struct inside *inside = cookie;

	if (ip < inside->mod->arch.text || ip >= inside->mod->arch.text_end)
		return true;
	inside->ip = ip;
	return false;
}

/* Whether the task has no return address in the module's code. On one CPU it does not run now. */
static bool look_at(void *cookie, struct task_struct *task)
{
	struct inside *inside = cookie;

	inside->ip = 0;
	arch_stack_walk(is_outside, inside, task, NULL);
	if (!inside->ip)
		return true;
	if (!inside->tasks++)
		scnprintf(inside->who, inside->who_len, "%ps, by task %d (%s)", (void *)inside->ip,
			  task_pid_nr(task), task->comm);
	/* A kernel thread never passes the exit of a system call, where the signal is taken. */
	if (inside->interrupt && !(task->flags & PF_KTHREAD))
		set_notify_signal(task);
	return false;
}

/*
 * How many tasks are inside the module's code, besides the caller and those that libos_visit_inside() has found
 * outside and that did not run since. The first one is described in `who`; with `interrupt` their waits end.
 */
unsigned int libos_count_inside(const struct module *mod, u64 walk, bool interrupt, char *who, size_t len)
{
	struct inside inside = { .mod = mod, .interrupt = interrupt, .who = who, .who_len = len };

	libos_visit_rest(walk, look_at, &inside);
	return inside.tasks;
}

/* What libos_count_inside() would take long for is done while others run. */
u64 libos_visit_inside(const struct module *mod)
{
	struct inside inside = { .mod = mod };

	return libos_visit_tasks(look_at, &inside);
}

/* Whether anybody is inside a module that nothing leads into any more: who is not cannot come in. */
bool libos_anybody_inside(const struct module *mod, char *who, size_t len)
{
	struct inside inside = { .mod = mod, .who = who, .who_len = len };

	libos_visit_tasks(look_at, &inside);
	return inside.tasks;
}

static void *section(const struct load_info *info, const char *name, size_t entry, unsigned int *n)
{
	unsigned int i = libos_find_section(info, name);

	*n = i ? info->sechdrs[i].sh_size / entry : 0;
	return i ? (void *)info->sechdrs[i].sh_addr : NULL;
}

/* What the module keeps of its code, besides its symbols. Does not sleep. */
static void take_over(struct module *mod, const struct module *from, const struct load_info *info)
{
	mutex_lock(&module_mutex);
	mod_tree_remove(mod);
	mod->mem[MOD_TEXT].base = from->mem[MOD_TEXT].base;
	mod->mem[MOD_TEXT].size = from->mem[MOD_TEXT].size;
	mod->mem[MOD_RODATA].base = from->mem[MOD_RODATA].base;
	mod->mem[MOD_RODATA].size = from->mem[MOD_RODATA].size;
	mod->arch.text = from->arch.text;
	mod->arch.text_end = from->arch.text_end;
	mod->arch.generation = from->arch.generation;
	libos_mod_update_bounds(mod);
	mod_tree_insert(mod);

	mod->exit = from->exit;
	mod->extable = section(info, "__ex_table", sizeof(*mod->extable), &mod->num_exentries);
	module_bug_cleanup(mod);
	module_bug_finalize(info->hdr, info->sechdrs, mod);
	mutex_unlock(&module_mutex);
	init_build_id(mod, info);
}

/*
 * Runs switch_code() when nobody is inside the old code, and does not sleep from the look at the stacks
 * on until the module is the new one. -EAGAIN and `who` while somebody is.
 */
static int renew(struct module *mod, const struct libos_plugin *plugin, struct load_info *info,
		 const struct libos_renewal *renewal)
{
	struct mod_kallsyms symbols = mod->core_kallsyms, old_symbols;
	u64 walk;
	int err;

	err = libos_symbols_read(&symbols, info, plugin->load_bias);
	if (err)
		return err;
	walk = libos_visit_inside(mod);
	if (libos_count_inside(mod, walk, renewal->interrupt, renewal->who, renewal->who_len)) {
		libos_symbols_drop(&symbols);
		return -EAGAIN;
	}
	err = renewal->switch_code(renewal->cookie);
	if (err) {
		libos_symbols_drop(&symbols);
		return err;
	}
	/* Before anything can come in between: what is known by its address may have another. */
	libos_ledger_rehash(mod);
	libos_objects_moved(mod);
	old_symbols = mod->core_kallsyms;
	mod->core_kallsyms = symbols;
	take_over(mod, info->mod, info);
	libos_ledger_renew(mod, plugin->load_bias, plugin->build);
	synchronize_rcu();
	libos_symbols_drop(&old_symbols);
	return 0;
}

int libos_module_renew(const struct libos_plugin *plugin, const struct libos_renewal *renewal)
{
	struct load_info info = { };
	struct module *mod;
	int err;

	err = libos_read_headers(plugin, &info);
	if (err)
		goto out;
	mutex_lock(&module_mutex);
	mod = find_module(info.name);
	mutex_unlock(&module_mutex);
	err = -ENOENT;
	if (!mod || mod->state != MODULE_STATE_LIVE || !mod->arch.plugin)
		goto out;
	err = libos_check_modinfo(info.mod, &info, 0);
	if (err)
		goto out;
	/* Whatever else the new code imports, the module uses from now on. */
	err = libos_check_imports(mod, &info);
	if (err)
		goto out;
	libos_set_ranges(info.mod, &info);
	info.mod->arch.generation = plugin->generation;
	err = renew(mod, plugin, &info, renewal);
out:
	kfree(info.sechdrs);
	return err;
}

struct stacks {
	void (*visit)(void *cookie, void *low, void *high);
	void *cookie;
};

static bool visit_stack(void *cookie, struct task_struct *task)
{
	const struct stacks *stacks = cookie;

	if (task->thread.fiber)
		stacks->visit(stacks->cookie, (void *)task->thread.sp, task->thread.fiber + FIBER_STACK_SIZE);
	return true;
}

/* The call stacks of all tasks but the caller's, from the last word used to the top. */
void libos_stacks(void (*visit)(void *cookie, void *low, void *high), void *cookie, uint32_t in_pieces)
{
	struct stacks stacks = { .visit = visit, .cookie = cookie };

	libos_visit_rest(in_pieces ? libos_visit_tasks(visit_stack, &stacks) : 0, visit_stack, &stacks);
}

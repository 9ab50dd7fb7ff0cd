// SPDX-License-Identifier: GPL-2.0
/*
 * Swaps a loaded module for another build of it. Both are in the kernel at once: the old one steps
 * aside under another name, serving on; the new one's init runs; only then objects move and the old
 * one's exit runs. Whatever fails before that leaves the old one as it was.
 */
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/syscalls.h>
#include <../kernel/module/internal.h>
#include "plugin.h"

/* What step_aside() took from a module. */
struct aside {
	char retired[MODULE_NAME_LEN];
	unsigned int num_syms, num_gpl_syms;
};

/* One swap at a time; `task` is the one that runs it. */
static struct {
	struct task_struct *task;
	struct module *from; /* set while it goes by its retired name */
	struct aside aside;
	char name[MODULE_NAME_LEN];
} swap;
static DEFINE_MUTEX(swap_lock);

/* Renames a module in the module list and in sysfs. The name must not be taken. */
int libos_module_rename(struct module *mod, const char *name)
{
	if (mod->mkobj.kobj.state_in_sysfs) {
		int err = kobject_rename(&mod->mkobj.kobj, name);

		if (err)
			return err;
	}
	mutex_lock(&module_mutex);
	strscpy(mod->name, name, sizeof(mod->name));
	mutex_unlock(&module_mutex);
	return 0;
}

/* "mycc@3", cut where a module name ends. */
void libos_retired_name(char *to, const char *name, unsigned int generation)
{
	char suffix[16];
	int n = snprintf(suffix, sizeof(suffix), "@%u", generation);

	scnprintf(to, MODULE_NAME_LEN, "%.*s%s", (int)MODULE_NAME_LEN - 1 - n, name, suffix);
}

static bool has_dependents(struct module *mod)
{
	bool has;

	mutex_lock(&module_mutex);
	has = !list_empty(&mod->source_list);
	mutex_unlock(&module_mutex);
	return has;
}

/*
 * The old module steps aside: another name, and no exported symbols, which would collide with the new
 * one's. Nobody depends on it, so nobody can miss them.
 */
static int step_aside(struct module *mod, struct aside *aside)
{
	int err;

	libos_retired_name(aside->retired, mod->name, mod->arch.generation);
	err = libos_module_rename(mod, aside->retired);
	if (err)
		return err;
	mutex_lock(&module_mutex);
	aside->num_syms = mod->num_syms;
	aside->num_gpl_syms = mod->num_gpl_syms;
	mod->num_syms = 0;
	mod->num_gpl_syms = 0;
	mutex_unlock(&module_mutex);
	swap.from = mod;
	return 0;
}

static void step_back(struct module *mod, const struct aside *aside)
{
	swap.from = NULL;
	mutex_lock(&module_mutex);
	mod->num_syms = aside->num_syms;
	mod->num_gpl_syms = aside->num_gpl_syms;
	mutex_unlock(&module_mutex);
	libos_module_rename(mod, swap.name);
}

static int replace_cc(const struct libos_plugin *plugin, struct module *from,
		      const struct libos_keep *keep, bool drain, struct libos_swap_report *report)
{
	struct module *to;
	u64 start;
	int err;

	err = step_aside(from, &swap.aside);
	if (err)
		return err;
	libos_cc_begin(from);
	start = libos_boot->host_ns();
	err = libos_plugin_load(plugin, &to);
	report->init_ns = libos_boot->host_ns() - start;
	if (!err) {
		err = libos_cc_commit(to, keep, drain, report);
		if (err)
			sys_delete_module((const char __user *)swap.name, O_NONBLOCK);
	}
	if (err) {
		libos_cc_abort();
		step_back(from, &swap.aside);
		return err;
	}
	swap.from = NULL;

	report->serves(report->cookie);
	libos_yield(); /* the old code's exit is a pause of its own */
	start = libos_boot->host_ns();
	err = sys_delete_module((const char __user *)swap.aside.retired, O_NONBLOCK);
	report->retire_ns = libos_boot->host_ns() - start;
	if (err) {
		/* The new code serves; the old stays mapped, by its own name, until its users go. */
		if (!drain)
			pr_warn("%s: cannot be unloaded yet: %d\n", swap.aside.retired, err);
		report->zombie = 1;
	}
	return 0;
}

int libos_module_swap(const struct libos_plugin *plugin, const struct libos_keep *keep,
		      uint32_t drain, struct libos_swap_report *report)
{
	const char *name = libos_plugin_name(plugin);
	struct module *from;
	int err;

	if (!name)
		return -ENOEXEC;
	mutex_lock(&swap_lock);
	mutex_lock(&module_mutex);
	from = find_module(name);
	mutex_unlock(&module_mutex);
	if (!from || from->state != MODULE_STATE_LIVE) {
		err = -ENOENT;
		goto out;
	}
	if (has_dependents(from)) {
		pr_err("%s: other modules depend on it\n", name);
		err = -EBUSY;
		goto out;
	}

	/* Other kinds have no adapter: the host may unload and load them while they are idle. */
	if (!libos_cc_owned(from)) {
		err = -EOPNOTSUPP;
		goto out;
	}

	strscpy(swap.name, name, MODULE_NAME_LEN);
	swap.task = current;
	err = replace_cc(plugin, from, keep, drain, report);
	swap.task = NULL;
out:
	mutex_unlock(&swap_lock);
	return err;
}

/*
 * The module must keep neither its name nor its exports: it is left in the list as a zombie, since nobody
 * knows what it has set up.
 */
static void make_zombie(struct module *mod)
{
	static unsigned int zombies;
	char zombie[MODULE_NAME_LEN];

	scnprintf(zombie, sizeof(zombie), "%.*s@oops%u", (int)MODULE_NAME_LEN - 16, mod->name,
		  ++zombies);
	libos_module_rename(mod, zombie);
	mutex_lock(&module_mutex);
	mod->num_syms = 0;
	mod->num_gpl_syms = 0;
	mutex_unlock(&module_mutex);
}

/* A task died of an oops inside the module's exit. */
void libos_module_died(const char *name)
{
	struct module *mod;

	mutex_lock(&module_mutex);
	mod = find_module_all(name, strlen(name), true);
	mutex_unlock(&module_mutex);
	if (mod && mod->state == MODULE_STATE_GOING)
		make_zombie(mod);
}

/*
 * The running task dies of an oops inside a module's init, or in the code that sets its parameters. A
 * swap is undone.
 */
void libos_init_died(struct module *mod)
{
	make_zombie(mod);
	if (current != swap.task)
		return;
	libos_cc_abort();
	step_back(swap.from, &swap.aside);
	swap.task = NULL;
	mutex_unlock(&swap_lock);
}

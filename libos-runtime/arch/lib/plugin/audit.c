// SPDX-License-Identifier: GPL-2.0
/*
 * The audit of a module that goes: its exit has returned, or its init has failed, and its memory is to be
 * unmapped. What it has not given back is told, and taken back in an order in which nothing runs into what
 * is gone already. What cannot be taken back and can still call into the module's code keeps that code
 * mapped, and the module in the kernel's list as NAME@GENERATION, a zombie.
 */
#include <linux/bug.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <../kernel/module/internal.h>
#include "ledger.h"
#include "plugin.h"

#define PHASES 7
#define PHASE_PENDING 0
#define PHASE_MEMORY 5

/* -- taking back ------------------------------------------------------------------------------------- */

static int call_undo(const struct ledger_record *record)
{
	const struct ledger_call *call = record->place->call;
	void *function = libos_ledger_function(call->undo);
	unsigned long key = ledger_key(record), more = ledger_more(record);

	if (!function)
		return -ENOENT;
	switch (call->how) {
	case HOW_K:
		((void (*)(unsigned long))function)(key);
		return 0;
	case HOW_MK:
		((void (*)(unsigned long, unsigned long))function)(more, key);
		return 0;
	case HOW_KM:
		((void (*)(unsigned long, unsigned long))function)(key, more);
		return 0;
	case HOW_KC:
		((void (*)(unsigned long, unsigned long))function)(key, record->count);
		return 0;
	case HOW_MC:
		((void (*)(unsigned long, unsigned long))function)(more, record->count);
		return 0;
	case HOW_MKC:
		((void (*)(unsigned long, unsigned long, unsigned long))function)(more, key,
										   record->count);
		return 0;
	}
	return -EOPNOTSUPP;
}

static void leave(struct ledger_record *record, const char *why)
{
	record->left = true;
	if (!record->place->sum.why[0])
		strscpy(record->place->sum.why, why);
}

static struct ledger_record *last_of(struct ledger *ledger, unsigned int phase)
{
	struct ledger_record *record;

	list_for_each_entry_reverse(record, &ledger->records, node) {
		if (record->leaked && !record->left &&
		    libos_ledger_kinds[record->class].phase == phase)
			return record;
	}
	return NULL;
}

static bool is_block(const struct ledger_record *record)
{
	return record->class == LEDGER_MEMORY || record->class == LEDGER_OBJECT ||
	       record->class == LEDGER_PERCPU || record->class == LEDGER_PACKET_BUFFER;
}

/* The kernel would call its destruction a bug. */
static bool has_objects(const struct ledger_record *cache)
{
	const struct ledger_record *record;

	list_for_each_entry(record, &cache->place->ledger->records, node) {
		if (record->class == LEDGER_OBJECT && libos_ledger_is_of(record, cache))
			return true;
	}
	return false;
}

/*
 * Takes back one thing. Its record goes first, for whatever the module's code gives back meanwhile must not be
 * taken back again.
 */
static void take_back(struct ledger_record *record)
{
	const struct ledger_kind *kind = &libos_ledger_kinds[record->class];
	struct ledger_record copy;
	int err;

	if (!libos_ledger_there(record)) {
		libos_ledger_drop(record);
		return;
	}
	if (!kind->undo && record->place->call->how == HOW_OWN) {
		leave(record, "nothing takes it back");
		return;
	}
	if (record->class == LEDGER_CACHE && has_objects(record)) {
		leave(record, "objects of it are left");
		return;
	}
	if (record->class == LEDGER_RCU) { /* its callback ends it */
		rcu_barrier();
		return;
	}
	copy = *record;
	record->leaked = false;
	libos_ledger_drop(record);
	err = kind->undo ? kind->undo(&copy) : call_undo(&copy);
	if (!err) {
		copy.place->sum.taken++;
		return;
	}
	record = libos_ledger_put_back(&copy);
	if (record)
		leave(record, err == -ENOENT ? "the module that could take it back is gone" :
					       "it is in use");
}

static void free_block(struct ledger_record *record)
{
	void *memory = (void *)ledger_key(record);
	struct ledger_place *place = record->place;
	u8 class = record->class;

	record->leaked = false;
	libos_ledger_drop(record);
	place->sum.taken++;
	switch (class) {
	case LEDGER_PACKET_BUFFER:
		kfree_skb(memory);
		break;
	case LEDGER_PERCPU:
		free_percpu((void __percpu __force *)memory);
		break;
	default:
		kvfree(memory);
	}
}

/*
 * Memory is freed if nothing points to it, apart from the module and from memory that nothing points to. Else
 * it was handed to somebody, or a number looks like its address.
 */
static void free_blocks(struct ledger *ledger)
{
	struct ledger_record *record;
	struct libos_block *blocks;
	unsigned int n = 0, i = 0;

	list_for_each_entry(record, &ledger->records, node)
		n += record->leaked && is_block(record);
	if (!n)
		return;
	blocks = kvcalloc(n, sizeof(*blocks), GFP_KERNEL);
	if (!blocks)
		return;
	list_for_each_entry(record, &ledger->records, node) {
		if (!record->leaked || !is_block(record) || i == n)
			continue;
		blocks[i].not_at = record->not_key;
		blocks[i++].size = record->count ?: ksize((void *)ledger_key(record));
	}
	libos_host->look_for_pointers(ledger->mod->arch.plugin, blocks, n);
	n = i;
	i = 0;
	list_for_each_entry(record, &ledger->records, node) {
		if (!record->leaked || !is_block(record))
			continue;
		while (i < n && blocks[i].not_at != record->not_key)
			i++;
		if (i == n)
			break;
		if (blocks[i].pointers) {
			leave(record, "something points to it");
			record->calls = blocks[i].calls;
		}
	}
	/* Freeing one can end the records of others. */
	for (i = 0; i < n; i++) {
		record = blocks[i].pointers ? NULL : libos_ledger_find(~blocks[i].not_at, is_block);
		if (record)
			free_block(record);
	}
	kvfree(blocks);
}

static void take_back_phase(struct ledger *ledger, unsigned int phase)
{
	struct ledger_record *record;

	while ((record = last_of(ledger, phase)))
		take_back(record);
}

static void take_back_all(struct ledger *ledger)
{
	for (unsigned int phase = 0; phase < PHASES; phase++) {
		if (phase == PHASE_MEMORY) {
			/* Of what has been taken back, some goes a grace period later. */
			rcu_barrier();
			free_blocks(ledger);
		}
		take_back_phase(ledger, phase);
	}
}

/* -- telling -------------------------------------------------------------------------------------------- */

/* "mycc_start+0x18/0x40 (mycc.c:88)". The kernel knows the symbols of the code that runs. */
static void place_text(const struct ledger_place *place, char *text, size_t len)
{
	const struct ledger_code *code =
		list_first_entry(&place->ledger->codes, struct ledger_code, node);
	char symbol[KSYM_NAME_LEN], line[160] = "";
	unsigned long size, offset;
	const char *name = NULL;
	char *mod;

	libos_host->source_line(place->build, place->at, line, sizeof(line));
	if (code->build == place->build)
		name = kallsyms_lookup(place->at + ~code->not_bias, &size, &offset, &mod, symbol);
	if (name)
		scnprintf(text, len, "%s+%#lx/%#lx%s%s%s", name, offset + 1, size, line[0] ? " (" : "", line,
			  line[0] ? ")" : "");
	else
		strscpy(text, line[0] ? line : "?", len);
}

static void describe(const struct ledger_place *place, char *text, size_t len)
{
	const struct ledger_kind *kind = &libos_ledger_kinds[place->call->class];
	const char *noun = place->sum.n == 1 ? kind->one : kind->many;
	char where[256];
	size_t n;

	place_text(place, where, sizeof(where));
	if (kind->flags & LEDGER_BLOCK)
		n = scnprintf(text, len, "%llu bytes in %u %s", place->sum.bytes, place->sum.n, noun);
	else
		n = scnprintf(text, len, "%u %s", place->sum.n, noun);
	if (place->call->class == LEDGER_REGISTRATION)
		n += scnprintf(text + n, len - n, " by %s", place->call->name);
	if (place->sum.what[0])
		n += scnprintf(text + n, len - n, place->sum.others ? " (%s, ...)" : " (%s)",
			       place->sum.what);
	scnprintf(text + n, len - n, ", %s at %s", kind->verb, where);
}

static void report(struct ledger *ledger)
{
	struct ledger_place *place;
	char text[512];

	list_for_each_entry(place, &ledger->places, node) {
		const struct ledger_kind *kind = &libos_ledger_kinds[place->call->class];
		u32 gone = place->sum.taken + place->sum.vanished;

		if (!place->sum.n)
			continue;
		describe(place, text, sizeof(text));
		if (gone >= place->sum.n)
			pr_warn("%s: %s: %s\n", ledger->mod->name, text, kind->undone);
		else if (!gone)
			pr_warn("%s: %s: left, %s\n", ledger->mod->name, text, place->sum.why);
		else
			pr_warn("%s: %s: %u %s, %u left, %s\n", ledger->mod->name, text, gone, kind->undone,
				place->sum.n - gone, place->sum.why);
	}
	if (ledger->incomplete)
		pr_warn("%s: there may be more, memory was short when it was recorded\n",
			ledger->mod->name);
}

/* -- zombies ---------------------------------------------------------------------------------------------- */

static bool calls_the_module(const struct ledger_record *record)
{
	if (is_block(record))
		return record->calls;
	return !(libos_ledger_kinds[record->class].flags & LEDGER_NO_CODE);
}

/* What is left that can call into the module; false: nothing. */
static bool holds(struct ledger *ledger, char *why, size_t len)
{
	struct ledger_record *record;

	list_for_each_entry(record, &ledger->records, node) {
		const struct ledger_kind *kind = &libos_ledger_kinds[record->class];
		const struct ledger_place *place = record->place;
		char where[256];

		if (!record->left || !calls_the_module(record))
			continue;
		place_text(place, where, sizeof(where));
		scnprintf(why, len, "%s%s%s%s, %s at %s, %s", kind->one, place->sum.what[0] ? " (" : "",
			  place->sum.what, place->sum.what[0] ? ")" : "", kind->verb, where, place->sum.why);
		return true;
	}
	return false;
}

static bool somebody_is_inside(struct module *mod, char *why, size_t len)
{
	unsigned long patience = jiffies + HZ / 2;
	char who[128];

	while (libos_anybody_inside(mod, who, sizeof(who))) {
		if (time_after(jiffies, patience)) {
			scnprintf(why, len, "somebody is in it: %s", who);
			return true;
		}
		schedule_timeout_uninterruptible(1);
	}
	return false;
}

/*
 * Another struct module takes over what the code that stays needs: its place in the list, its symbols, its
 * tables, the modules that it uses. The module itself, which goes, has no memory any more.
 */
static void make_zombie(struct ledger *ledger, const char *why)
{
	struct module *zombie = kzalloc(sizeof(*zombie), GFP_KERNEL), *mod = ledger->mod;
	struct module_use *use;

	if (!zombie) { /* then there is no name for it */
		libos_host->plugin_kept(mod->arch.plugin, mod->name, why);
		mod->arch.plugin = NULL;
		return;
	}
	libos_retired_name(zombie->name, mod->name, mod->arch.generation);
	zombie->state = MODULE_STATE_GOING;
	zombie->arch = mod->arch;
	zombie->taints = mod->taints;
	INIT_LIST_HEAD(&zombie->source_list);
	INIT_LIST_HEAD(&zombie->target_list);
	atomic_set(&zombie->refcnt, 1);
	zombie->extable = mod->extable;
	zombie->num_exentries = mod->num_exentries;

	mutex_lock(&module_mutex);
	mod_tree_remove(mod);
	for_each_mod_mem_type(type) {
		zombie->mem[type].base = mod->mem[type].base;
		zombie->mem[type].size = mod->mem[type].size;
		mod->mem[type].base = NULL;
		mod->mem[type].size = 0;
	}
	mod_tree_insert(zombie);
	zombie->core_kallsyms = mod->core_kallsyms;
	rcu_assign_pointer(zombie->kallsyms, &zombie->core_kallsyms);
	rcu_assign_pointer(mod->kallsyms, NULL);
	memset(&mod->core_kallsyms, 0, sizeof(mod->core_kallsyms));
	list_splice_init(&mod->target_list, &zombie->target_list);
	list_for_each_entry(use, &zombie->target_list, target_list)
		use->source = zombie;
#ifdef CONFIG_GENERIC_BUG
	zombie->bug_table = mod->bug_table;
	zombie->num_bugs = mod->num_bugs;
	if (mod->num_bugs) {
		list_add_rcu(&zombie->bug_list, &mod->bug_list);
		mod->num_bugs = 0;
	}
#endif
	list_add_rcu(&zombie->list, &mod->list);
	mutex_unlock(&module_mutex);

	pr_warn("%s: its code stays mapped, as %s: %s\n", mod->name, zombie->name, why);
	libos_host->plugin_kept(mod->arch.plugin, zombie->name, why);
	mod->arch.plugin = NULL;
	mod->extable = NULL;
	mod->num_exentries = 0;
	ledger->mod = zombie;
}

void libos_module_going(struct module *mod)
{
	struct ledger *ledger = libos_ledger_of(mod);
	char why[512];

	if (!ledger)
		return;
	libos_ledger_begin_audit(ledger);
	if (ledger->n) {
		take_back_phase(ledger, PHASE_PENDING);
		rcu_barrier();
		/* Again, for what the module's code takes while it is asked to give back. */
		for (int round = 0; round < 3; round++) {
			if (!libos_ledger_add_to_audit(ledger) && round)
				break;
			take_back_all(ledger);
		}
	}
	report(ledger);
	if (holds(ledger, why, sizeof(why)) || somebody_is_inside(mod, why, sizeof(why))) {
		make_zombie(ledger, why);
		if (ledger->mod != mod)
			return;
	}
	libos_ledger_close(ledger);
}

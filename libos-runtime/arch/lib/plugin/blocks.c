// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that a module has asked for, block by block: for a swap to a build in which the structures in it look
 * different. Each has some room where it is, for the allocator rounds sizes up, and slab caches of modules are
 * made with room (ledger.c). What it does not suffice for moves to a block of its own.
 */
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <../mm/slab.h>
#include "ledger.h"
#include "plugin.h"

static void describe_object(const struct ledger_record *record, struct libos_held *held)
{
	const struct ledger_record *cache = libos_ledger_cache_of(record);
	const struct kmem_cache *slab_cache = cache ? (void *)ledger_key(cache) : NULL;

	held->room = 0;
	if (!cache)
		held->why = "their slab cache is not the module's own";
	else if (slab_cache->ctor)
		held->why = "their slab cache has a constructor";
	else if (slab_cache->flags & SLAB_TYPESAFE_BY_RCU)
		held->why = "they are looked at after their end (SLAB_TYPESAFE_BY_RCU)";
	else
		held->room = kmem_cache_size((struct kmem_cache *)slab_cache);
}

static void describe(const struct ledger_record *record, struct libos_held *held)
{
	held->at = (void *)ledger_key(record);
	held->size = record->count;
	held->kind = libos_ledger_kinds[record->class].one;
	held->why = "";
	held->build = record->place->build;
	held->place = record->place->at;
	switch (record->class) {
	case LEDGER_MEMORY:
		held->room = ksize(held->at);
		held->movable = 1;
		break;
	case LEDGER_OBJECT:
		describe_object(record, held);
		break;
	default:
		held->why = "they are one for each CPU";
	}
}

static bool is_memory(u8 class)
{
	return class == LEDGER_MEMORY || class == LEDGER_OBJECT || class == LEDGER_PERCPU;
}

int libos_module_memory(const char *name, libos_held_visit visit, void *cookie)
{
	const struct ledger *ledger = libos_ledger_named(name);
	const struct ledger_record *record;

	if (!ledger)
		return -ENOENT;
	list_for_each_entry(record, &ledger->records, node) {
		struct libos_held held = { };

		if (!is_memory(record->class))
			continue;
		describe(record, &held);
		visit(cookie, &held);
	}
	return ledger->incomplete ? 1 : 0;
}

void *libos_block_alloc(size_t size)
{
	return kmalloc(size, GFP_ATOMIC | __GFP_NOWARN);
}

void libos_block_free(void *block)
{
	kvfree(block);
}

static bool is_block(const struct ledger_record *record)
{
	return is_memory(record->class);
}

void libos_block_is(void *was, void *now, size_t size)
{
	struct ledger_record *record, *cache;

	libos_debug_objects_moved(was, ksize(was));
	record = libos_ledger_find_moved((unsigned long)was, (unsigned long)now, is_block);
	if (!record)
		return;
	record->count = size;
	cache = record->class == LEDGER_OBJECT ? libos_ledger_cache_of(record) : NULL;
	if (cache)
		cache->count = size;
}

int libos_check_of(const void *word)
{
	const struct slab *slab = virt_addr_valid(word) ? virt_to_slab(word) : NULL;
	const void *object;

	if (!slab)
		return LIBOS_CHECK_NONE;
	/* Red zones, who asked for it, and what was the next free one. */
	object = nearest_obj(slab->slab_cache, slab, (void *)word);
	if (word < object || word >= object + slab->slab_cache->object_size)
		return LIBOS_CHECK_SLAB;
	return libos_is_debug_object(word) ? LIBOS_CHECK_OBJECT : LIBOS_CHECK_NONE;
}

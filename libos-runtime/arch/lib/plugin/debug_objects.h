/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Put in front of lib/debugobjects.c by -include (see ../Makefile): CONFIG_DEBUG_OBJECTS, which knows timers and work by
 * their addresses, in a kernel whose tasks run on fibers, and whose modules' objects are rearranged by a swap.
 */
#ifndef _LIBOS_DEBUG_OBJECTS_H
#define _LIBOS_DEBUG_OBJECTS_H

#include <linux/debugobjects.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <asm/thread_info.h>
#include <../mm/slab.h>

/* What runs on a task runs on its fiber, not on what the kernel calls its stack. */
static inline bool libos_is_on_fiber(const void *object)
{
	const void *fiber = current->thread.fiber;

	return object >= fiber && object < fiber + FIBER_STACK_SIZE;
}

#define object_is_on_stack libos_is_on_fiber
#define task_stack_page(task) ((task)->thread.fiber)

/* It begins with the list. */
struct debug_bucket;
static struct debug_bucket *get_bucket(unsigned long addr);
static struct kmem_cache *obj_cache;

void libos_debug_objects_moved(const void *at, size_t size);
bool libos_is_debug_object(const void *at);

/*
 * Of what was in this memory some has another address now, and its record says so: whatever points to what moves was
 * corrected. Only the bucket is that of the old page. Nothing may look for it before.
 */
void libos_debug_objects_moved(const void *at, size_t size)
{
	unsigned long page = (unsigned long)at & PAGE_MASK, end = (unsigned long)at + size;
	struct debug_obj *obj;
	struct hlist_node *next;

	for (; page < end; page += PAGE_SIZE) {
		struct hlist_head *bucket = (struct hlist_head *)get_bucket(page);

		hlist_for_each_entry_safe(obj, next, bucket, node) {
			struct hlist_head *now = (struct hlist_head *)get_bucket((unsigned long)obj->object);

			if (now == bucket)
				continue;
			hlist_del(&obj->node);
			hlist_add_head(&obj->node, now);
		}
	}
}

bool libos_is_debug_object(const void *at)
{
	const struct slab *slab = virt_addr_valid(at) ? virt_to_slab(at) : NULL;

	return slab && slab->slab_cache == obj_cache;
}

#undef pr_fmt /* which the file itself defines, before it includes anything */

#endif

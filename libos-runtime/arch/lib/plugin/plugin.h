/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of this directory share. */
#ifndef _LIBOS_PLUGIN_H
#define _LIBOS_PLUGIN_H

#include <linux/module.h>
#include <abi/libos.h>
#include "../kernel/libos.h"

struct load_info;
struct mod_kallsyms;
struct sock;

/* loader.c */
int libos_plugin_load(const struct libos_plugin *plugin, struct module **mod);
const char *libos_plugin_name(const struct libos_plugin *plugin);
unsigned int libos_find_section(const struct load_info *info, const char *name);
int libos_read_headers(const struct libos_plugin *plugin, struct load_info *info);
void libos_set_ranges(struct module *mod, const struct load_info *info);
int libos_check_imports(struct module *mod, const struct load_info *info);

/* kernel/module/main.c, by module_main.h */
int libos_check_modinfo(struct module *mod, struct load_info *info, int flags);

/* symbols.c */
int libos_symbols_add(struct module *mod, const struct load_info *info, unsigned long bias);
void libos_symbols_free(struct module *mod);
int libos_symbols_read(struct mod_kallsyms *to, const struct load_info *info, unsigned long bias);
void libos_symbols_drop(struct mod_kallsyms *symbols);

/* sockets.c: calls `visit` for every socket of every namespace; it must not sleep. */
void libos_for_each_socket(void (*visit)(struct sock *sk, void *arg), void *arg);

/*
 * tasks.c: visits all tasks but the caller's, and yields meanwhile. A visit gives whether that task needs no other
 * one as long as it does not run. Gives what libos_visit_rest() needs to visit all others, without sleeping; for
 * that, 0 are all.
 */
typedef bool (*libos_task_visit)(void *cookie, struct task_struct *task);
u64 libos_visit_tasks(libos_task_visit visit, void *cookie);
void libos_visit_rest(u64 walk, libos_task_visit visit, void *cookie);

/* renew.c */
u64 libos_visit_inside(const struct module *mod);
unsigned int libos_count_inside(const struct module *mod, u64 walk, bool interrupt, char *who, size_t len);
bool libos_anybody_inside(const struct module *mod, char *who, size_t len);

/* reset_qdiscs.c */
int libos_check_qdiscs(const struct module *mod, struct libos_reset *reset);
int libos_reset_qdiscs(const struct module *mod, struct libos_reset *reset);
void libos_remake_qdiscs(const char *module);

/* lib/debugobjects.c, by debug_objects.h */
#ifdef CONFIG_DEBUG_OBJECTS
void libos_debug_objects_moved(const void *at, size_t size);
bool libos_is_debug_object(const void *at);
#else
static inline void libos_debug_objects_moved(const void *at, size_t size)
{
}

static inline bool libos_is_debug_object(const void *at)
{
	return false;
}
#endif

/* objects.c */
void libos_objects_moved(const struct module *mod);
void libos_objects_registering(struct module *mod, u8 class, void *ops);
void libos_objects_unregistered(const void *ops);
void libos_objects_close(const struct module *mod);
u64 libos_objects_room(const struct module *mod, u64 size);

/* swap.c */
void libos_retired_name(char *to, const char *name, unsigned int generation);
int libos_module_rename(struct module *mod, const char *name);

/*
 * tcp_cc.c: congestion controls across a swap. begin() makes registrations of `to` wait; commit()
 * puts them in the place of the same names of `from` and moves the sockets, with `drain` only those that
 * have no connection yet; abort() forgets them.
 */
bool libos_cc_owned(struct module *mod);
void libos_cc_begin(struct module *from);
int libos_cc_commit(struct module *to, const struct libos_keep *keep, bool drain,
		    struct libos_swap_report *report);
void libos_cc_abort(void);

#endif

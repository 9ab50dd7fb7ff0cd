/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Put in front of kernel/module/main.c by -include (see ../Makefile): gives loader.c the steps of the
 * kernel's own load_module(), which are static there. Nothing is re-written, nothing is patched.
 */
#ifndef _LIBOS_MODULE_MAIN_H
#define _LIBOS_MODULE_MAIN_H

#include <linux/livepatch.h>
#include <linux/notifier.h>

struct kernel_symbol;
struct load_info;
struct module;

#define LIBOS_STEP(ret, name, params, args)   \
	static ret name params;               \
	ret libos_##name params;              \
	ret libos_##name params               \
	{                                     \
		return name args;             \
	}

LIBOS_STEP(int, check_modinfo, (struct module *mod, struct load_info *info, int flags),
	   (mod, info, flags))
LIBOS_STEP(int, add_unformed_module, (struct module *mod), (mod))
LIBOS_STEP(void, module_augment_kernel_taints, (struct module *mod, struct load_info *info),
	   (mod, info))
LIBOS_STEP(int, module_unload_init, (struct module *mod), (mod))
LIBOS_STEP(int, find_module_sections, (struct module *mod, struct load_info *info), (mod, info))
LIBOS_STEP(void, setup_modinfo, (struct module *mod, struct load_info *info), (mod, info))
LIBOS_STEP(const struct kernel_symbol *, resolve_symbol_wait,
	   (struct module *mod, const struct load_info *info, const char *name), (mod, info, name))
LIBOS_STEP(int, complete_formation, (struct module *mod, struct load_info *info), (mod, info))
LIBOS_STEP(int, prepare_coming_module, (struct module *mod), (mod))
LIBOS_STEP(int, unknown_module_param_cb,
	   (char *param, char *val, const char *modname, void *arg), (param, val, modname, arg))
LIBOS_STEP(int, do_init_module, (struct module *mod), (mod))

LIBOS_STEP(void, mod_update_bounds, (struct module *mod), (mod))
LIBOS_STEP(void, module_unload_free, (struct module *mod), (mod))

#undef LIBOS_STEP

/* A tentative definition; the file's own, with its initialiser, completes it. */
static struct blocking_notifier_head module_notify_list;

/* Where a patch of live code would be taken back, nothing but the memory of the module is left to go. */
void libos_module_going(struct module *mod);
#define klp_module_going(mod) libos_module_going(mod)

int libos_notify_module(struct module *mod, unsigned long state);
int libos_notify_module(struct module *mod, unsigned long state)
{
	return blocking_notifier_call_chain(&module_notify_list, state, mod);
}

#endif

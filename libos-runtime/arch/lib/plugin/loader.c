// SPDX-License-Identifier: GPL-2.0
/*
 * Makes a module of a mapped shared object. The host has mapped and relocated it; here it goes through
 * load_module()'s own steps (module_main.h) in load_module()'s order, less those that copy and
 * relocate. delete_module(2) needs no change: module_arch_cleanup() empties mod->mem[], and then
 * free_module() leaves the mapping to the host.
 */
#include <linux/dynamic_debug.h>
#include <linux/elf.h>
#include <linux/ftrace.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleloader.h>
#include <linux/moduleparam.h>
#include <linux/notifier.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <trace/events/module.h>
#include <../kernel/module/internal.h>
#include "ledger.h"
#include "plugin.h"

/* The steps of kernel/module/main.c, see module_main.h. */
int libos_add_unformed_module(struct module *mod);
void libos_module_augment_kernel_taints(struct module *mod, struct load_info *info);
int libos_module_unload_init(struct module *mod);
int libos_find_module_sections(struct module *mod, struct load_info *info);
void libos_setup_modinfo(struct module *mod, struct load_info *info);
const struct kernel_symbol *libos_resolve_symbol_wait(struct module *mod,
						      const struct load_info *info,
						      const char *name);
int libos_complete_formation(struct module *mod, struct load_info *info);
int libos_prepare_coming_module(struct module *mod);
int libos_unknown_module_param_cb(char *param, char *val, const char *modname, void *arg);
int libos_do_init_module(struct module *mod);
void libos_module_unload_free(struct module *mod);
int libos_notify_module(struct module *mod, unsigned long state);

unsigned int libos_find_section(const struct load_info *info, const char *name)
{
	for (unsigned int i = 1; i < info->hdr->e_shnum; i++) {
		if (!strcmp(info->secstrings + info->sechdrs[i].sh_name, name))
			return i;
	}
	return 0;
}

/*
 * Reads the file's headers into `info`, with section addresses of the mapping. The host has checked
 * that the file is whole and an ELF shared object; what makes it a module is checked here.
 */
int libos_read_headers(const struct libos_plugin *plugin, struct load_info *info)
{
	const Elf_Ehdr *hdr = plugin->image;
	size_t table = (size_t)hdr->e_shnum * sizeof(Elf_Shdr);
	unsigned int this_module;

	if (plugin->image_len < sizeof(*hdr) || hdr->e_shentsize != sizeof(Elf_Shdr) ||
	    hdr->e_shoff > plugin->image_len || table > plugin->image_len - hdr->e_shoff ||
	    hdr->e_shstrndx >= hdr->e_shnum)
		return -ENOEXEC;

	info->hdr = (Elf_Ehdr *)hdr;
	info->len = plugin->image_len;
	info->sechdrs = kmemdup(plugin->image + hdr->e_shoff, table, GFP_KERNEL);
	if (!info->sechdrs)
		return -ENOMEM;
	info->secstrings = (char *)hdr + info->sechdrs[hdr->e_shstrndx].sh_offset;

	for (unsigned int i = 1; i < hdr->e_shnum; i++) {
		Elf_Shdr *sec = &info->sechdrs[i];

		if (sec->sh_type != SHT_NOBITS &&
		    (sec->sh_offset > info->len || sec->sh_size > info->len - sec->sh_offset))
			return -ENOEXEC;
		/* load_module() makes addresses of sections that are not mapped, too. */
		if (sec->sh_flags & SHF_ALLOC)
			sec->sh_addr += plugin->load_bias;
		else
			sec->sh_addr = (unsigned long)hdr + sec->sh_offset;
	}

	info->index.sym = libos_find_section(info, ".symtab");
	info->index.str = libos_find_section(info, ".strtab");
	info->index.info = libos_find_section(info, ".modinfo");
	this_module = libos_find_section(info, ".gnu.linkonce.this_module");
	if (!this_module || !info->index.info) {
		pr_err("plugin: no kernel module in this file\n");
		return -ENOEXEC;
	}
	if (info->sechdrs[this_module].sh_size != sizeof(struct module)) {
		pr_err("plugin: built for another kernel: struct module is %llu bytes, not %zu\n",
		       (u64)info->sechdrs[this_module].sh_size, sizeof(struct module));
		return -ENOEXEC;
	}
	info->index.mod = this_module;
	info->mod = (struct module *)info->sechdrs[this_module].sh_addr;
	info->name = info->mod->name;
	return 0;
}

/* The mapped ranges, for within_module(), /proc/modules and back traces. */
void libos_set_ranges(struct module *mod, const struct load_info *info)
{
	for (unsigned int i = 1; i < info->hdr->e_shnum; i++) {
		const Elf_Shdr *sec = &info->sechdrs[i];
		enum mod_mem_type type = MOD_RODATA;
		struct module_memory *mem;
		unsigned long end = sec->sh_addr + sec->sh_size;

		if (!(sec->sh_flags & SHF_ALLOC) || !sec->sh_size)
			continue;
		if (sec->sh_flags & SHF_EXECINSTR)
			type = MOD_TEXT;
		else if (sec->sh_flags & SHF_WRITE)
			type = MOD_DATA;
		mem = &mod->mem[type];
		if (!mem->size) {
			mem->base = (void *)sec->sh_addr;
			mem->size = sec->sh_size;
			continue;
		}
		if (end > (unsigned long)mem->base + mem->size)
			mem->size = end - (unsigned long)mem->base;
		if (sec->sh_addr < (unsigned long)mem->base) {
			mem->size += (unsigned long)mem->base - sec->sh_addr;
			mem->base = (void *)sec->sh_addr;
		}
	}
	mod->arch.text = (unsigned long)mod->mem[MOD_TEXT].base;
	mod->arch.text_end = mod->arch.text + mod->mem[MOD_TEXT].size;
}

/*
 * The dynamic linker has bound the imports. The kernel's resolver looks at each of them again: it
 * knows what is GPL-only and which namespaces must be imported, and counts the reference to the
 * module that owns the symbol.
 */
int libos_check_imports(struct module *mod, const struct load_info *info)
{
	unsigned int dynsym = libos_find_section(info, ".dynsym");
	unsigned int dynstr = libos_find_section(info, ".dynstr");
	const Elf_Sym *sym = (void *)info->hdr + info->sechdrs[dynsym].sh_offset;
	const char *names = (void *)info->hdr + info->sechdrs[dynstr].sh_offset;
	size_t n = info->sechdrs[dynsym].sh_size / sizeof(*sym);

	for (size_t i = 1; i < n; i++) {
		const struct kernel_symbol *found;
		const char *name = names + sym[i].st_name;

		if (sym[i].st_shndx != SHN_UNDEF)
			continue;
		if (str_has_prefix(name, "__wrap_"))
			name += strlen("__wrap_");
		found = libos_resolve_symbol_wait(mod, info, name);
		if (found && !IS_ERR(found))
			continue;
		if (!found && ELF_ST_BIND(sym[i].st_info) == STB_WEAK)
			continue;
		pr_err("%s: symbol '%s': %s\n", mod->name, name,
		       !found ? "not exported, or for GPL modules only" :
		       PTR_ERR(found) == -EINVAL ? "namespace not imported" : "module not ready");
		return found ? PTR_ERR(found) : -ENOENT;
	}
	return 0;
}

static void unlink_module(struct module *mod)
{
	mutex_lock(&module_mutex);
	list_del_rcu(&mod->list);
	mod_tree_remove(mod);
	synchronize_rcu();
	mutex_unlock(&module_mutex);
}

/*
 * What load_module() does after relocation, from the first step that leaves a trace to the end. On
 * error the module is gone from the kernel, and the host may unmap it.
 */
static int form_module(struct module *mod, struct load_info *info, const struct libos_plugin *plugin)
{
	char *rest;
	int err;

	err = libos_add_unformed_module(mod);
	if (err)
		return err;
	libos_module_augment_kernel_taints(mod, info);
	err = libos_module_unload_init(mod);
	if (err)
		goto out_unlink;
	init_param_lock(mod);
	err = libos_find_module_sections(mod, info);
	if (err)
		goto out_unload;
	libos_setup_modinfo(mod, info);
	err = libos_check_imports(mod, info);
	if (err)
		goto out_unload;
	err = libos_symbols_add(mod, info, plugin->load_bias);
	if (err)
		goto out_unload;

	mod->args = kstrdup(plugin->args, GFP_KERNEL);
	if (!mod->args) {
		err = -ENOMEM;
		goto out_symbols;
	}
	init_build_id(mod, info);
	ftrace_module_init(mod);
	err = libos_complete_formation(mod, info);
	if (err)
		goto out_args;
	err = libos_prepare_coming_module(mod);
	if (err)
		goto out_coming;

	/* From here on code of the module runs. */
	err = libos_ledger_open(mod, plugin->load_bias, plugin->build);
	if (err)
		goto out_going;
	current->thread.loading = mod;
	rest = parse_args(mod->name, mod->args, mod->kp, mod->num_kp, -32768, 32767, mod,
			  libos_unknown_module_param_cb);
	if (IS_ERR(rest)) {
		err = PTR_ERR(rest);
		goto out_going;
	}
	err = mod_sysfs_setup(mod, info, mod->kp, mod->num_kp);
	if (err)
		goto out_going;
	return 0;

out_going:
	current->thread.loading = NULL;
	mod->state = MODULE_STATE_GOING;
	module_destroy_params(mod->kp, mod->num_kp);
	libos_notify_module(mod, MODULE_STATE_GOING);
	libos_module_going(mod);
out_coming:
	mod->state = MODULE_STATE_GOING;
	mutex_lock(&module_mutex);
	module_bug_cleanup(mod);
	mutex_unlock(&module_mutex);
out_args:
	ftrace_release_mod(mod);
	synchronize_rcu();
	kfree(mod->args);
out_symbols:
	libos_symbols_free(mod);
out_unload:
	libos_module_unload_free(mod);
out_unlink:
	unlink_module(mod);
	return err;
}

/* Loads a plugin and runs its init. On success *mod is the live module. */
int libos_plugin_load(const struct libos_plugin *plugin, struct module **out)
{
	struct load_info info = { };
	struct module *mod;
	int err;

	err = libos_read_headers(plugin, &info);
	if (err)
		goto out_headers;
	mod = info.mod;
	err = libos_check_modinfo(mod, &info, 0);
	if (err)
		goto out_headers;
	mod->arch.plugin = plugin->handle;
	mod->arch.generation = plugin->generation;
	libos_set_ranges(mod, &info);
	err = form_module(mod, &info, plugin);
	if (err)
		goto out_headers;

	kfree(info.sechdrs);
	*out = mod;
	trace_module_load(mod);
	err = libos_do_init_module(mod);
	current->thread.loading = NULL;
	return err;

out_headers:
	kfree(info.sechdrs);
	return err;
}

/* The module's name, out of the mapped struct module; NULL when it has none. */
const char *libos_plugin_name(const struct libos_plugin *plugin)
{
	struct load_info info = { };
	const char *name = libos_read_headers(plugin, &info) ? NULL : info.name;

	kfree(info.sechdrs);
	return name;
}

int libos_module_load(const struct libos_plugin *plugin)
{
	struct module *mod;
	int err;

	err = libos_plugin_load(plugin, &mod);
	if (!err)
		libos_remake_qdiscs(mod->name);
	return err;
}

/* -- what generic module code asks of an architecture --------------------------------------------- */

/* free_module() is about to take the ranges for its own memory: they are the host's. */
void module_arch_cleanup(struct module *mod)
{
	if (!mod->arch.plugin)
		return;
	mod_tree_remove(mod);
	for_each_mod_mem_type(type) {
		mod->mem[type].base = NULL;
		mod->mem[type].size = 0;
	}
}

/* Also called when init is done (state LIVE), where there is nothing to free. */
void module_arch_freeing_init(struct module *mod)
{
	if (!mod->arch.plugin || mod->state == MODULE_STATE_LIVE)
		return;
	libos_symbols_free(mod);
	libos_host->plugin_freed(mod->arch.plugin);
}

/* init_module(2) with a .ko: what the pool cannot do is said, not half done. */
int apply_relocate_add(Elf_Shdr *sechdrs, const char *strtab, unsigned int symindex,
		       unsigned int relsec, struct module *me)
{
	pr_err("%s: memory of the pool is not executable; load the module as a plugin\n", me->name);
	return -ENOEXEC;
}

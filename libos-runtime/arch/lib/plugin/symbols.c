// SPDX-License-Identifier: GPL-2.0
/* A plugin's symbol table, so that the kernel's own back traces and /proc/kallsyms name its functions. */
#include <linux/elf.h>
#include <linux/module.h>
#include <linux/moduleloader.h>
#include <linux/slab.h>
#include <../kernel/module/internal.h>
#include "plugin.h"

static bool wanted(const Elf_Sym *sym)
{
	unsigned char type = ELF_ST_TYPE(sym->st_info);

	return sym->st_shndx != SHN_UNDEF && sym->st_shndx < SHN_LORESERVE && sym->st_name &&
	       (type == STT_FUNC || type == STT_OBJECT || type == STT_NOTYPE);
}

int libos_symbols_read(struct mod_kallsyms *to, const struct load_info *info, unsigned long bias)
{
	const Elf_Shdr *symsec = &info->sechdrs[info->index.sym];
	const Elf_Shdr *strsec = &info->sechdrs[info->index.str];
	const Elf_Sym *src = (void *)info->hdr + symsec->sh_offset;
	const char *names = (void *)info->hdr + strsec->sh_offset;
	size_t n = symsec->sh_size / sizeof(*src), kept = 1;
	Elf_Sym *symtab;
	char *strtab, *typetab;

	if (!info->index.sym || !info->index.str)
		n = 0;
	symtab = kvcalloc(n + 1, sizeof(*symtab), GFP_KERNEL);
	typetab = kvzalloc(n + 1, GFP_KERNEL);
	strtab = kvzalloc(strsec->sh_size + 1, GFP_KERNEL);
	if (!symtab || !typetab || !strtab) {
		kvfree(symtab);
		kvfree(typetab);
		kvfree(strtab);
		return -ENOMEM;
	}

	memcpy(strtab, names, n ? strsec->sh_size : 0);
	for (size_t i = 1; i < n; i++) {
		const Elf_Shdr *in;

		if (!wanted(&src[i]) || src[i].st_shndx >= info->hdr->e_shnum ||
		    src[i].st_name >= strsec->sh_size)
			continue;
		in = &info->sechdrs[src[i].st_shndx];
		symtab[kept] = src[i];
		symtab[kept].st_value += bias;
		typetab[kept++] = in->sh_flags & SHF_EXECINSTR ? 't' :
				  in->sh_type == SHT_NOBITS ? 'b' :
				  in->sh_flags & SHF_WRITE ? 'd' : 'r';
	}
	to->symtab = symtab;
	to->num_symtab = kept;
	to->strtab = strtab;
	to->typetab = typetab;
	return 0;
}

void libos_symbols_drop(struct mod_kallsyms *symbols)
{
	kvfree(symbols->symtab);
	kvfree(symbols->strtab);
	kvfree(symbols->typetab);
}

int libos_symbols_add(struct module *mod, const struct load_info *info, unsigned long bias)
{
	int err = libos_symbols_read(&mod->core_kallsyms, info, bias);

	if (!err)
		rcu_assign_pointer(mod->kallsyms, &mod->core_kallsyms);
	return err;
}

/* No reader is left: called after the grace period in which the module left the list. */
void libos_symbols_free(struct module *mod)
{
	libos_symbols_drop(&mod->core_kallsyms);
	memset(&mod->core_kallsyms, 0, sizeof(mod->core_kallsyms));
}

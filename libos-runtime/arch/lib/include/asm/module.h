/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_MODULE_H
#define _ASM_LIB_MODULE_H

#include <asm-generic/module.h>

/* What we keep for each module; part of struct module, hence of the module ABI. */
struct mod_arch_specific {
	void *plugin; /* the host's handle of the mapping; NULL: loaded by init_module(2) */
	unsigned long text, text_end; /* of the mapping, for back traces and quiescence */
	unsigned int generation; /* counts builds of this name, from 1 */
};

#endif

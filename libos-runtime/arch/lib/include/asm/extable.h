/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_EXTABLE_H
#define _ASM_LIB_EXTABLE_H

/* Offsets from the entry itself, so that the table needs no relocation. */
struct exception_table_entry {
	int insn, fixup;
};
#define ARCH_HAS_RELATIVE_EXTABLE

#endif

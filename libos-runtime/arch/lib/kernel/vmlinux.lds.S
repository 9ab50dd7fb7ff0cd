/* SPDX-License-Identifier: GPL-2.0 */
/* vmlinux as a shared object: linked at 0, the dynamic linker adds the rest. */
#define LOAD_OFFSET 0
#define RUNTIME_DISCARD_EXIT

#include <asm/cache.h>
#include <asm/page.h>
#include <asm/thread_info.h>
#include <asm-generic/vmlinux.lds.h>

OUTPUT_FORMAT(CONFIG_OUTPUT_FORMAT)
OUTPUT_ARCH(i386:x86-64)
jiffies = jiffies_64;

/* Spelt out, because lld would begin a segment, though no page, wherever RO_DATA's flags change. */
PHDRS
{
	headers PT_LOAD FILEHDR PHDRS FLAGS(4);
	text PT_LOAD FLAGS(5);
	data PT_LOAD FLAGS(6);
	dynamic PT_DYNAMIC FLAGS(6);
	note PT_NOTE FLAGS(4);
	stack PT_GNU_STACK FLAGS(6);
}

SECTIONS
{
	. = SIZEOF_HEADERS;
	.note.gnu.build-id : { *(.note.gnu.build-id) } :headers :note
	.gnu.hash : { *(.gnu.hash) } :headers
	.dynsym : { *(.dynsym) }
	.dynstr : { *(.dynstr) }
	/* Before DISCARDS, which would drop them. */
	.gnu.version : { *(.gnu.version) }
	.gnu.version_d : { *(.gnu.version_d) }
	.gnu.version_r : { *(.gnu.version_r) }
	.rela.dyn : { *(.rela.*) }
	.rela.plt : { *(.rela.plt) }

	. = ALIGN(PAGE_SIZE);
	_text = .;
	_stext = .;
	.text : {
		TEXT_TEXT
		ENTRY_TEXT
		SCHED_TEXT
		LOCK_TEXT
		KPROBES_TEXT
		IRQENTRY_TEXT
		SOFTIRQENTRY_TEXT
		*(.fixup)
	} :text
	.plt : { *(.plt) *(.plt.*) *(.iplt) }
	/* Never freed, so it counts as ordinary text: is_kernel_text(), back traces. */
	.init.text : {
		_sinittext = .;
		INIT_TEXT
		_einittext = .;
	}
	.exit.text : { EXIT_TEXT }
	_etext = .;

	/* Tables of pointers: relocated, hence in the writable segment. */
	. = ALIGN(PAGE_SIZE);
	__init_begin = .;
	__init_end = .;
	.dynamic : { *(.dynamic) } :data :dynamic
	.got : { *(.got) *(.got.plt) *(.igot) *(.igot.plt) } :data
	RO_DATA(PAGE_SIZE)
	EXCEPTION_TABLE(16)
	_sdata = .;
	INIT_DATA_SECTION(16)
	.exit.data : { EXIT_DATA }
	PERCPU_SECTION(L1_CACHE_BYTES)
	.data.rel : { *(.data.rel) *(.data.rel.*) }
	RW_DATA(L1_CACHE_BYTES, PAGE_SIZE, THREAD_SIZE)
	_edata = .;

	BSS_SECTION(0, PAGE_SIZE, PAGE_SIZE)
	_end = .;

	STABS_DEBUG
	DWARF_DEBUG
	ELF_DETAILS
	DISCARDS
}

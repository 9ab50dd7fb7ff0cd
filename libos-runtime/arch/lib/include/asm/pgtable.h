/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_PGTABLE_H
#define _ASM_LIB_PGTABLE_H

/* No MMU: types for generic code, tables for none. */
#include <asm-generic/pgtable-nopmd.h>
#include <asm/page.h>
#include <asm/io.h>

#define PAGE_NONE __pgprot(0)
#define PAGE_SHARED __pgprot(0)
#define PAGE_COPY __pgprot(0)
#define PAGE_READONLY __pgprot(0)
#define PAGE_KERNEL __pgprot(0)

#define ZERO_PAGE(vaddr) virt_to_page(libos_zero_page)
extern void *libos_zero_page;

#define swapper_pg_dir ((pgd_t *)NULL)

#define VMALLOC_START 0UL
#define VMALLOC_END ~0UL

#define pgprot_noncached(prot) (prot)
#define pgprot_writecombine(prot) (prot)

#endif

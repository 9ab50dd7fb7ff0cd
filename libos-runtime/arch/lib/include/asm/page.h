/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_PAGE_H
#define _ASM_LIB_PAGE_H

#include <linux/const.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE (_AC(1, UL) << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))

#ifndef __ASSEMBLY__

/*
 * Physical memory is the host's pool, and begins at a small number: boot walks page frame numbers,
 * and the largest block of the page allocator (4 MiB) must be aligned.
 */
#define PHYS_OFFSET _AC(0x400000, UL)

/* Virtual address of the pool; set before start_kernel(), never changed. */
extern unsigned long libos_pool;

#define PAGE_OFFSET libos_pool
#define ARCH_PFN_OFFSET (PHYS_OFFSET >> PAGE_SHIFT)

#define clear_page(page) memset((page), 0, PAGE_SIZE)
#define copy_page(to, from) memcpy((to), (from), PAGE_SIZE)
#define clear_user_page(page, vaddr, pg) clear_page(page)
#define copy_user_page(to, from, vaddr, pg) copy_page(to, from)

typedef struct { unsigned long pte; } pte_t;
typedef struct { unsigned long pgd; } pgd_t;
typedef struct { unsigned long pgprot; } pgprot_t;
typedef struct page *pgtable_t;

#define pte_val(x) ((x).pte)
#define pgd_val(x) ((x).pgd)
#define pgprot_val(x) ((x).pgprot)
#define __pte(x) ((pte_t) { (x) })
#define __pgd(x) ((pgd_t) { (x) })
#define __pgprot(x) ((pgprot_t) { (x) })

#define __pa(x) ((unsigned long)(x) - PAGE_OFFSET + PHYS_OFFSET)
#define __va(x) ((void *)((unsigned long)(x) - PHYS_OFFSET + PAGE_OFFSET))

#define virt_to_pfn(x) (__pa(x) >> PAGE_SHIFT)
#define pfn_to_virt(pfn) __va((pfn) << PAGE_SHIFT)
#define virt_to_page(x) pfn_to_page(virt_to_pfn(x))
#define page_to_virt(page) pfn_to_virt(page_to_pfn(page))
#define page_to_phys(page) (page_to_pfn(page) << PAGE_SHIFT)
#define phys_to_page(phys) pfn_to_page((phys) >> PAGE_SHIFT)
#define virt_addr_valid(x) pfn_valid(virt_to_pfn(x))

#endif

#include <asm-generic/memory_model.h>
#include <asm-generic/getorder.h>

#endif

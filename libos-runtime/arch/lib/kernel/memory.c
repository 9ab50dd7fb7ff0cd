// SPDX-License-Identifier: GPL-2.0
/* The host's pool is all the memory there is: one zone, one node. */
#include <linux/execmem.h>
#include <linux/init.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/page_reporting.h>
#include <linux/scatterlist.h>
#include <asm/page.h>
#include <asm/pgtable.h>
#include <asm/sections.h>
#include "libos.h"

unsigned long libos_pool;
EXPORT_SYMBOL(libos_pool);
void *libos_zero_page;
EXPORT_SYMBOL(libos_zero_page);

void __init libos_memory_setup(void)
{
	unsigned long zones[MAX_NR_ZONES] = { };

	/* The image is not in the pool, so not in mem_map: nothing to reserve, nothing to free. */
	memblock_add(PHYS_OFFSET, libos_boot->pool_len);
	min_low_pfn = PHYS_OFFSET >> PAGE_SHIFT;
	max_low_pfn = max_pfn = min_low_pfn + (libos_boot->pool_len >> PAGE_SHIFT);
	libos_zero_page = memblock_alloc(PAGE_SIZE, PAGE_SIZE);
	high_memory = (void *)(libos_pool + libos_boot->pool_len);
	set_max_mapnr(max_low_pfn - min_low_pfn); /* counts from ARCH_PFN_OFFSET, see pfn_valid() */

	zones[ZONE_NORMAL] = max_low_pfn;
	free_area_init(zones);
}

void __init mem_init(void)
{
	memblock_free_all();
}

#ifdef CONFIG_PAGE_REPORTING
/*
 * Pages that stay free go back to the host, which gives zeroed ones when they are touched again. Blocks
 * of 32 KiB and more, two seconds after they were freed, see mm/page_reporting.c.
 */
static int report_unused(struct page_reporting_dev_info *dev, struct scatterlist *blocks,
			 unsigned int n)
{
	struct scatterlist *block;
	unsigned int i;

	for_each_sg(blocks, block, n, i)
		libos_host->pages_unused(sg_virt(block), block->length);
	return 0;
}

static struct page_reporting_dev_info unused_pages = {
	.report = report_unused,
	.order = PAGE_ALLOC_COSTLY_ORDER,
};

static int __init report_unused_pages(void)
{
	/* Poisoned pages must keep their content while they are free. */
	if (!libos_host->pages_unused || page_poisoning_enabled_static())
		return 0;
	return page_reporting_register(&unused_pages);
}
late_initcall(report_unused_pages);
#endif

/* Executable memory is the dynamic linker's affair; data ranges of the pool are as good as any. */
struct execmem_info __init *execmem_arch_setup(void)
{
	static struct execmem_info info;

	info.ranges[EXECMEM_DEFAULT] = (struct execmem_range){
		.start = libos_pool,
		.end = libos_pool + libos_boot->pool_len,
		.pgprot = __pgprot(1),
		.alignment = 1,
	};
	return &info;
}

void free_initmem(void)
{
}

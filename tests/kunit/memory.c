// SPDX-License-Identifier: GPL-2.0
/* Memory: the pool's pages and addresses, and what the allocators make of them. */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pfn.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

static void addresses_and_pages_convert_both_ways(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL);
	void *virt;

	KUNIT_ASSERT_NOT_NULL(test, page);
	virt = page_address(page);
	KUNIT_EXPECT_EQ(test, (unsigned long)virt % PAGE_SIZE, 0);
	KUNIT_EXPECT_PTR_EQ(test, virt_to_page(virt), page);
	KUNIT_EXPECT_PTR_EQ(test, virt_to_page(virt + PAGE_SIZE - 1), page);
	KUNIT_EXPECT_PTR_EQ(test, pfn_to_page(page_to_pfn(page)), page);
	KUNIT_EXPECT_PTR_EQ(test, __va(__pa(virt)), virt);
	KUNIT_EXPECT_EQ(test, PFN_PHYS(page_to_pfn(page)), __pa(virt));
	KUNIT_EXPECT_TRUE(test, virt_addr_valid(virt));
	KUNIT_EXPECT_PTR_EQ(test, kmap_local_page(page), virt);
	kunmap_local(virt);
	__free_page(page);
}

static void an_address_outside_the_pool_has_no_page(struct kunit *test)
{
	static int in_the_module;

	KUNIT_EXPECT_FALSE(test, virt_addr_valid(NULL));
	KUNIT_EXPECT_FALSE(test, virt_addr_valid(&in_the_module));
}

static void blocks_are_aligned_to_their_size(struct kunit *test)
{
	for (unsigned int order = 0; order <= 8; order++) {
		unsigned long block = __get_free_pages(GFP_KERNEL | __GFP_ZERO, order);

		KUNIT_ASSERT_NE(test, block, 0);
		KUNIT_EXPECT_EQ(test, __pa(block) % (PAGE_SIZE << order), 0);
		KUNIT_EXPECT_NULL(test, memchr_inv((void *)block, 0, PAGE_SIZE << order));
		memset((void *)block, 0xee, PAGE_SIZE << order);
		free_pages(block, order);
	}
}

static void objects_of_every_size_are_apart(struct kunit *test)
{
	void *objects[24];
	size_t size;

	for (int i = 0; i < ARRAY_SIZE(objects); i++) {
		size = 8UL << (i % 18); /* up to 1 MiB */
		objects[i] = kmalloc(size, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, objects[i]);
		memset(objects[i], i, size);
	}
	for (int i = 0; i < ARRAY_SIZE(objects); i++) {
		size = 8UL << (i % 18);
		KUNIT_EXPECT_NULL(test, memchr_inv(objects[i], i, size));
		kfree(objects[i]);
	}
}

static void vmalloc_gives_memory(struct kunit *test)
{
	size_t size = 3 * PAGE_SIZE + 100;
	u8 *memory = vzalloc(size);

	KUNIT_ASSERT_NOT_NULL(test, memory);
	KUNIT_EXPECT_NULL(test, memchr_inv(memory, 0, size));
	memset(memory, 0xee, size);
	vfree(memory);

	memory = kvmalloc(size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory);
	memset(memory, 0xee, size);
	kvfree(memory);
}

static void too_much_is_refused(struct kunit *test)
{
	size_t size = SIZE_MAX / 2;

	OPTIMIZER_HIDE_VAR(size);
	KUNIT_EXPECT_NULL(test, kmalloc(size, GFP_KERNEL | __GFP_NOWARN));
}

static void the_zero_page_is_zero(struct kunit *test)
{
	KUNIT_EXPECT_NULL(test, memchr_inv(page_address(ZERO_PAGE(0)), 0, PAGE_SIZE));
}

static struct kunit_case memory_cases[] = {
	KUNIT_CASE(addresses_and_pages_convert_both_ways),
	KUNIT_CASE(an_address_outside_the_pool_has_no_page),
	KUNIT_CASE(blocks_are_aligned_to_their_size),
	KUNIT_CASE(objects_of_every_size_are_apart),
	KUNIT_CASE(vmalloc_gives_memory),
	KUNIT_CASE(too_much_is_refused),
	KUNIT_CASE(the_zero_page_is_zero),
	{}
};

static struct kunit_suite memory_suite = {
	.name = "arch_memory",
	.test_cases = memory_cases,
};

kunit_test_suite(memory_suite);

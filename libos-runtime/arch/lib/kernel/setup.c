// SPDX-License-Identifier: GPL-2.0
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/cpu.h>
#include <linux/random.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <asm/archrandom.h>
#include <asm/setup.h>
#include "libos.h"

static char command_line[COMMAND_LINE_SIZE] __initdata;

void __init setup_arch(char **cmdline_p)
{
	strscpy(boot_command_line, libos_boot->cmdline, COMMAND_LINE_SIZE);
	strscpy(command_line, boot_command_line, COMMAND_LINE_SIZE);
	*cmdline_p = command_line;
	libos_console_setup();
	parse_early_param();
	libos_memory_setup();
	libos_mark("arch set-up");
}

void __init trap_init(void)
{
	libos_mark("memory");
}

void __init arch_cpu_finalize_init(void)
{
}

/* Delays go by the host's clock: nothing to calibrate. */
void calibrate_delay(void)
{
	loops_per_jiffy = NSEC_PER_SEC / HZ;
}

static int cpuinfo_show(struct seq_file *m, void *v)
{
	seq_printf(m, "processor\t: 0\nmodel name\t: library kernel, one fiber at a time\n\n");
	return 0;
}

static void *cpuinfo_start(struct seq_file *m, loff_t *pos)
{
	return *pos ? NULL : (void *)1;
}

static void *cpuinfo_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return NULL;
}

static void cpuinfo_stop(struct seq_file *m, void *v)
{
}

const struct seq_operations cpuinfo_op = {
	.start = cpuinfo_start,
	.next = cpuinfo_next,
	.stop = cpuinfo_stop,
	.show = cpuinfo_show,
};

void __ndelay(unsigned long ns)
{
	libos_host->delay_ns(ns);
}
EXPORT_SYMBOL(__ndelay);

void __udelay(unsigned long us)
{
	libos_host->delay_ns(us * 1000);
}
EXPORT_SYMBOL(__udelay);

void __delay(unsigned long loops)
{
	libos_host->delay_ns(loops);
}
EXPORT_SYMBOL(__delay);

void libos_random(void *to, size_t len)
{
	libos_host->random(to, len);
}
EXPORT_SYMBOL(libos_random);

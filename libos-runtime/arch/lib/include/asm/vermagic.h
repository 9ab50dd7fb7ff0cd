/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_VERMAGIC_H
#define _ASM_LIB_VERMAGIC_H

#define MODULE_ARCH_VERMAGIC "libos "

#endif

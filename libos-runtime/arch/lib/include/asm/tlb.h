/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_TLB_H
#define _ASM_LIB_TLB_H

/* No MMU, no TLB. A bad user pointer is caught wherever it is followed. */
#define nmi_uaccess_okay() true

#endif

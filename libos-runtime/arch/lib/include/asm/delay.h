/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_DELAY_H
#define _ASM_LIB_DELAY_H

/* By the host's clock; virtual time advances by that much. */
void __ndelay(unsigned long ns);
void __udelay(unsigned long us);
void __delay(unsigned long loops);

#define ndelay(n) __ndelay(n)
#define udelay(n) __udelay(n)

#endif

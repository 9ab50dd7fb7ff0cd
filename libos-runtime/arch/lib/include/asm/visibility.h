/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included in front of every file of the library (not of modules): its symbols can be exported, but
 * never be preempted, so references to them need no GOT.
 */
#ifndef __ASSEMBLY__
#pragma GCC visibility push(protected)
#endif

// SPDX-License-Identifier: GPL-2.0
/* The distance to an entry of the PLT, which is always used: R_390_PLT64. */
#include "livepatch_by_hand.h"

LP_HALF("larl %r1, lp_distance\n"
	"lg %r14, 0(%r1)\n"
	"la %r1, 0(%r14, %r1)\n"
	"basr %r14, %r1",
	".balign 8\n"
	"lp_distance: .quad " DEMO_HALF "@PLT");

#define LIVEPATCH_DESCRIPTION "klpteach: a livepatch that calls through the PLT"
#include "livepatch_show.h"

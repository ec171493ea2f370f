// SPDX-License-Identifier: GPL-2.0
/* A call with a reach of 64 KiB: R_390_PLT16DBL. Further away it goes through the PLT. */
#include "livepatch_by_hand.h"

LP_HALF("bras %r14, " DEMO_HALF "@PLT", "");

#define LIVEPATCH_DESCRIPTION "klpteach: a livepatch with a short call"
#include "livepatch_show.h"

// SPDX-License-Identifier: GPL-2.0
#define NAME(x) sunrpc_demo_##x
#define MODULE_TEXT "sunrpc_demo"
#include "small_demo.h"

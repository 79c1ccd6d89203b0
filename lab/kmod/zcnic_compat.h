/* SPDX-License-Identifier: GPL-2.0 */
/* What differs between the kernels that zcnic builds for. */
#ifndef _ZCNIC_COMPAT_H
#define _ZCNIC_COMPAT_H

#include <linux/version.h>

/* 7.0 gave the queue ops their configuration argument and 7.2 made
 * net_device::netmem_tx an enum and took ethtool out of rtnl_lock. Nothing
 * the driver uses changed between 7.2 and 7.3.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 2, 0)
#error "zcnic needs Linux 7.2 or later"
#endif

/* The wire reads and writes memory by its direct mapping, and counters are
 * plain 64-bit words.
 */
#ifndef CONFIG_64BIT
#error "zcnic needs a 64-bit kernel"
#endif

#endif /* _ZCNIC_COMPAT_H */

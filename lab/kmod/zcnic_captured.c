// SPDX-License-Identifier: GPL-2.0
/* What a capture of a NIC says (zcbench probe --capture), in place of what a
 * personality has at boot. How it refuses and what follows from what stays the
 * personality's: a capture has answers, not reasons.
 *
 * The host's half, lab/internal/likefile, writes these parameters.
 */

#include <linux/ethtool.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/string.h>

#include "zcnic.h"

static char *as_driver;
module_param(as_driver, charp, 0444);
MODULE_PARM_DESC(as_driver, "name of the driver");

static char *as_version;
module_param(as_version, charp, 0444);
MODULE_PARM_DESC(as_version, "version of the driver");

static unsigned int as_ring[5];
static int n_ring;
module_param_array(as_ring, uint, &n_ring, 0444);
MODULE_PARM_DESC(as_ring, "rings at boot: rx, rx-mini, rx-jumbo, tx, and the length of a receive buffer (0: not told)");

static unsigned int as_ring_max[3];
static int n_ring_max;
module_param_array(as_ring_max, uint, &n_ring_max, 0444);
MODULE_PARM_DESC(as_ring_max, "most entries of rx, those in use of rx-mini or rx-jumbo, most of tx");

static int as_split = -1;
module_param(as_split, int, 0444);
MODULE_PARM_DESC(as_split, "tcp-data-split at boot: 0 not told, 1 off, 2 on, 3 not supported");

static unsigned int as_hds[2];
static int n_hds;
module_param_array(as_hds, uint, &n_hds, 0444);
MODULE_PARM_DESC(as_hds, "hds-thresh at boot and its maximum; one number: not supported");

static unsigned int as_features[3];
static int n_features;
module_param_array(as_features, uint, &n_features, 0444);
MODULE_PARM_DESC(as_features, "features that are on, off, and on for good, each a sum of 1 (rx-gro-hw), 2 (rx-lro), 4 (rx-ntuple-filter)");

static unsigned int as_rss[2];
static int n_rss;
module_param_array(as_rss, uint, &n_rss, 0444);
MODULE_PARM_DESC(as_rss, "bytes of the hash key, entries of the RSS table");

static unsigned int as_rules[2];
static int n_rules;
module_param_array(as_rules, uint, &n_rules, 0444);
MODULE_PARM_DESC(as_rules, "how many flow rules there can be, and whether the driver may choose their places");

static int as_channels = -1;
module_param(as_channels, int, 0444);
MODULE_PARM_DESC(as_channels, "channels: 0 combined, 1 combined with maxima of rx and tx too, 2 rx and tx");

static unsigned int as_coalesce[25];
static int n_coalesce;
module_param_array(as_coalesce, uint, &n_coalesce, 0444);
MODULE_PARM_DESC(as_coalesce, "which coalescing there is (ETHTOOL_COALESCE_*), its values from rx-usecs on as in struct ethtool_coalesce, cqe-mode of tx and rx; one 0: none");

static unsigned int as_pause[3];
static int n_pause;
module_param_array(as_pause, uint, &n_pause, 0444);
MODULE_PARM_DESC(as_pause, "pause: autonegotiation, rx, tx; one number: not supported");

static char *as_flags[32];
static int n_flags;
module_param_array(as_flags, charp, &n_flags, 0444);
MODULE_PARM_DESC(as_flags, "private flags, each +name or -name");

static bool as_no_queue_ops;
module_param(as_no_queue_ops, bool, 0444);
MODULE_PARM_DESC(as_no_queue_ops, "no queue can be bound");

static netdev_features_t zcnic_features(unsigned int bits)
{
	return (bits & 1 ? NETIF_F_GRO_HW : 0) | (bits & 2 ? NETIF_F_LRO : 0) |
	       (bits & 4 ? NETIF_F_NTUPLE : 0);
}

static bool zcnic_always_split(const struct zcnic_port *port, u8 config,
			       netdev_features_t features)
{
	return true;
}

static bool zcnic_never_split(const struct zcnic_port *port, u8 config,
			      netdev_features_t features)
{
	return false;
}

static void zcnic_captured_rings(struct zcnic_like *to)
{
	if (n_ring == ARRAY_SIZE(as_ring)) {
		to->ring.rx = as_ring[0];
		to->ring.rx_mini = as_ring[1];
		/* bnxt's follows from rx */
		to->ring.rx_jumbo = to->get_ring ? 0 : as_ring[2];
		to->ring.tx = as_ring[3];
		to->ring.rx_buf_len = as_ring[4];
		if (as_ring[4])
			to->ring_params |= ETHTOOL_RING_USE_RX_BUF_LEN;
		else
			to->ring_params &= ~ETHTOOL_RING_USE_RX_BUF_LEN;
	}
	/* A personality with get_ring knows when they change. */
	if (n_ring_max == ARRAY_SIZE(as_ring_max) && !to->get_ring) {
		to->rx_max = as_ring_max[0];
		/* Which is not told: at least what is in use. */
		to->rx_extra_max = as_ring_max[1] ?
				   max(as_ring_max[1], to->rx_extra_max) : 0;
		to->tx_max = as_ring_max[2];
	}

	if (as_split >= 0) {
		bool own = !*to->name;

		to->split_unset = as_split == 0 || as_split == 3;
		to->ring.split = as_split == 2;
		if (as_split == 3) {
			to->ring_params &= ~ETHTOOL_RING_USE_TCP_DATA_SPLIT;
			to->split = zcnic_never_split;
		} else {
			to->ring_params |= ETHTOOL_RING_USE_TCP_DATA_SPLIT;
			if (own && as_split == 2)
				to->split = zcnic_always_split;
		}
	}
	if (n_hds == 1) {
		to->ring_params &= ~ETHTOOL_RING_USE_HDS_THRS;
		to->ring.hds_thresh = 0;
		to->hds_thresh_max = 0;
	} else if (n_hds == 2) {
		to->ring_params |= ETHTOOL_RING_USE_HDS_THRS;
		to->ring.hds_thresh = as_hds[0];
		to->hds_thresh_max = as_hds[1];
	}
}

static void zcnic_captured_coalesce(struct zcnic_like *to)
{
	struct ethtool_coalesce *c = &to->coalesce;
	u32 *fields[] = {
		&c->rx_coalesce_usecs, &c->rx_max_coalesced_frames,
		&c->rx_coalesce_usecs_irq, &c->rx_max_coalesced_frames_irq,
		&c->tx_coalesce_usecs, &c->tx_max_coalesced_frames,
		&c->tx_coalesce_usecs_irq, &c->tx_max_coalesced_frames_irq,
		&c->stats_block_coalesce_usecs, &c->use_adaptive_rx_coalesce,
		&c->use_adaptive_tx_coalesce, &c->pkt_rate_low,
		&c->rx_coalesce_usecs_low, &c->rx_max_coalesced_frames_low,
		&c->tx_coalesce_usecs_low, &c->tx_max_coalesced_frames_low,
		&c->pkt_rate_high, &c->rx_coalesce_usecs_high,
		&c->rx_max_coalesced_frames_high, &c->tx_coalesce_usecs_high,
		&c->tx_max_coalesced_frames_high, &c->rate_sample_interval,
	};
	int i;

	BUILD_BUG_ON(ARRAY_SIZE(as_coalesce) != ARRAY_SIZE(fields) + 3);
	if (!n_coalesce)
		return;
	to->coalesce_params = as_coalesce[0];
	if (n_coalesce != ARRAY_SIZE(as_coalesce))
		return;
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		*fields[i] = as_coalesce[i + 1];
	to->cqe_mode_tx = as_coalesce[23];
	to->cqe_mode_rx = as_coalesce[24];
}

/* Names of a personality's own flags have a meaning there, and others cannot
 * be among them.
 */
static void zcnic_captured_flags(struct zcnic_like *to)
{
	static char names[ARRAY_SIZE(as_flags)][ETH_GSTRING_LEN];
	int i, j;

	if (!n_flags)
		return;
	if (to->flags) {
		to->flags_on = 0;
		for (i = 0; i < n_flags; i++)
			for (j = 0; j < to->flags; j++)
				if (*as_flags[i] == '+' &&
				    !strcmp(as_flags[i] + 1, to->flag_names[j]))
					to->flags_on |= BIT(j);
		return;
	}
	for (i = 0; i < n_flags; i++) {
		strscpy(names[i], as_flags[i] + !!*as_flags[i]);
		if (*as_flags[i] == '+')
			to->flags_on |= BIT(i);
	}
	to->flag_names = names;
	to->flags = n_flags;
}

int zcnic_captured(struct zcnic_like *to)
{
	if (as_driver)
		to->driver = as_driver;
	if (as_version)
		to->version = as_version;
	zcnic_captured_rings(to);
	zcnic_captured_coalesce(to);
	zcnic_captured_flags(to);

	if (n_features == ARRAY_SIZE(as_features)) {
		to->on = zcnic_features(as_features[0]);
		to->off = zcnic_features(as_features[1]);
		to->fixed = zcnic_features(as_features[2]);
	}
	if (n_rss == ARRAY_SIZE(as_rss)) {
		if (as_rss[0] > ZCNIC_RSS_KEY_MAX || !as_rss[1] ||
		    as_rss[1] > ZCNIC_RSS_TABLE_MAX) {
			pr_err("%s: as_rss: at most %d bytes and %d entries\n",
			       KBUILD_MODNAME, ZCNIC_RSS_KEY_MAX,
			       ZCNIC_RSS_TABLE_MAX);
			return -EINVAL;
		}
		to->rss_key = as_rss[0];
		to->rss_table = as_rss[1];
	}
	if (n_rules == ARRAY_SIZE(as_rules)) {
		if (as_rules[0] > ZCNIC_RULES_MAX) {
			pr_err("%s: as_rules: at most %d\n", KBUILD_MODNAME,
			       ZCNIC_RULES_MAX);
			return -EINVAL;
		}
		if (as_rules[0])
			to->rules = as_rules[0];
		if (!*to->name)
			to->location = as_rules[1] ? ZCNIC_LOC_EITHER :
						     ZCNIC_LOC_GIVEN;
	}
	if (as_channels >= 0)
		to->channels = as_channels;
	if (n_pause == 1) {
		to->has_pause = false;
	} else if (n_pause == ARRAY_SIZE(as_pause)) {
		to->has_pause = true;
		to->pause.autoneg = as_pause[0];
		to->pause.rx_pause = as_pause[1];
		to->pause.tx_pause = as_pause[2];
	}
	to->no_queue_ops |= as_no_queue_ops;
	return 0;
}

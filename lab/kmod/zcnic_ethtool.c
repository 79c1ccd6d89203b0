// SPDX-License-Identifier: GPL-2.0
/* ethtool: rings and header split, channels, RSS, rules, counters. */

#include <linux/ethtool.h>
#include <linux/log2.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>

#include "zcnic.h"

static void zcnic_get_drvinfo(struct net_device *dev,
			      struct ethtool_drvinfo *info)
{
	strscpy(info->driver, KBUILD_MODNAME);
	strscpy(info->bus_info, dev_name(dev->dev.parent));
}

static int zcnic_get_link_ksettings(struct net_device *dev,
				    struct ethtool_link_ksettings *cmd)
{
	u32 rate = READ_ONCE(zcnic_rate_mbit);

	/* Without a limit the speed is that of memcpy, which nobody knows. */
	cmd->base.speed = rate ?: SPEED_UNKNOWN;
	cmd->base.duplex = DUPLEX_FULL;
	cmd->base.port = PORT_OTHER;
	return 0;
}

static void zcnic_get_ringparam(struct net_device *dev,
				struct ethtool_ringparam *ring,
				struct kernel_ethtool_ringparam *kring,
				struct netlink_ext_ack *extack)
{
	struct zcnic_port *port = netdev_priv(dev);

	ring->rx_max_pending = ZCNIC_RING_MAX;
	ring->tx_max_pending = ZCNIC_RING_MAX;
	ring->rx_pending = port->rx_ring;
	ring->tx_pending = port->tx_ring;
	kring->tcp_data_split = port->split ? ETHTOOL_TCP_DATA_SPLIT_ENABLED :
					      ETHTOOL_TCP_DATA_SPLIT_DISABLED;
	kring->hds_thresh = port->hds_thresh;
	kring->hds_thresh_max = ZCNIC_HDS_THRESH_MAX;
}

static int zcnic_set_ringparam(struct net_device *dev,
			       struct ethtool_ringparam *ring,
			       struct kernel_ethtool_ringparam *kring,
			       struct netlink_ext_ack *extack)
{
	struct zcnic_port *port = netdev_priv(dev);
	u32 rx_ring = port->rx_ring, tx_ring = port->tx_ring;
	u32 hds_thresh = port->hds_thresh;
	bool split = port->split;
	int err;

	if (ring->rx_pending < ZCNIC_RING_MIN ||
	    ring->tx_pending < ZCNIC_RING_MIN) {
		NL_SET_ERR_MSG_FMT_MOD(extack, "a ring has at least %d entries",
				       ZCNIC_RING_MIN);
		return -EINVAL;
	}

	port->rx_ring = roundup_pow_of_two(ring->rx_pending);
	port->tx_ring = roundup_pow_of_two(ring->tx_pending);
	port->hds_thresh = kring->hds_thresh;
	port->split = kring->tcp_data_split == ETHTOOL_TCP_DATA_SPLIT_ENABLED;

	err = zcnic_reconfigure(port, port->nqueues);
	if (err) {
		port->rx_ring = rx_ring;
		port->tx_ring = tx_ring;
		port->hds_thresh = hds_thresh;
		port->split = split;
	}
	return err;
}

static void zcnic_get_channels(struct net_device *dev,
			       struct ethtool_channels *ch)
{
	struct zcnic_port *port = netdev_priv(dev);

	ch->max_combined = dev->num_rx_queues;
	ch->combined_count = port->nqueues;
}

static int zcnic_set_channels(struct net_device *dev,
			      struct ethtool_channels *ch)
{
	/* The core has checked the count against the RSS tables, the rules and
	 * the memory providers.
	 */
	return zcnic_reconfigure(netdev_priv(dev), ch->combined_count);
}

static u32 zcnic_get_rx_ring_count(struct net_device *dev)
{
	struct zcnic_port *port = netdev_priv(dev);

	return port->nqueues;
}

static u32 zcnic_get_rxfh_key_size(struct net_device *dev)
{
	return ZCNIC_RSS_KEY;
}

static u32 zcnic_get_rxfh_indir_size(struct net_device *dev)
{
	return ZCNIC_RSS_TABLE;
}

static int zcnic_get_rxfh(struct net_device *dev,
			  struct ethtool_rxfh_param *rxfh)
{
	struct zcnic_port *port = netdev_priv(dev);
	const struct zcnic_rss *rss = &port->rss[rxfh->rss_context];
	int i;

	rxfh->hfunc = ETH_RSS_HASH_TOP;
	if (rxfh->indir)
		for (i = 0; i < ZCNIC_RSS_TABLE; i++)
			rxfh->indir[i] = rss->table[i];
	if (rxfh->key)
		memcpy(rxfh->key, rss->key, ZCNIC_RSS_KEY);
	return 0;
}

/* Changes what the request names of one context. */
static int zcnic_rss_set(struct zcnic_port *port, u32 context,
			 const struct ethtool_rxfh_param *rxfh,
			 struct netlink_ext_ack *extack)
{
	struct zcnic_rss *rss = &port->rss[context];
	struct zcnic_rss old = *rss;
	int err, i;

	if (rxfh->hfunc != ETH_RSS_HASH_NO_CHANGE &&
	    rxfh->hfunc != ETH_RSS_HASH_TOP) {
		NL_SET_ERR_MSG_MOD(extack, "the hash function is Toeplitz");
		return -EOPNOTSUPP;
	}

	rss->used = true;
	if (rxfh->indir)
		for (i = 0; i < ZCNIC_RSS_TABLE; i++)
			rss->table[i] = rxfh->indir[i];
	if (rxfh->key)
		memcpy(rss->key, rxfh->key, ZCNIC_RSS_KEY);
	err = zcnic_steer_commit(port);
	if (err)
		*rss = old;
	return err;
}

static int zcnic_set_rxfh(struct net_device *dev,
			  struct ethtool_rxfh_param *rxfh,
			  struct netlink_ext_ack *extack)
{
	return zcnic_rss_set(netdev_priv(dev), 0, rxfh, extack);
}

static int zcnic_create_rxfh_context(struct net_device *dev,
				     struct ethtool_rxfh_context *ctx,
				     const struct ethtool_rxfh_param *rxfh,
				     struct netlink_ext_ack *extack)
{
	struct zcnic_port *port = netdev_priv(dev);
	struct zcnic_rss *rss = &port->rss[rxfh->rss_context];
	u32 *indir = ethtool_rxfh_context_indir(ctx);
	int i;

	/* What the request leaves out is the default, and the core wants to
	 * know it.
	 */
	zcnic_rss_default(port, rss->table);
	memcpy(rss->key, port->rss[0].key, ZCNIC_RSS_KEY);
	ctx->hfunc = ETH_RSS_HASH_TOP;
	if (!rxfh->indir)
		for (i = 0; i < ZCNIC_RSS_TABLE; i++)
			indir[i] = rss->table[i];
	if (!rxfh->key)
		memcpy(ethtool_rxfh_context_key(ctx), rss->key, ZCNIC_RSS_KEY);
	return zcnic_rss_set(port, rxfh->rss_context, rxfh, extack);
}

static int zcnic_modify_rxfh_context(struct net_device *dev,
				     struct ethtool_rxfh_context *ctx,
				     const struct ethtool_rxfh_param *rxfh,
				     struct netlink_ext_ack *extack)
{
	return zcnic_rss_set(netdev_priv(dev), rxfh->rss_context, rxfh, extack);
}

static int zcnic_remove_rxfh_context(struct net_device *dev,
				     struct ethtool_rxfh_context *ctx,
				     u32 context,
				     struct netlink_ext_ack *extack)
{
	struct zcnic_port *port = netdev_priv(dev);

	/* No rule uses it: the core has checked. */
	port->rss[context].used = false;
	return 0;
}

static int zcnic_flow_kind(u32 flow_type)
{
	switch (flow_type) {
	case TCP_V4_FLOW:
		return ZCNIC_TCP4;
	case TCP_V6_FLOW:
		return ZCNIC_TCP6;
	case UDP_V4_FLOW:
		return ZCNIC_UDP4;
	case UDP_V6_FLOW:
		return ZCNIC_UDP6;
	default:
		return -EOPNOTSUPP;
	}
}

static int zcnic_get_rxfh_fields(struct net_device *dev,
				 struct ethtool_rxfh_fields *fields)
{
	struct zcnic_port *port = netdev_priv(dev);
	int kind = zcnic_flow_kind(fields->flow_type);

	if (fields->flow_type == IPV4_FLOW || fields->flow_type == IPV6_FLOW) {
		fields->data = RXH_IP_SRC | RXH_IP_DST;
		return 0;
	}
	if (kind < 0)
		return kind;
	fields->data = port->hash_fields[kind];
	return 0;
}

static int zcnic_set_rxfh_fields(struct net_device *dev,
				 const struct ethtool_rxfh_fields *fields,
				 struct netlink_ext_ack *extack)
{
	struct zcnic_port *port = netdev_priv(dev);
	int kind = zcnic_flow_kind(fields->flow_type);
	u8 old;
	int err;

	if (kind < 0)
		return kind;
	if (fields->data & ~(RXH_IP_SRC | RXH_IP_DST |
			     RXH_L4_B_0_1 | RXH_L4_B_2_3)) {
		NL_SET_ERR_MSG_MOD(extack, "only addresses and ports are hashed");
		return -EOPNOTSUPP;
	}

	old = port->hash_fields[kind];
	port->hash_fields[kind] = fields->data;
	err = zcnic_steer_commit(port);
	if (err)
		port->hash_fields[kind] = old;
	return err;
}

static int zcnic_list_rules(struct zcnic_port *port,
			    struct ethtool_rxnfc *cmd, u32 *locs)
{
	u32 i, n = 0;

	for (i = 0; i < ZCNIC_RULES; i++) {
		if (!port->rules[i].used)
			continue;
		if (n == cmd->rule_cnt)
			return -EMSGSIZE;
		locs[n++] = i;
	}
	cmd->rule_cnt = n;
	cmd->data = ZCNIC_RULES;
	return 0;
}

static int zcnic_get_rxnfc(struct net_device *dev, struct ethtool_rxnfc *cmd,
			   u32 *locs)
{
	struct zcnic_port *port = netdev_priv(dev);
	const struct zcnic_rule *rule;
	u32 i;

	switch (cmd->cmd) {
	case ETHTOOL_GRXCLSRLCNT:
		cmd->rule_cnt = 0;
		for (i = 0; i < ZCNIC_RULES; i++)
			cmd->rule_cnt += port->rules[i].used;
		cmd->data = ZCNIC_RULES | RX_CLS_LOC_SPECIAL;
		return 0;
	case ETHTOOL_GRXCLSRLALL:
		return zcnic_list_rules(port, cmd, locs);
	case ETHTOOL_GRXCLSRULE:
		if (cmd->fs.location >= ZCNIC_RULES)
			return -EINVAL;
		rule = &port->rules[cmd->fs.location];
		if (!rule->used)
			return -ENOENT;
		cmd->fs = rule->fs;
		if (rule->fs.flow_type & FLOW_RSS)
			cmd->rss_context = rule->context;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static int zcnic_insert_rule(struct zcnic_port *port,
			     struct ethtool_rxnfc *cmd)
{
	struct zcnic_rule *rule, old;
	u32 loc = cmd->fs.location;
	int err;

	if (!(port->dev->features & NETIF_F_NTUPLE))
		return -EOPNOTSUPP;
	err = zcnic_rule_check(port, &cmd->fs);
	if (err)
		return err;

	if (loc & RX_CLS_LOC_SPECIAL)
		for (loc = 0; loc < ZCNIC_RULES && port->rules[loc].used; loc++)
			;
	if (loc >= ZCNIC_RULES)
		return cmd->fs.location & RX_CLS_LOC_SPECIAL ? -ENOSPC : -EINVAL;

	rule = &port->rules[loc];
	old = *rule;
	cmd->fs.location = loc;
	rule->used = true;
	rule->fs = cmd->fs;
	rule->context = cmd->fs.flow_type & FLOW_RSS ? cmd->rss_context : 0;
	err = zcnic_steer_commit(port);
	if (err)
		*rule = old;
	return err;
}

static int zcnic_delete_rule(struct zcnic_port *port, u32 loc)
{
	int err;

	if (loc >= ZCNIC_RULES || !port->rules[loc].used)
		return -ENOENT;
	port->rules[loc].used = false;
	err = zcnic_steer_commit(port);
	if (err)
		port->rules[loc].used = true;
	return err;
}

static int zcnic_set_rxnfc(struct net_device *dev, struct ethtool_rxnfc *cmd)
{
	struct zcnic_port *port = netdev_priv(dev);

	switch (cmd->cmd) {
	case ETHTOOL_SRXCLSRLINS:
		return zcnic_insert_rule(port, cmd);
	case ETHTOOL_SRXCLSRLDEL:
		return zcnic_delete_rule(port, cmd->fs.location);
	default:
		return -EOPNOTSUPP;
	}
}

/* The driver's own counters: sums over the queues. What the standard per-queue
 * statistics have is not repeated here.
 */
static const struct {
	char name[ETH_GSTRING_LEN];
	size_t offset;
} zcnic_counters[] = {
	{ "rx_split", offsetof(struct zcnic_queue, rx_stats.split) },
	{ "rx_super_frames", offsetof(struct zcnic_queue, rx_stats.gro_packets) },
	{ "rx_queue_restarts", offsetof(struct zcnic_queue, rx_stats.restarts) },
	{ "rx_wire_waits", offsetof(struct zcnic_queue, wire_stats.waits) },
	{ "rx_drop_no_buffer", offsetof(struct zcnic_queue, wire_stats.no_buffer) },
	{ "rx_drop_stopped", offsetof(struct zcnic_queue, wire_stats.stopped) },
	{ "rx_drop_unreadable", offsetof(struct zcnic_queue, wire_stats.unreadable) },
	{ "rx_drop_bad_dma", offsetof(struct zcnic_queue, wire_stats.bad_dma) },
	{ "rx_drop_bad_csum", offsetof(struct zcnic_queue, wire_stats.bad_csum) },
	{ "rx_split_missed", offsetof(struct zcnic_queue, wire_stats.linear) },
	{ "rx_split_missed_bytes", offsetof(struct zcnic_queue, wire_stats.linear_bytes) },
	{ "tx_unreadable", offsetof(struct zcnic_queue, tx_stats.unreadable) },
	{ "tx_drop_lost", offsetof(struct zcnic_queue, tx_stats.lost) },
	{ "tx_drop_rule", offsetof(struct zcnic_queue, tx_stats.ruled_out) },
};

static int zcnic_get_sset_count(struct net_device *dev, int set)
{
	return set == ETH_SS_STATS ? ARRAY_SIZE(zcnic_counters) : -EOPNOTSUPP;
}

static void zcnic_get_strings(struct net_device *dev, u32 set, u8 *data)
{
	int i;

	if (set == ETH_SS_STATS)
		for (i = 0; i < ARRAY_SIZE(zcnic_counters); i++)
			ethtool_puts(&data, zcnic_counters[i].name);
}

static void zcnic_get_ethtool_stats(struct net_device *dev,
				    struct ethtool_stats *stats, u64 *data)
{
	struct zcnic_port *port = netdev_priv(dev);
	int i, j;

	for (i = 0; i < ARRAY_SIZE(zcnic_counters); i++) {
		data[i] = 0;
		for (j = 0; j < dev->num_rx_queues; j++)
			data[i] += READ_ONCE(*(u64 *)((u8 *)&port->queue[j] +
						      zcnic_counters[i].offset));
	}
}

const struct ethtool_ops zcnic_ethtool_ops = {
	.supported_ring_params	= ETHTOOL_RING_USE_TCP_DATA_SPLIT |
				  ETHTOOL_RING_USE_HDS_THRS,
	.op_needs_rtnl		= ETHTOOL_OP_NEEDS_RTNL_SCHANNELS |
				  ETHTOOL_OP_NEEDS_RTNL_SRINGPARAM |
				  ETHTOOL_OP_NEEDS_RTNL_GLINK,
	.rxfh_per_ctx_key	= 1,
	.rxfh_max_num_contexts	= ZCNIC_RSS_CONTEXTS,
	.get_drvinfo		= zcnic_get_drvinfo,
	.get_link		= ethtool_op_get_link,
	.get_link_ksettings	= zcnic_get_link_ksettings,
	.get_ringparam		= zcnic_get_ringparam,
	.set_ringparam		= zcnic_set_ringparam,
	.get_channels		= zcnic_get_channels,
	.set_channels		= zcnic_set_channels,
	.get_rx_ring_count	= zcnic_get_rx_ring_count,
	.get_rxfh_key_size	= zcnic_get_rxfh_key_size,
	.get_rxfh_indir_size	= zcnic_get_rxfh_indir_size,
	.get_rxfh		= zcnic_get_rxfh,
	.set_rxfh		= zcnic_set_rxfh,
	.create_rxfh_context	= zcnic_create_rxfh_context,
	.modify_rxfh_context	= zcnic_modify_rxfh_context,
	.remove_rxfh_context	= zcnic_remove_rxfh_context,
	.get_rxfh_fields	= zcnic_get_rxfh_fields,
	.set_rxfh_fields	= zcnic_set_rxfh_fields,
	.get_rxnfc		= zcnic_get_rxnfc,
	.set_rxnfc		= zcnic_set_rxnfc,
	.get_ts_info		= ethtool_op_get_ts_info,
	.get_strings		= zcnic_get_strings,
	.get_sset_count		= zcnic_get_sset_count,
	.get_ethtool_stats	= zcnic_get_ethtool_stats,
};

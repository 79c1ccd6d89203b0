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
	strscpy(info->driver, zcnic_like->driver);
	if (zcnic_like->version)
		strscpy(info->version, zcnic_like->version);
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

	ring->rx_max_pending = zcnic_like->rx_max;
	ring->rx_mini_max_pending = zcnic_like->rx_extra_max;
	ring->rx_jumbo_max_pending = zcnic_like->rx_extra_max;
	ring->tx_max_pending = zcnic_like->tx_max;
	ring->rx_pending = port->ring.rx;
	ring->rx_mini_pending = port->ring.rx_mini;
	ring->rx_jumbo_pending = port->ring.rx_jumbo;
	ring->tx_pending = port->ring.tx;
	kring->rx_buf_len = port->ring.rx_buf_len;
	if (!zcnic_like->split_unset)
		kring->tcp_data_split = port->ring.split ?
					ETHTOOL_TCP_DATA_SPLIT_ENABLED :
					ETHTOOL_TCP_DATA_SPLIT_DISABLED;
	kring->hds_thresh = port->ring.hds_thresh;
	kring->hds_thresh_max = zcnic_like->hds_thresh_max;
	if (zcnic_like->get_ring)
		zcnic_like->get_ring(port, ring, kring);
}

static int zcnic_set_ringparam(struct net_device *dev,
			       struct ethtool_ringparam *ring,
			       struct kernel_ethtool_ringparam *kring,
			       struct netlink_ext_ack *extack)
{
	struct zcnic_port *port = netdev_priv(dev);
	struct zcnic_ring_settings old = port->ring;
	bool resized;
	int err;

	err = zcnic_like->set_ring(port, ring, kring, extack);
	if (err)
		return err;

	port->ring.rx = ring->rx_pending;
	port->ring.rx_mini = ring->rx_mini_pending;
	port->ring.rx_jumbo = ring->rx_jumbo_pending;
	port->ring.tx = ring->tx_pending;
	port->ring.rx_buf_len = kring->rx_buf_len;
	port->ring.hds_thresh = kring->hds_thresh;
	port->ring.split = zcnic_like->split(port, kring->tcp_data_split,
					     dev->features);

	err = zcnic_reconfigure(port, port->nqueues);
	if (err) {
		port->ring = old;
		return err;
	}

	resized = port->ring.rx != old.rx || port->ring.tx != old.tx;
	if (zcnic_like->update == ZCNIC_UPDATE_ALWAYS ||
	    (zcnic_like->update == ZCNIC_UPDATE_RESIZED && resized))
		netdev_update_features(dev);
	return 0;
}

static int zcnic_get_coalesce(struct net_device *dev,
			      struct ethtool_coalesce *coalesce,
			      struct kernel_ethtool_coalesce *kcoalesce,
			      struct netlink_ext_ack *extack)
{
	struct zcnic_port *port = netdev_priv(dev);

	*coalesce = port->coalesce;
	kcoalesce->use_cqe_mode_rx = port->cqe_mode_rx;
	kcoalesce->use_cqe_mode_tx = port->cqe_mode_tx;
	return 0;
}

/* The wire has no moderation: what is written is read again, and that is all. */
static int zcnic_set_coalesce(struct net_device *dev,
			      struct ethtool_coalesce *coalesce,
			      struct kernel_ethtool_coalesce *kcoalesce,
			      struct netlink_ext_ack *extack)
{
	struct zcnic_port *port = netdev_priv(dev);

	port->coalesce = *coalesce;
	port->cqe_mode_rx = kcoalesce->use_cqe_mode_rx;
	port->cqe_mode_tx = kcoalesce->use_cqe_mode_tx;
	return 0;
}

static void zcnic_get_pauseparam(struct net_device *dev,
				 struct ethtool_pauseparam *pause)
{
	struct zcnic_port *port = netdev_priv(dev);

	*pause = port->pause;
}

static int zcnic_set_pauseparam(struct net_device *dev,
				struct ethtool_pauseparam *pause)
{
	struct zcnic_port *port = netdev_priv(dev);

	if (pause->autoneg && zcnic_like->pause_no_autoneg)
		return -EINVAL;
	port->pause = *pause;
	return 0;
}

static u32 zcnic_get_priv_flags(struct net_device *dev)
{
	struct zcnic_port *port = netdev_priv(dev);

	return port->priv_flags;
}

static int zcnic_set_priv_flags(struct net_device *dev, u32 flags)
{
	struct zcnic_port *port = netdev_priv(dev);

	if (zcnic_like->set_flags)
		return zcnic_like->set_flags(port, flags);
	port->priv_flags = flags;
	return 0;
}

static void zcnic_get_channels(struct net_device *dev,
			       struct ethtool_channels *ch)
{
	struct zcnic_port *port = netdev_priv(dev);

	if (zcnic_like->channels != ZCNIC_CHANNELS_COMBINED) {
		ch->max_rx = dev->num_rx_queues;
		ch->max_tx = dev->num_tx_queues;
	}
	ch->max_other = zcnic_like->channels_other;
	ch->other_count = zcnic_like->channels_other;
	if (zcnic_like->channels == ZCNIC_CHANNELS_SEPARATE) {
		ch->rx_count = port->nqueues;
		ch->tx_count = port->nqueues;
	} else {
		ch->max_combined = dev->num_rx_queues;
		ch->combined_count = port->nqueues;
	}
}

static int zcnic_set_channels(struct net_device *dev,
			      struct ethtool_channels *ch)
{
	struct zcnic_port *port = netdev_priv(dev);
	int err = 0;

	if (zcnic_like->set_channels)
		err = zcnic_like->set_channels(port, ch);
	if (err)
		return err;
	/* A queue of the wire's has both directions. */
	if (ch->rx_count != ch->tx_count ||
	    ch->other_count != zcnic_like->channels_other)
		return -EINVAL;
	/* The core has checked the count against the RSS tables, the rules and
	 * the memory providers.
	 */
	return zcnic_reconfigure(port, ch->combined_count + ch->rx_count);
}

static u32 zcnic_get_rx_ring_count(struct net_device *dev)
{
	struct zcnic_port *port = netdev_priv(dev);

	return port->nqueues;
}

static u32 zcnic_get_rxfh_key_size(struct net_device *dev)
{
	return zcnic_like->rss_key;
}

static u32 zcnic_get_rxfh_indir_size(struct net_device *dev)
{
	return zcnic_like->rss_table;
}

static int zcnic_get_rxfh(struct net_device *dev,
			  struct ethtool_rxfh_param *rxfh)
{
	struct zcnic_port *port = netdev_priv(dev);
	const struct zcnic_rss *rss = &port->rss[rxfh->rss_context];
	int i;

	rxfh->hfunc = ETH_RSS_HASH_TOP;
	if (rxfh->indir)
		for (i = 0; i < zcnic_like->rss_table; i++)
			rxfh->indir[i] = rss->table[i];
	if (rxfh->key)
		memcpy(rxfh->key, rss->key, zcnic_like->rss_key);
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
		for (i = 0; i < zcnic_like->rss_table; i++)
			rss->table[i] = rxfh->indir[i];
	else if (zcnic_like->rss_key_resets)
		zcnic_rss_default(port, rss->table);
	if (rxfh->key)
		memcpy(rss->key, rxfh->key, zcnic_like->rss_key);
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
	memcpy(rss->key, port->rss[0].key, zcnic_like->rss_key);
	ctx->hfunc = ETH_RSS_HASH_TOP;
	if (!rxfh->indir)
		for (i = 0; i < zcnic_like->rss_table; i++)
			indir[i] = rss->table[i];
	if (!rxfh->key && zcnic_like->rss_context_key)
		memcpy(ethtool_rxfh_context_key(ctx), rss->key, zcnic_like->rss_key);
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

	for (i = 0; i < zcnic_like->rules; i++) {
		if (!port->rules[i].used)
			continue;
		if (n == cmd->rule_cnt)
			return -EMSGSIZE;
		locs[n++] = i;
	}
	cmd->rule_cnt = n;
	cmd->data = zcnic_like->rules;
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
		for (i = 0; i < zcnic_like->rules; i++)
			cmd->rule_cnt += port->rules[i].used;
		if (zcnic_like->rules_uncounted)
			return 0;
		cmd->data = zcnic_like->rules;
		if (zcnic_like->location != ZCNIC_LOC_GIVEN)
			cmd->data |= RX_CLS_LOC_SPECIAL;
		return 0;
	case ETHTOOL_GRXCLSRLALL:
		return zcnic_list_rules(port, cmd, locs);
	case ETHTOOL_GRXCLSRULE:
		if (cmd->fs.location >= zcnic_like->rules)
			return -EINVAL;
		rule = &port->rules[cmd->fs.location];
		if (!rule->used)
			return zcnic_like->rule_get_errno;
		cmd->fs = rule->fs;
		if (rule->fs.flow_type & FLOW_RSS)
			cmd->rss_context = rule->context;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/* Where a rule goes. */
static int zcnic_rule_location(const struct zcnic_port *port, u32 asked)
{
	int loc;

	switch (zcnic_like->location) {
	case ZCNIC_LOC_EITHER:
		if (!(asked & RX_CLS_LOC_SPECIAL))
			break;
		fallthrough;
	case ZCNIC_LOC_LOWEST:
		for (loc = 0; loc < zcnic_like->rules; loc++)
			if (!port->rules[loc].used)
				return loc;
		return -ENOSPC;
	case ZCNIC_LOC_HIGHEST:
		for (loc = zcnic_like->rules - 1; loc >= 0; loc--)
			if (!port->rules[loc].used)
				return loc;
		return -ENOSPC;
	case ZCNIC_LOC_GIVEN:
		break;
	}
	return asked < zcnic_like->rules ? asked : -EINVAL;
}

static int zcnic_insert_rule(struct zcnic_port *port,
			     struct ethtool_rxnfc *cmd)
{
	struct zcnic_rule *rule, old;
	int err, loc;

	err = zcnic_like->rule(port, &cmd->fs);
	if (!err)
		err = zcnic_rule_check(port, &cmd->fs);
	if (err)
		return err;
	loc = zcnic_rule_location(port, cmd->fs.location);
	if (loc < 0)
		return loc;

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

	if (loc >= zcnic_like->rules || !port->rules[loc].used)
		return zcnic_like->rule_del_errno;
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

/* Under a personality there is one more, which is no counter: the configured
 * header split (ETHTOOL_TCP_DATA_SPLIT_*), which no driver tells.
 */
#define ZCNIC_HDS_CONFIG	"hds_config"

static int zcnic_get_sset_count(struct net_device *dev, int set)
{
	switch (set) {
	case ETH_SS_STATS:
		return ARRAY_SIZE(zcnic_counters) + !!*zcnic_like->name;
	case ETH_SS_PRIV_FLAGS:
		return zcnic_like->flags ?: -EOPNOTSUPP;
	default:
		return -EOPNOTSUPP;
	}
}

static void zcnic_get_strings(struct net_device *dev, u32 set, u8 *data)
{
	int i;

	switch (set) {
	case ETH_SS_STATS:
		for (i = 0; i < ARRAY_SIZE(zcnic_counters); i++)
			ethtool_puts(&data, zcnic_counters[i].name);
		if (*zcnic_like->name)
			ethtool_puts(&data, ZCNIC_HDS_CONFIG);
		break;
	case ETH_SS_PRIV_FLAGS:
		for (i = 0; i < zcnic_like->flags; i++)
			ethtool_puts(&data, zcnic_like->flag_names[i]);
		break;
	}
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
	if (*zcnic_like->name)
		data[i] = dev->cfg->hds_config;
}

struct ethtool_ops zcnic_ethtool_ops = {
	.op_needs_rtnl		= ETHTOOL_OP_NEEDS_RTNL_SCHANNELS |
				  ETHTOOL_OP_NEEDS_RTNL_SRINGPARAM |
				  ETHTOOL_OP_NEEDS_RTNL_SPFLAGS |
				  ETHTOOL_OP_NEEDS_RTNL_GLINK,
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
	.get_rxfh_fields	= zcnic_get_rxfh_fields,
	.set_rxfh_fields	= zcnic_set_rxfh_fields,
	.get_rxnfc		= zcnic_get_rxnfc,
	.set_rxnfc		= zcnic_set_rxnfc,
	.get_ts_info		= ethtool_op_get_ts_info,
	.get_strings		= zcnic_get_strings,
	.get_sset_count		= zcnic_get_sset_count,
	.get_ethtool_stats	= zcnic_get_ethtool_stats,
};

/* Adds what only some drivers have. */
void zcnic_ethtool_ops_init(void)
{
	struct ethtool_ops *ops = &zcnic_ethtool_ops;

	ops->supported_ring_params = zcnic_like->ring_params;
	if (zcnic_like->rss_contexts) {
		ops->rxfh_per_ctx_key = zcnic_like->rss_context_key;
		ops->rxfh_max_num_contexts = zcnic_like->rss_contexts;
		ops->create_rxfh_context = zcnic_create_rxfh_context;
		ops->modify_rxfh_context = zcnic_modify_rxfh_context;
		ops->remove_rxfh_context = zcnic_remove_rxfh_context;
	}
	if (zcnic_like->coalesce_params) {
		ops->supported_coalesce_params = zcnic_like->coalesce_params;
		ops->get_coalesce = zcnic_get_coalesce;
		ops->set_coalesce = zcnic_set_coalesce;
	}
	if (zcnic_like->has_pause) {
		ops->get_pauseparam = zcnic_get_pauseparam;
		ops->set_pauseparam = zcnic_set_pauseparam;
	}
	if (zcnic_like->flags) {
		ops->get_priv_flags = zcnic_get_priv_flags;
		ops->set_priv_flags = zcnic_set_priv_flags;
	}
}

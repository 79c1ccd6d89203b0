// SPDX-License-Identifier: GPL-2.0
/* Personalities: what ports answer, refuse and limit as a real driver does.
 *
 * Only the settings are a driver's, the wire is the same under all. Every entry
 * names the function it repeats, as Linux 7.3.4 has it under
 * drivers/net/ethernet. Where the number is the device's and not the driver's,
 * it says so.
 */

#include <linux/ethtool.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>

#include "zcnic.h"

static char *like = "";
module_param(like, charp, 0444);
MODULE_PARM_DESC(like, "driver whose settings the ports have: mlx5, bnxt, bnxt-noagg, fbnic, gve or ice (default: their own)");

static bool zcnic_like_split(const struct zcnic_port *port, u8 config,
			     netdev_features_t features)
{
	return config == ETHTOOL_TCP_DATA_SPLIT_ENABLED;
}

/* Rules need ntuple. */
static int zcnic_like_rule(const struct zcnic_port *port,
			   const struct ethtool_rx_flow_spec *fs)
{
	return port->dev->features & NETIF_F_NTUPLE ? 0 : -EOPNOTSUPP;
}

/* Whether there is a rule for the same frames, other than at location. */
static bool zcnic_rule_again(const struct zcnic_port *port,
			     const struct ethtool_rx_flow_spec *fs,
			     u32 location)
{
	u32 i;

	for (i = 0; i < ZCNIC_RULES_MAX; i++) {
		const struct zcnic_rule *rule = &port->rules[i];

		if (rule->used && i != location &&
		    rule->fs.flow_type == fs->flow_type &&
		    !memcmp(&rule->fs.h_u, &fs->h_u, sizeof(fs->h_u)) &&
		    !memcmp(&rule->fs.m_u, &fs->m_u, sizeof(fs->m_u)))
			return true;
	}
	return false;
}

static int zcnic_own_set_ring(struct zcnic_port *port,
			      struct ethtool_ringparam *ring,
			      struct kernel_ethtool_ringparam *kring,
			      struct netlink_ext_ack *extack)
{
	if (ring->rx_pending < ZCNIC_RING_MIN ||
	    ring->tx_pending < ZCNIC_RING_MIN) {
		NL_SET_ERR_MSG_FMT_MOD(extack, "a ring has at least %d entries",
				       ZCNIC_RING_MIN);
		return -EINVAL;
	}

	ring->rx_pending = roundup_pow_of_two(ring->rx_pending);
	ring->tx_pending = roundup_pow_of_two(ring->tx_pending);
	return 0;
}

static int zcnic_own_validate_qcfg(struct net_device *dev,
				   struct netdev_queue_config *cfg,
				   struct netlink_ext_ack *extack)
{
	if (is_power_of_2(cfg->rx_page_size) &&
	    cfg->rx_page_size >= PAGE_SIZE &&
	    cfg->rx_page_size <= ZCNIC_RX_PAGE_MAX)
		return 0;

	NL_SET_ERR_MSG_FMT_MOD(extack,
			       "rx page size %u is not a power of 2 from %lu to %u",
			       cfg->rx_page_size, PAGE_SIZE, ZCNIC_RX_PAGE_MAX);
	return -EINVAL;
}

static const struct zcnic_like zcnic_own = {
	.name		= "",
	.driver		= KBUILD_MODNAME,
	.ring		= { .rx = 512, .tx = 512 },
	.rx_max		= ZCNIC_RING_MAX,
	.tx_max		= ZCNIC_RING_MAX,
	.hds_thresh_max	= 128,
	.ring_params	= ETHTOOL_RING_USE_TCP_DATA_SPLIT |
			  ETHTOOL_RING_USE_HDS_THRS,
	.on		= NETIF_F_GRO_HW | NETIF_F_NTUPLE,
	.rss_key	= 40,
	.rss_table	= 128,
	.rss_contexts	= ZCNIC_RSS_CONTEXTS,
	.rss_context_key = true,
	.location	= ZCNIC_LOC_EITHER,
	.rules		= 256,
	.rule_get_errno	= -ENOENT,
	.rule_del_errno	= -ENOENT,
	.rx_page_max	= ZCNIC_RX_PAGE_MAX,
	.split		= zcnic_like_split,
	.set_ring	= zcnic_own_set_ring,
	.rule		= zcnic_like_rule,
	.validate_qcfg	= zcnic_own_validate_qcfg,
};

/* mellanox/mlx5/core */

enum {
	MLX5_RX_CQE_COMPRESS	= BIT(2),
	MLX5_RX_STRIDING_RQ	= BIT(3),
	MLX5_TX_PORT_TS		= BIT(7),
};

/* mlx5e_priv_flags, en_ethtool.c */
static const char mlx5_flags[][ETH_GSTRING_LEN] = {
	"rx_cqe_moder", "tx_cqe_moder", "rx_cqe_compress", "rx_striding_rq",
	"rx_no_csum_complete", "xdp_tx_mpwqe", "skb_tx_mpwqe", "tx_port_ts",
};

/* Headers are apart when HW GRO is on, whatever the setting:
 * set_feature_hw_gro(), en_main.c, which chooses SHAMPO.
 */
static bool mlx5_split(const struct zcnic_port *port, u8 config,
		       netdev_features_t features)
{
	return features & NETIF_F_GRO_HW;
}

/* mlx5e_ethtool_set_tcp_data_split(), mlx5e_ethtool_set_ringparam(),
 * en_ethtool.c
 */
static int mlx5_set_ring(struct zcnic_port *port,
			 struct ethtool_ringparam *ring,
			 struct kernel_ethtool_ringparam *kring,
			 struct netlink_ext_ack *extack)
{
	struct net_device *dev = port->dev;

	if (kring->tcp_data_split == ETHTOOL_TCP_DATA_SPLIT_ENABLED &&
	    !(dev->features & NETIF_F_GRO_HW)) {
		NL_SET_ERR_MSG(extack,
			       "mlx5_core: TCP-data-split is not supported when GRO HW is disabled");
		return -EINVAL;
	}
	/* On the way to "off" only, not to "auto". */
	if (kring->tcp_data_split == ETHTOOL_TCP_DATA_SPLIT_DISABLED &&
	    dev->cfg->hds_config == ETHTOOL_TCP_DATA_SPLIT_ENABLED)
		netdev_update_features(dev);

	if (ring->rx_pending < 16) {
		NL_SET_ERR_MSG_FMT(extack, "mlx5_core: rx (%d) < min (%d)",
				   ring->rx_pending, 16);
		return -EINVAL;
	}
	if (ring->tx_pending < 64) {
		NL_SET_ERR_MSG_FMT(extack, "mlx5_core: tx (%d) < min (%d)",
				   ring->tx_pending, 64);
		return -EINVAL;
	}
	ring->rx_pending = roundup_pow_of_two(ring->rx_pending);
	ring->tx_pending = roundup_pow_of_two(ring->tx_pending);
	return 0;
}

/* mlx5e_fix_features(), en_main.c */
static netdev_features_t mlx5_fix_features(const struct zcnic_port *port,
					   netdev_features_t features)
{
	if (!(port->priv_flags & MLX5_RX_STRIDING_RQ))
		features &= ~(NETIF_F_LRO | NETIF_F_GRO_HW);
	if (port->priv_flags & MLX5_RX_CQE_COMPRESS)
		features &= ~(NETIF_F_RXHASH | NETIF_F_GRO_HW);
	if (port->dev->cfg_pending->hds_config == ETHTOOL_TCP_DATA_SPLIT_ENABLED)
		features |= NETIF_F_GRO_HW;
	return features;
}

/* set_pflag_rx_striding_rq(), mlx5e_modify_rx_cqe_compression_locked(),
 * en_ethtool.c
 */
static int mlx5_flag_refused(const struct zcnic_port *port, u32 flag, bool on)
{
	netdev_features_t features = port->dev->features;

	if (flag == MLX5_RX_STRIDING_RQ && !on &&
	    features & (NETIF_F_LRO | NETIF_F_GRO_HW))
		return -EINVAL;
	if (flag == MLX5_RX_CQE_COMPRESS && features & NETIF_F_GRO_HW)
		return -EINVAL;
	return 0;
}

/* mlx5e_set_priv_flags(), en_ethtool.c: one after the other, up to the first
 * that is refused.
 */
static int mlx5_set_flags(struct zcnic_port *port, u32 flags)
{
	int err = 0, i;

	for (i = 0; i < ARRAY_SIZE(mlx5_flags); i++) {
		if (!((flags ^ port->priv_flags) & BIT(i)))
			continue;
		err = mlx5_flag_refused(port, BIT(i), flags & BIT(i));
		if (err)
			break;
		port->priv_flags ^= BIT(i);
	}
	netdev_update_features(port->dev);
	return err;
}

/* validate_flow(), en_fs_ethtool.c */
static int mlx5_rule(const struct zcnic_port *port,
		     const struct ethtool_rx_flow_spec *fs)
{
	return fs->location >= 1024 ? -ENOSPC : 0;
}

/* mlx5e_queue_mem_alloc(), en_main.c */
static int mlx5_restart(const struct zcnic_port *port, int idx)
{
	if (!netif_running(port->dev))
		return -ENODEV;
	if (port->priv_flags & MLX5_TX_PORT_TS) {
		netdev_err(port->dev,
			   "Cloning channels with Port/rx PTP, XDP or HTB is not supported\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

/* mlx5e_queue_validate_qcfg(), en_main.c: the reason goes to the kernel log. */
static int mlx5_validate_qcfg(struct net_device *dev,
			      struct netdev_queue_config *cfg,
			      struct netlink_ext_ack *extack)
{
	if (!is_power_of_2(cfg->rx_page_size))
		return -EINVAL;
	if (cfg->rx_page_size < PAGE_SIZE ||
	    cfg->rx_page_size > ZCNIC_RX_PAGE_MAX)
		return -ERANGE;
	return 0;
}

static const struct zcnic_like zcnic_mlx5 = {
	.name		= "mlx5",
	/* mlx5e_ethtool_get_drvinfo(), en_ethtool.c */
	.driver		= "mlx5_core",
	/* mlx5e_build_nic_params(), en_main.c: MLX5E_PARAMS_DEFAULT_LOG_*_SIZE */
	.ring		= { .rx = 1024, .tx = 1024 },
	/* mlx5e_ethtool_get_ringparam(), en_ethtool.c, which leaves
	 * tcp_data_split alone
	 */
	.rx_max		= 8192,
	.tx_max		= 8192,
	.hds_thresh_max	= 0,
	.split_unset	= true,
	/* mlx5e_ethtool_ops, en_ethtool.c */
	.ring_params	= ETHTOOL_RING_USE_TCP_DATA_SPLIT |
			  ETHTOOL_RING_USE_HDS_THRS,
	/* mlx5e_ethtool_set_ringparam(), en_ethtool.c */
	.update		= ZCNIC_UPDATE_RESIZED,
	/* mlx5e_build_nic_netdev(), en_main.c */
	.off		= NETIF_F_GRO_HW | NETIF_F_LRO | NETIF_F_NTUPLE,
	/* mlx5e_get_rxfh_key_size(), en_ethtool.c; mlx5e_rqt_size(), en/rqt.c,
	 * for up to 64 channels; MLX5E_MAX_NUM_RSS, en/rx_res.h
	 */
	.rss_key	= 40,
	.rss_table	= 256,
	.rss_contexts	= 16,
	.rss_context_key = true,
	/* MAX_NUM_OF_ETHTOOL_RULES, mlx5e_ethtool_get_rxnfc(),
	 * mlx5e_ethtool_get_flow(), mlx5e_ethtool_flow_remove(),
	 * en_fs_ethtool.c: rules are replaced, not refused, and have nothing
	 * to do with ntuple, which is aRFS: set_feature_arfs(), en_main.c
	 */
	.location	= ZCNIC_LOC_GIVEN,
	.rules		= 1024,
	.rules_stay	= true,
	.rules_uncounted = true,
	.rule_get_errno	= -ENOENT,
	.rule_del_errno	= -ENOENT,
	/* mlx5e_ethtool_get_channels(), en_ethtool.c */
	.channels	= ZCNIC_CHANNELS_COMBINED,
	/* mlx5e_ethtool_ops, en_ethtool.c; mlx5e_build_nic_params(), en_main.c */
	.coalesce_params = ETHTOOL_COALESCE_USECS |
			   ETHTOOL_COALESCE_MAX_FRAMES |
			   ETHTOOL_COALESCE_USE_ADAPTIVE |
			   ETHTOOL_COALESCE_USE_CQE,
	.coalesce	= {
		.rx_coalesce_usecs		= 8,
		.rx_max_coalesced_frames	= 128,
		.use_adaptive_rx_coalesce	= 1,
		.tx_coalesce_usecs		= 8,
		.tx_max_coalesced_frames	= 128,
		.use_adaptive_tx_coalesce	= 1,
	},
	.cqe_mode_rx	= true,
	/* mlx5e_ethtool_set_pauseparam(), en_ethtool.c; on is the device's */
	.has_pause	= true,
	.pause_no_autoneg = true,
	.pause		= { .rx_pause = 1, .tx_pause = 1 },
	/* mlx5e_build_nic_params(), en_main.c: rx_cqe_moder, rx_striding_rq,
	 * xdp_tx_mpwqe and skb_tx_mpwqe
	 */
	.flag_names	= mlx5_flags,
	.flags		= ARRAY_SIZE(mlx5_flags),
	.flags_on	= BIT(0) | MLX5_RX_STRIDING_RQ | BIT(5) | BIT(6),
	/* mlx5e_queue_mgmt_ops, en_main.c; mlx5e_mpwrq_max_page_size(),
	 * en/params.c, would take twice what the wire can
	 */
	.rx_page_max	= ZCNIC_RX_PAGE_MAX,
	.split		= mlx5_split,
	.set_ring	= mlx5_set_ring,
	.fix_features	= mlx5_fix_features,
	.rule		= mlx5_rule,
	.restart	= mlx5_restart,
	.validate_qcfg	= mlx5_validate_qcfg,
	.set_flags	= mlx5_set_flags,
};

/* broadcom/bnxt */

#define BNXT_RX_MAX		8191	/* BNXT_MAX_RX_DESC_CNT */
#define BNXT_RX_MAX_AGG		2047	/* BNXT_MAX_RX_DESC_CNT_JUM_ENA */
#define BNXT_JUMBO_MAX		8191	/* BNXT_MAX_RX_JUM_DESC_CNT */
#define BNXT_RX_PAGE_MAX	SZ_32K	/* BNXT_MAX_RX_PAGE_SIZE */

/* A frame and what the stack wants around it do not fit into a page:
 * bnxt_set_ring_params(), bnxt.c
 */
static bool bnxt_jumbo(const struct zcnic_port *port)
{
	u32 frame = SKB_DATA_ALIGN(port->dev->mtu + ETH_HLEN + NET_IP_ALIGN + 8);

	return frame + XDP_PACKET_HEADROOM +
	       SKB_DATA_ALIGN(sizeof(struct skb_shared_info)) > PAGE_SIZE;
}

/* BNXT_FLAG_AGG_RINGS: HW GRO, LRO, header split or a large MTU;
 * bnxt_set_ring_params(), bnxt_set_features(), bnxt.c
 */
static bool bnxt_split(const struct zcnic_port *port, u8 config,
		       netdev_features_t features)
{
	return config == ETHTOOL_TCP_DATA_SPLIT_ENABLED ||
	       features & (NETIF_F_GRO_HW | NETIF_F_LRO) || bnxt_jumbo(port);
}

/* BNXT_FLAG_NO_AGG_RINGS: bnxt_set_ring_params(), bnxt.c */
static bool bnxt_noagg_split(const struct zcnic_port *port, u8 config,
			     netdev_features_t features)
{
	return config == ETHTOOL_TCP_DATA_SPLIT_ENABLED;
}

/* bnxt_get_ringparam(), bnxt_ethtool.c; the aggregation ring has four buffers
 * for each of the receive ring: bnxt_set_ring_params(), bnxt.c
 */
static void bnxt_get_ring(const struct zcnic_port *port,
			  struct ethtool_ringparam *ring,
			  struct kernel_ethtool_ringparam *kring)
{
	ring->rx_mini_max_pending = 0;
	ring->rx_jumbo_max_pending = 0;
	if (!port->ring.split)
		return;
	ring->rx_max_pending = BNXT_RX_MAX_AGG;
	ring->rx_jumbo_max_pending = BNXT_JUMBO_MAX;
	ring->rx_jumbo_pending = min(ring->rx_pending * 4, BNXT_JUMBO_MAX);
}

/* bnxt_set_ringparam(), bnxt_ethtool.c; bnxt_set_ring_params(), bnxt.c */
static int bnxt_set_ring(struct zcnic_port *port,
			 struct ethtool_ringparam *ring,
			 struct kernel_ethtool_ringparam *kring,
			 struct netlink_ext_ack *extack)
{
	struct net_device *dev = port->dev;

	if (ring->tx_pending < MAX_SKB_FRAGS + 2)
		return -EINVAL;
	if (kring->tcp_data_split == ETHTOOL_TCP_DATA_SPLIT_DISABLED &&
	    dev->cfg->hds_config != ETHTOOL_TCP_DATA_SPLIT_DISABLED)
		return -EINVAL;

	ring->rx_jumbo_pending = 0;	/* it follows from the others */
	if (ring->rx_pending > BNXT_RX_MAX_AGG &&
	    zcnic_like->split(port, kring->tcp_data_split, dev->features)) {
		netdev_warn(dev, "RX ring size reduced from %d to %d because the jumbo ring is now enabled\n",
			    ring->rx_pending, BNXT_RX_MAX_AGG);
		ring->rx_pending = BNXT_RX_MAX_AGG;
	}
	return 0;
}

/* bnxt_fix_features(), bnxt.c */
static netdev_features_t bnxt_fix_features(const struct zcnic_port *port,
					   netdev_features_t features)
{
	if (!(features & NETIF_F_GRO))
		features &= ~NETIF_F_GRO_HW;
	if (features & NETIF_F_GRO_HW)
		features &= ~NETIF_F_LRO;
	return features;
}

/* bnxt_srxclsrlins(), bnxt_add_ntuple_cls_rule(), bnxt_ethtool.c */
static int bnxt_rule(const struct zcnic_port *port,
		     const struct ethtool_rx_flow_spec *fs)
{
	if (!netif_running(port->dev))
		return -EAGAIN;
	if (!(port->dev->features & NETIF_F_NTUPLE))
		return -EPERM;
	if (fs->location != RX_CLS_LOC_ANY)
		return -EINVAL;
	return zcnic_rule_again(port, fs, fs->location) ? -EEXIST : 0;
}

/* bnxt_queue_mem_alloc(), bnxt.c */
static int bnxt_restart(const struct zcnic_port *port, int idx)
{
	return netif_running(port->dev) ? 0 : -ENETDOWN;
}

/* bnxt_validate_qcfg(), bnxt.c */
static int bnxt_validate_qcfg(struct net_device *dev,
			      struct netdev_queue_config *cfg,
			      struct netlink_ext_ack *extack)
{
	if (!is_power_of_2(cfg->rx_page_size) ||
	    cfg->rx_page_size < PAGE_SIZE ||
	    cfg->rx_page_size > BNXT_RX_PAGE_MAX)
		return -ERANGE;
	return 0;
}

#define BNXT_COMMON							\
	/* bnxt_get_drvinfo(), bnxt_ethtool.c */			\
	.driver		= "bnxt_en",					\
	/* bnxt_get_ringparam(), bnxt_ethtool.c */			\
	.rx_max		= BNXT_RX_MAX,					\
	.tx_max		= 2047,						\
	.hds_thresh_max	= 1023,						\
	/* bnxt_ethtool_ops, bnxt_ethtool.c */				\
	.ring_params	= ETHTOOL_RING_USE_TCP_DATA_SPLIT |		\
			  ETHTOOL_RING_USE_HDS_THRS,			\
	/* bnxt_set_ringparam(), bnxt_ethtool.c */			\
	.update		= ZCNIC_UPDATE_ALWAYS,				\
	/* HW_HASH_KEY_SIZE; bnxt_get_rxfh_indir_size(),		\
	 * bnxt_ethtool.c, with BNXT_RSS_CAP_LARGE_RSS_CTX;		\
	 * BNXT_MAX_ETH_RSS_CTX is 32, more than the wire has		\
	 */								\
	.rss_key	= 40,						\
	.rss_table	= 512,						\
	.rss_contexts	= ZCNIC_RSS_CONTEXTS,				\
	.rss_context_key = true,					\
	/* bnxt_get_rxnfc(), bnxt_grxclsrule(), bnxt_srxclsrldel(),	\
	 * bnxt_ethtool.c; BNXT_MAX_FLTR is 5120, more than the wire has \
	 */								\
	.location	= ZCNIC_LOC_LOWEST,				\
	.rules		= ZCNIC_RULES_MAX,				\
	.rule_get_errno	= -EINVAL,					\
	.rule_del_errno	= -ENOENT,					\
	/* bnxt_get_channels(), bnxt_ethtool.c */			\
	.channels	= ZCNIC_CHANNELS_ALL,				\
	/* bnxt_ethtool_ops, bnxt_ethtool.c; bnxt_init_dflt_coal(), bnxt.c */ \
	.coalesce_params = ETHTOOL_COALESCE_USECS |			\
			   ETHTOOL_COALESCE_MAX_FRAMES |		\
			   ETHTOOL_COALESCE_USECS_IRQ |			\
			   ETHTOOL_COALESCE_MAX_FRAMES_IRQ |		\
			   ETHTOOL_COALESCE_STATS_BLOCK_USECS |		\
			   ETHTOOL_COALESCE_USE_ADAPTIVE_RX |		\
			   ETHTOOL_COALESCE_USE_CQE,			\
	.coalesce	= {						\
		.rx_coalesce_usecs		= 10,			\
		.rx_max_coalesced_frames	= 15,			\
		.rx_coalesce_usecs_irq		= 1,			\
		.rx_max_coalesced_frames_irq	= 1,			\
		.tx_coalesce_usecs		= 28,			\
		.tx_max_coalesced_frames	= 30,			\
		.tx_coalesce_usecs_irq		= 2,			\
		.tx_max_coalesced_frames_irq	= 2,			\
		.stats_block_coalesce_usecs	= 1000000,		\
	},								\
	/* bnxt_get_pauseparam(), bnxt_ethtool.c; on is the device's */	\
	.has_pause	= true,						\
	.pause		= { .autoneg = 1, .rx_pause = 1, .tx_pause = 1 }, \
	/* bnxt_queue_mgmt_ops, bnxt.c */				\
	.rx_page_max	= BNXT_RX_PAGE_MAX,				\
	.get_ring	= bnxt_get_ring,				\
	.set_ring	= bnxt_set_ring,				\
	.fix_features	= bnxt_fix_features,				\
	.rule		= bnxt_rule,					\
	.restart	= bnxt_restart,					\
	.validate_qcfg	= bnxt_validate_qcfg

/* BNXT_DEFAULT_RX_RING_SIZE, BNXT_DEFAULT_TX_RING_SIZE, bnxt.h;
 * bnxt_init_ring_params(), bnxt.c: 1 KiB less what the stack wants of it, on
 * x86 with MAX_SKB_FRAGS of 17
 */
#define BNXT_RING		.rx = 511, .tx = 511, .hds_thresh = 640

static const struct zcnic_like zcnic_bnxt = {
	.name		= "bnxt",
	.ring		= { BNXT_RING, .split = true },
	/* bnxt_init_one(), bnxt_set_dflt_rfs(), bnxt.c */
	.on		= NETIF_F_GRO_HW | NETIF_F_NTUPLE,
	.off		= NETIF_F_LRO,
	.split		= bnxt_split,
	BNXT_COMMON,
};

static const struct zcnic_like zcnic_bnxt_noagg = {
	.name		= "bnxt-noagg",
	.ring		= { BNXT_RING },
	/* bnxt_get_dflt_rings(), bnxt.c, when rings are short: no LRO and no
	 * HW GRO
	 */
	.on		= NETIF_F_NTUPLE,
	.split		= bnxt_noagg_split,
	BNXT_COMMON,
};

/* meta/fbnic */

/* fbnic_get_ringparam(), fbnic_ethtool.c */
static bool fbnic_split(const struct zcnic_port *port, u8 config,
			netdev_features_t features)
{
	return true;
}

/* fbnic_set_ringparam(), fbnic_ethtool.c */
static int fbnic_set_ring(struct zcnic_port *port,
			  struct ethtool_ringparam *ring,
			  struct kernel_ethtool_ringparam *kring,
			  struct netlink_ext_ack *extack)
{
	u32 *sizes[] = { &ring->rx_pending, &ring->rx_mini_pending,
			 &ring->rx_jumbo_pending, &ring->tx_pending };
	int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		*sizes[i] = *sizes[i] ? roundup_pow_of_two(*sizes[i]) : 0;
		if (*sizes[i] < 64) {
			NL_SET_ERR_MSG(extack,
				       "fbnic: requested ring size too small");
			return -EINVAL;
		}
	}
	if (kring->tcp_data_split == ETHTOOL_TCP_DATA_SPLIT_DISABLED) {
		NL_SET_ERR_MSG(extack, "fbnic: Cannot disable TCP data split");
		return -EINVAL;
	}
	return 0;
}

/* fbnic_set_cls_rule_ins(), fbnic_ethtool.c */
static int fbnic_rule(const struct zcnic_port *port,
		      const struct ethtool_rx_flow_spec *fs)
{
	return fs->location == RX_CLS_LOC_ANY ? 0 : -EINVAL;
}

static const struct zcnic_like zcnic_fbnic = {
	.name		= "fbnic",
	/* fbnic_get_drvinfo(), fbnic_ethtool.c, leaves it to the core */
	.driver		= "fbnic",
	/* fbnic_netdev_alloc(), fbnic_netdev.c; fbnic_txrx.h */
	.ring		= { .rx = 1024, .rx_mini = 256, .rx_jumbo = 256,
			    .tx = 1024, .hds_thresh = 1536, .split = true },
	/* fbnic_get_ringparam(), fbnic_ethtool.c: FBNIC_QUEUE_SIZE_MAX and
	 * FBNIC_HDS_THRESH_MAX; the wire's rings stay at ZCNIC_RING_MAX
	 */
	.rx_max		= SZ_64K,
	.rx_extra_max	= SZ_64K,
	.tx_max		= SZ_64K,
	.hds_thresh_max	= 3584,
	/* fbnic_ethtool_ops, fbnic_ethtool.c */
	.ring_params	= ETHTOOL_RING_USE_TCP_DATA_SPLIT |
			  ETHTOOL_RING_USE_HDS_THRS,
	/* fbnic_netdev_alloc(), fbnic_netdev.c: no HW GRO, no LRO, and ntuple
	 * is not among hw_features
	 */
	.fixed		= NETIF_F_NTUPLE,
	/* FBNIC_RPC_RSS_KEY_BYTE_LEN, FBNIC_RPC_RSS_TBL_SIZE and
	 * FBNIC_RPC_RSS_TBL_COUNT, fbnic_csr.h
	 */
	.rss_key	= 54,
	.rss_table	= 256,
	.rss_contexts	= 2,
	/* fbnic_cls_rule_any_loc(), fbnic_get_cls_rule(),
	 * fbnic_set_cls_rule_del(), fbnic_ethtool.c;
	 * FBNIC_RPC_ACT_TBL_NFC_ENTRIES, fbnic_rpc.h
	 */
	.location	= ZCNIC_LOC_HIGHEST,
	.rules		= 48,
	.rule_get_errno	= -EINVAL,
	.rule_del_errno	= -EINVAL,
	/* fbnic_get_channels(), fbnic_ethtool.c; FBNIC_NON_NAPI_VECTORS */
	.channels	= ZCNIC_CHANNELS_ALL,
	.channels_other	= 2,
	/* fbnic_ethtool_ops, fbnic_ethtool.c; fbnic_netdev_alloc(),
	 * fbnic_netdev.c
	 */
	.coalesce_params = ETHTOOL_COALESCE_USECS |
			   ETHTOOL_COALESCE_RX_MAX_FRAMES,
	.coalesce	= {
		.rx_coalesce_usecs	= 30,
		.tx_coalesce_usecs	= 35,
	},
	/* fbnic_phylink_get_pauseparam(), fbnic_phylink.c */
	.has_pause	= true,
	.pause		= { .autoneg = 1 },
	/* fbnic_queue_mgmt_ops, fbnic_txrx.c: no supported_params, and queues
	 * restart with the link down too
	 */
	.rx_page_max	= 0,
	.split		= fbnic_split,
	.set_ring	= fbnic_set_ring,
	.rule		= fbnic_rule,
};

/* google/gve, as on devices with DQO_RDA queues */

/* gve_priv_flags of gve_ethtool.c */
static const char gve_flags[][ETH_GSTRING_LEN] = { "report-stats" };

/* gve_set_hsplit_config(), gve_main.c: "auto" changes nothing */
static bool gve_split(const struct zcnic_port *port, u8 config,
		      netdev_features_t features)
{
	if (config == ETHTOOL_TCP_DATA_SPLIT_UNKNOWN)
		return port->ring.split;
	return config == ETHTOOL_TCP_DATA_SPLIT_ENABLED;
}

/* gve_set_rx_buf_len_config(), gve_main.c; gve_set_ring_sizes_config() and
 * gve_validate_req_ring_size(), gve_ethtool.c, whose reasons go to the kernel
 * log
 */
static int gve_set_ring(struct zcnic_port *port,
			struct ethtool_ringparam *ring,
			struct kernel_ethtool_ringparam *kring,
			struct netlink_ext_ack *extack)
{
	const struct zcnic_ring_settings *is = &port->ring;

	if (kring->rx_buf_len != is->rx_buf_len &&
	    kring->rx_buf_len != SZ_2K && kring->rx_buf_len != SZ_4K) {
		NL_SET_ERR_MSG(extack,
			       "gve: Rx buf len can only be 2048 or 4096");
		return -EINVAL;
	}
	if (ring->tx_pending == is->tx && ring->rx_pending == is->rx)
		return 0;
	if (ring->tx_pending < 256 || ring->rx_pending < 512 ||
	    !is_power_of_2(ring->tx_pending) ||
	    !is_power_of_2(ring->rx_pending))
		return -EINVAL;
	return 0;
}

/* gve_set_rxnfc(), gve_ethtool.c; gve_generate_flow_rule(), gve_flow_rule.c.
 * A location that is none, or taken, is the device's to refuse:
 * gve_adminq_parse_err(), gve_adminq.c
 */
static int gve_rule(const struct zcnic_port *port,
		    const struct ethtool_rx_flow_spec *fs)
{
	u32 type = fs->flow_type & ~(FLOW_EXT | FLOW_MAC_EXT | FLOW_RSS);

	if (!(port->dev->features & NETIF_F_NTUPLE))
		return -EOPNOTSUPP;
	if (fs->ring_cookie == RX_CLS_FLOW_DISC)
		return -EOPNOTSUPP;
	if (type == IPV4_USER_FLOW || type == IPV6_USER_FLOW)
		return -EINVAL;
	if (fs->location >= zcnic_like->rules ||
	    port->rules[fs->location].used)
		return -EINVAL;
	return 0;
}

/* gve_set_channels(), gve_ethtool.c */
static int gve_set_channels(const struct zcnic_port *port,
			    const struct ethtool_channels *ch)
{
	return ch->combined_count || !ch->rx_count || !ch->tx_count ? -EINVAL :
								      0;
}

/* gve_rx_queue_mem_alloc(), gve_rx_queue_stop(), gve_main.c */
static int gve_restart(const struct zcnic_port *port, int idx)
{
	if (!netif_running(port->dev))
		return -EAGAIN;
	return idx ? 0 : -ERANGE;
}

static const struct zcnic_like zcnic_gve = {
	.name		= "gve",
	/* gve_get_drvinfo(), gve_ethtool.c */
	.driver		= "gve",
	.version	= "1.0.0",
	/* gve_set_default_desc_cnt(), gve_main.c, and maxima: the device's;
	 * GVE_DEFAULT_RX_BUFFER_SIZE, gve.h
	 */
	.ring		= { .rx = 1024, .tx = 1024, .rx_buf_len = SZ_2K },
	.rx_max		= 4096,
	.tx_max		= 4096,
	/* gve_ethtool_ops, gve_ethtool.c */
	.ring_params	= ETHTOOL_RING_USE_TCP_DATA_SPLIT |
			  ETHTOOL_RING_USE_RX_BUF_LEN,
	/* gve_init_priv(), gve_main.c; gve_adminq.c */
	.on		= NETIF_F_GRO_HW,
	.off		= NETIF_F_NTUPLE,
	/* gve_get_rxfh_key_size(), gve_get_rxfh_indir_size(), gve_ethtool.c:
	 * GVE_RSS_KEY_SIZE and GVE_RSS_INDIR_SIZE, gve_adminq.h
	 */
	.rss_key	= 40,
	.rss_table	= 128,
	/* gve_get_rxnfc(), gve_ethtool.c; gve_get_flow_rule_entry(),
	 * gve_del_flow_rule(), gve_flow_rule.c; how many is the device's
	 */
	.location	= ZCNIC_LOC_GIVEN,
	.rules		= 256,
	.rule_get_errno	= -EINVAL,
	.rule_del_errno	= -EINVAL,
	/* gve_get_channels(), gve_ethtool.c */
	.channels	= ZCNIC_CHANNELS_SEPARATE,
	/* gve_ethtool_ops, gve_ethtool.c; gve_init_priv(), gve_main.c */
	.coalesce_params = ETHTOOL_COALESCE_USECS,
	.coalesce	= {
		.rx_coalesce_usecs	= 20,
		.tx_coalesce_usecs	= 50,
	},
	/* gve_get_priv_flags(), gve_ethtool.c */
	.flag_names	= gve_flags,
	.flags		= ARRAY_SIZE(gve_flags),
	/* gve_queue_mgmt_ops, gve_main.c: no supported_params */
	.rx_page_max	= 0,
	.split		= gve_split,
	.set_ring	= gve_set_ring,
	.rule		= gve_rule,
	.set_channels	= gve_set_channels,
	.restart	= gve_restart,
};

/* intel/ice */

/* ice_gstrings_priv_flags, ice_ethtool.c */
static const char ice_flags[][ETH_GSTRING_LEN] = {
	"link-down-on-close", "fw-lldp-agent", "vf-true-promisc-support",
	"mdd-auto-reset-vf", "vf-vlan-pruning",
};

/* ice_set_ringparam(), ice_ethtool.c: the reason goes to the kernel log */
static int ice_set_ring(struct zcnic_port *port,
			struct ethtool_ringparam *ring,
			struct kernel_ethtool_ringparam *kring,
			struct netlink_ext_ack *extack)
{
	if (ring->rx_pending < 64 || ring->tx_pending < 64)
		return -EINVAL;
	ring->rx_pending = ALIGN(ring->rx_pending, 32);
	ring->tx_pending = ALIGN(ring->tx_pending, 32);
	return 0;
}

/* ice_add_fdir_ethtool(), ice_ethtool_fdir.c */
static int ice_rule(const struct zcnic_port *port,
		    const struct ethtool_rx_flow_spec *fs)
{
	if (!(port->dev->features & NETIF_F_NTUPLE))
		return -EOPNOTSUPP;
	if (fs->location >= zcnic_like->rules)
		return -ENOSPC;
	return zcnic_rule_again(port, fs, fs->location) ? -EINVAL : 0;
}

/* ice_set_channels(), ice_ethtool.c */
static int ice_set_channels(const struct zcnic_port *port,
			    const struct ethtool_channels *ch)
{
	u32 i;

	for (i = 0; i < ZCNIC_RULES_MAX; i++)
		if (port->rules[i].used)
			return -EOPNOTSUPP;
	return 0;
}

static const struct zcnic_like zcnic_ice = {
	.name		= "ice",
	/* ice_get_drvinfo(), ice_ethtool.c */
	.driver		= "ice",
	/* ICE_DFLT_NUM_RX_DESC, ICE_DFLT_NUM_TX_DESC, ice.h */
	.ring		= { .rx = 2048, .tx = 256 },
	/* ice_get_ringparam(), ice_ethtool.c: ICE_MAX_NUM_DESC_E810 */
	.rx_max		= 8160,
	.tx_max		= 8160,
	/* ice_ethtool_ops, ice_ethtool.c */
	.ring_params	= ETHTOOL_RING_USE_TCP_DATA_SPLIT,
	/* ice_set_netdev_features(), ice_main.c: no HW GRO, no LRO */
	.on		= NETIF_F_NTUPLE,
	/* ice_get_rxfh_key_size(), ice_set_rxfh(), ice_ethtool.c;
	 * ICE_GET_SET_RSS_KEY_EXTEND_KEY_SIZE; ICE_LUT_PF_SIZE is 2048, more
	 * than the wire has
	 */
	.rss_key	= 52,
	.rss_table	= 512,
	.rss_key_resets	= true,
	/* ice_get_rxnfc(), ice_ethtool.c; ice_get_ethtool_fdir_entry(),
	 * ice_fdir_update_list_entry(), ice_ethtool_fdir.c; how many is the
	 * device's
	 */
	.location	= ZCNIC_LOC_GIVEN,
	.rules		= ZCNIC_RULES_MAX,
	.rule_get_errno	= -EINVAL,
	.rule_del_errno	= -ENOENT,
	/* ice_get_channels(), ice_ethtool.c */
	.channels	= ZCNIC_CHANNELS_ALL,
	.channels_other	= 1,
	/* ice_ethtool_ops, ice_ethtool.c; ICE_DFLT_RX_ITR, ice_txrx.h */
	.coalesce_params = ETHTOOL_COALESCE_USECS |
			   ETHTOOL_COALESCE_USE_ADAPTIVE |
			   ETHTOOL_COALESCE_RX_USECS_HIGH,
	.coalesce	= {
		.rx_coalesce_usecs		= 50,
		.use_adaptive_rx_coalesce	= 1,
		.tx_coalesce_usecs		= 50,
		.use_adaptive_tx_coalesce	= 1,
	},
	/* ice_get_pauseparam(), ice_ethtool.c; what it is is the device's */
	.has_pause	= true,
	.pause		= { .autoneg = 1 },
	/* ice_get_priv_flags(), ice_ethtool.c: fw-lldp-agent */
	.flag_names	= ice_flags,
	.flags		= ARRAY_SIZE(ice_flags),
	.flags_on	= BIT(1),
	/* ice_cfg_netdev(), ice_main.c */
	.no_queue_ops	= true,
	.split		= zcnic_like_split,
	.set_ring	= ice_set_ring,
	.rule		= ice_rule,
	.set_channels	= ice_set_channels,
};

static const struct zcnic_like *const zcnic_likes[] = {
	&zcnic_own, &zcnic_mlx5, &zcnic_bnxt, &zcnic_bnxt_noagg, &zcnic_fbnic,
	&zcnic_gve, &zcnic_ice,
};

const struct zcnic_like *zcnic_like;

int zcnic_like_init(void)
{
	static struct zcnic_like chosen;
	int i;

	for (i = 0; i < ARRAY_SIZE(zcnic_likes); i++) {
		if (!strcmp(zcnic_likes[i]->name, like)) {
			chosen = *zcnic_likes[i];
			zcnic_like = &chosen;
			return zcnic_captured(&chosen);
		}
	}
	pr_err("%s: like must be mlx5, bnxt, bnxt-noagg, fbnic, gve, ice or empty\n",
	       KBUILD_MODNAME);
	return -EINVAL;
}

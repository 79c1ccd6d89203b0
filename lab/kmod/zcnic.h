/* SPDX-License-Identifier: GPL-2.0 */
/* zcnic: pairs of software NICs wired back to back.
 *
 * A pair is two ports, each a net_device. What a port sends, the wire copies
 * into the receive buffers of the other port, as a NIC's DMA engine would, and
 * it knows memory only by its DMA address. That is why dma-buf and io_uring
 * memory can be sent and received, though no CPU may read it through an skb.
 *
 * Who runs what:
 *  - A queue is an RX ring, a TX ring and one NAPI that serves both.
 *  - The NAPI of the sending queue runs the wire: it parses a frame, chooses
 *    the receiving queue and copies, under that queue's rx_lock.
 *  - The NAPI of the receiving queue posts buffers, and turns completions
 *    into skbs.
 */
#ifndef _ZCNIC_H
#define _ZCNIC_H

#include <linux/ethtool.h>
#include <linux/hrtimer.h>
#include <linux/netdevice.h>
#include <net/netdev_queues.h>
#include <net/netmem.h>

#include "zcnic_compat.h"

#define ZCNIC_QUEUES_MAX	64
#define ZCNIC_RING_MIN		64
#define ZCNIC_RING_MAX		8192
#define ZCNIC_MTU_MAX		9600
#define ZCNIC_RX_PAGE_MAX	SZ_64K

/* Bytes a completion can carry beside the posted buffers: the headers of a
 * split frame, or all of a frame that is not split and fits.
 */
#define ZCNIC_HDR_LEN		256

#define ZCNIC_RSS_KEY_MAX	56
#define ZCNIC_RSS_TABLE_MAX	512
#define ZCNIC_RSS_CONTEXTS	16	/* the main table is number 0 */
#define ZCNIC_RULES_MAX		1024

struct zcnic_port;

/* One received frame or super-frame, as the wire reports it. */
struct zcnic_cmpl {
	u32 data_len;		/* bytes in the posted buffers */
	u32 hash;
	u32 gso_type;
	u16 gso_size;
	u16 gso_segs;
	u16 bufs;		/* posted buffers that data_len takes */
	u16 hdr_len;		/* bytes in hdr */
	u16 csum_start;
	u16 csum_offset;
	u8 hash_type;		/* enum pkt_hash_types */
	bool csum_partial;
	bool csum_good;			/* the wire found it right */
	u8 hdr[ZCNIC_HDR_LEN];
};

/* A receive ring: posted buffers, and the completions that use them in the
 * order in which they were posted. Indexes run freely; each has one writer.
 */
struct zcnic_rx_ring {
	struct page_pool *pool;
	netmem_ref *bufs;
	struct zcnic_cmpl *cmpls;
	u32 mask;
	u32 buf_len;
	u32 hds_thresh;
	bool split;
	bool unreadable;

	/* Written by NAPI. */
	u32 posted ____cacheline_aligned_in_smp;
	u32 reaped;		/* buffers taken out again */
	u32 polled;		/* completions taken */

	/* Written by the wire, under zcnic_queue::rx_lock. */
	u32 used ____cacheline_aligned_in_smp;
	u32 filled;		/* completions written */
};

/* A frame on its way from a TX ring to the peer. */
struct zcnic_xfer {
	struct sk_buff *skb;		/* NULL between frames */
	struct zcnic_queue *to;		/* NULL: a rule says drop */
	u32 off;			/* bytes of skb sent so far */
	u32 seg;			/* segments sent so far */
	u32 mss;			/* 0: send the frame as it is */
	u32 hash;
	u16 head_len;			/* bytes copied to head */
	u16 hdr_len;			/* L2 to L4 headers, 0: not TCP */
	u16 l3;				/* offset of the IP header */
	u16 l4;				/* offset of the L4 header */
	bool v6;
	bool waited;			/* the receiver refilled meanwhile */
	u8 hash_type;
	u8 head[ZCNIC_HDR_LEN];
};

struct zcnic_tx_slot {
	struct sk_buff *skb;
	u64 due;			/* not on the wire before, in ns */
};

struct zcnic_rx_stats {			/* written by NAPI */
	u64 packets;
	u64 bytes;
	u64 csum_none;
	u64 csum_unnecessary;
	u64 gro_packets;
	u64 gro_bytes;
	u64 gro_wire_packets;
	u64 gro_wire_bytes;
	u64 split;
	u64 alloc_fail;
	u64 restarts;
};

struct zcnic_wire_stats {		/* written under rx_lock */
	u64 waits;			/* sender held back */
	u64 no_buffer;			/* dropped: the pool ran empty */
	u64 stopped;			/* dropped: queue or port down */
	u64 unreadable;			/* dropped: not TCP, nowhere to put it */
	u64 bad_dma;			/* dropped: not in direct-mapped RAM */
	u64 bad_csum;			/* dropped: the stack could not check it */
	u64 linear;			/* payload left beside the headers */
	u64 linear_bytes;		/* of it */
};

struct zcnic_tx_stats {			/* written by NAPI */
	u64 packets;
	u64 bytes;
	u64 csum_none;
	u64 needs_csum;
	u64 gso_packets;
	u64 gso_bytes;
	u64 gso_wire_packets;
	u64 gso_wire_bytes;
	u64 unreadable;			/* frames sent from a dma-buf */
	u64 lost;			/* dropped by loss_ppm */
	u64 ruled_out;			/* dropped by a rule of the peer */
	u64 wake;
};

struct zcnic_queue {
	struct zcnic_port *port;
	u16 index;
	bool starved;			/* the last refill fell short */
	struct napi_struct napi;
	call_single_data_t irq;

	spinlock_t rx_lock;		/* the wire's side of rx */
	struct zcnic_rx_ring *rx;	/* NULL: stopped */
	DECLARE_BITMAP(waiters, ZCNIC_QUEUES_MAX); /* peer queues to wake */
	struct zcnic_rx_stats rx_stats;
	struct zcnic_wire_stats wire_stats;

	struct zcnic_tx_slot *tx;
	u32 tx_mask;
	u32 tx_prod;			/* written by ndo_start_xmit */
	u64 tx_stop;			/* likewise */
	u32 tx_cons ____cacheline_aligned_in_smp; /* written by NAPI */
	struct zcnic_xfer xfer;
	struct hrtimer timer;
	struct zcnic_tx_stats tx_stats;
};

struct zcnic_rss {
	bool used;
	u8 key[ZCNIC_RSS_KEY_MAX];
	u8 table[ZCNIC_RSS_TABLE_MAX];
};

struct zcnic_rule {
	bool used;
	u32 context;
	struct ethtool_rx_flow_spec fs;
};

enum zcnic_flow_kind {
	ZCNIC_TCP4,
	ZCNIC_TCP6,
	ZCNIC_UDP4,
	ZCNIC_UDP6,
	ZCNIC_FLOW_KINDS,
};

/* What a frame's headers say, for steering. */
struct zcnic_flow {
	bool ip;
	bool v6;
	bool ports;			/* sport and dport are valid */
	u8 proto;
	u16 l3;
	u16 l4;
	u16 hdr_len;			/* to the end of TCP, else 0 */
	__be16 sport;
	__be16 dport;
	__be32 src[4];
	__be32 dst[4];
};

struct zcnic_steer;

/* What rings-get answers. The wire's own rings have a power of 2 of entries,
 * within its limits.
 */
struct zcnic_ring_settings {
	u32 rx;
	u32 rx_mini;
	u32 rx_jumbo;
	u32 tx;
	u32 rx_buf_len;
	u32 hds_thresh;
	bool split;
};

struct zcnic_port {
	struct net_device *dev;
	struct zcnic_port *peer;
	struct zcnic_pair *pair;
	u16 nqueues;			/* active */
	bool up;			/* protected by zcnic_pair::lock */
	struct zcnic_queue *queue;

	/* Settings, protected by the netdev instance lock. */
	struct zcnic_ring_settings ring;
	struct ethtool_coalesce coalesce;
	bool cqe_mode_rx;
	bool cqe_mode_tx;
	struct ethtool_pauseparam pause;
	u32 priv_flags;
	u8 hash_fields[ZCNIC_FLOW_KINDS];
	struct zcnic_rss rss[ZCNIC_RSS_CONTEXTS];
	struct zcnic_rule *rules;

	struct zcnic_steer __rcu *steer; /* the settings, as the wire sees them */
	spinlock_t rate_lock;
	u64 rate_next;			/* when the wire is free again, in ns */
};

struct zcnic_pair {
	struct zcnic_port *port[2];
	struct mutex lock;		/* both ends' up, hence the carrier */
};

/* Where a driver wants a new rule. */
enum zcnic_location {
	ZCNIC_LOC_EITHER,		/* where the request says, if it does */
	ZCNIC_LOC_LOWEST,		/* it chooses: the lowest that is free */
	ZCNIC_LOC_HIGHEST,		/* it chooses: the highest that is free */
	ZCNIC_LOC_GIVEN,		/* the request has to say */
};

/* How a driver counts channels beside max_combined. */
enum zcnic_channels {
	ZCNIC_CHANNELS_COMBINED,	/* only that */
	ZCNIC_CHANNELS_ALL,		/* has maxima of rx and tx too */
	ZCNIC_CHANNELS_SEPARATE,	/* none are combined */
};

/* When set_ringparam ends with netdev_update_features(). */
enum zcnic_update {
	ZCNIC_UPDATE_NEVER,
	ZCNIC_UPDATE_RESIZED,
	ZCNIC_UPDATE_ALWAYS,
};

/* What a port answers, refuses and limits: the driver it is like. */
struct zcnic_like {
	const char *name;
	const char *driver;
	const char *version;

	struct zcnic_ring_settings ring;	/* at boot */
	u32 rx_max;
	u32 rx_extra_max;		/* of rx-mini and rx-jumbo */
	u32 tx_max;
	u32 hds_thresh_max;
	u32 ring_params;		/* ETHTOOL_RING_USE_* */
	bool split_unset;		/* leaves tcp-data-split to the core */
	enum zcnic_update update;

	netdev_features_t on;		/* can be changed, and is on at boot */
	netdev_features_t off;		/* can be changed, and is off at boot */
	netdev_features_t fixed;	/* on */

	u32 rss_key;
	u32 rss_table;
	u32 rss_contexts;		/* 0: none but the main one */
	bool rss_context_key;		/* each has its own */
	bool rss_key_resets;		/* a key alone makes the table default */

	enum zcnic_location location;
	u32 rules;
	bool rules_stay;		/* also when ntuple is switched off */
	bool rules_uncounted;		/* the count does not say how many fit */
	int rule_get_errno;		/* of one that is not there */
	int rule_del_errno;

	enum zcnic_channels channels;
	u32 channels_other;

	u32 coalesce_params;		/* ETHTOOL_COALESCE_*, 0: no coalescing */
	struct ethtool_coalesce coalesce;
	bool cqe_mode_rx;
	bool cqe_mode_tx;

	bool has_pause;
	bool pause_no_autoneg;		/* refuses it */
	struct ethtool_pauseparam pause;

	const char (*flag_names)[ETH_GSTRING_LEN];
	u32 flags;			/* how many */
	u32 flags_on;			/* at boot */

	bool no_queue_ops;
	u32 rx_page_max;		/* 0: no buffers but pages */

	/* What header split is under this configuration
	 * (ETHTOOL_TCP_DATA_SPLIT_*) and these features.
	 */
	bool (*split)(const struct zcnic_port *port, u8 config,
		      netdev_features_t features);
	/* Adds to what rings-get answers; may be NULL. */
	void (*get_ring)(const struct zcnic_port *port,
			 struct ethtool_ringparam *ring,
			 struct kernel_ethtool_ringparam *kring);
	/* Refuses new ring settings, or rounds them. */
	int (*set_ring)(struct zcnic_port *port,
			struct ethtool_ringparam *ring,
			struct kernel_ethtool_ringparam *kring,
			struct netlink_ext_ack *extack);
	/* May be NULL. */
	netdev_features_t (*fix_features)(const struct zcnic_port *port,
					  netdev_features_t features);
	/* Refuses a rule. */
	int (*rule)(const struct zcnic_port *port,
		    const struct ethtool_rx_flow_spec *fs);
	/* Refuses numbers of channels; may be NULL. */
	int (*set_channels)(const struct zcnic_port *port,
			    const struct ethtool_channels *ch);
	/* Refuses to restart a queue; may be NULL. */
	int (*restart)(const struct zcnic_port *port, int idx);
	/* Refuses a size of buffers; NULL where rx_page_max is 0. */
	int (*validate_qcfg)(struct net_device *dev,
			     struct netdev_queue_config *cfg,
			     struct netlink_ext_ack *extack);
	/* Changes private flags; NULL: all of them, at once. */
	int (*set_flags)(struct zcnic_port *port, u32 flags);
};

/* zcnic_main.c */
extern unsigned int zcnic_rate_mbit;
extern unsigned int zcnic_delay_us;
extern unsigned int zcnic_loss_ppm;
extern unsigned int zcnic_linear_ppm;
int zcnic_reconfigure(struct zcnic_port *port, u16 nqueues);
u32 zcnic_ring_entries(u32 asked);
void zcnic_raise(struct zcnic_queue *q);
int zcnic_poll(struct napi_struct *napi, int budget);

/* zcnic_rx.c */
void zcnic_queue_ops_init(void);
extern struct netdev_queue_mgmt_ops zcnic_queue_ops;
struct zcnic_rx_ring *zcnic_rx_ring_alloc(struct zcnic_port *port, int idx,
					  const struct netdev_queue_config *cfg);
void zcnic_rx_ring_free(struct zcnic_rx_ring *rx);
void zcnic_rx_attach(struct zcnic_queue *q, struct zcnic_rx_ring *rx);
struct zcnic_rx_ring *zcnic_rx_detach(struct zcnic_queue *q);
int zcnic_rx_poll(struct zcnic_queue *q, int budget);

/* zcnic_tx.c */
netdev_tx_t zcnic_start_xmit(struct sk_buff *skb, struct net_device *dev);
bool zcnic_tx_poll(struct zcnic_queue *q, int budget);
void zcnic_tx_drain(struct zcnic_queue *q);
enum hrtimer_restart zcnic_tx_timer(struct hrtimer *timer);

/* zcnic_steer.c */
bool zcnic_parse(const u8 *head, u32 head_len, struct zcnic_flow *flow);
struct zcnic_queue *zcnic_steer(struct zcnic_port *to,
				const struct zcnic_flow *flow,
				u32 *hash, u8 *hash_type);
int zcnic_steer_commit(struct zcnic_port *port);
void zcnic_steer_free(struct zcnic_port *port);
void zcnic_rss_default(struct zcnic_port *port, u8 *table);
int zcnic_rule_check(const struct zcnic_port *port,
		     const struct ethtool_rx_flow_spec *fs);

/* zcnic_ethtool.c */
void zcnic_ethtool_ops_init(void);
extern struct ethtool_ops zcnic_ethtool_ops;

/* zcnic_like.c */
extern const struct zcnic_like *zcnic_like;
int zcnic_like_init(void);

/* zcnic_captured.c */
int zcnic_captured(struct zcnic_like *to);

#endif /* _ZCNIC_H */

// SPDX-License-Identifier: GPL-2.0
/* Receive rings: page pools, completions to skbs, queue restarts. */

#include <linux/etherdevice.h>
#include <net/gro.h>
#include <net/netdev_lock.h>
#include <net/page_pool/helpers.h>

#include "zcnic.h"

static struct page_pool *zcnic_pool_create(struct zcnic_port *port, int idx,
					   u32 buf_len)
{
	struct page_pool_params params = {
		.order		= get_order(buf_len),
		.pool_size	= zcnic_ring_entries(port->ring.rx),
		.nid		= NUMA_NO_NODE,
		.dev		= port->dev->dev.parent,
		.napi		= &port->queue[idx].napi,
		.dma_dir	= DMA_FROM_DEVICE,
		.max_len	= buf_len,
		.netdev		= port->dev,
		.queue_idx	= idx,
		.flags		= PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV |
				  PP_FLAG_ALLOW_UNREADABLE_NETMEM,
	};

	return page_pool_create(&params);
}

struct zcnic_rx_ring *zcnic_rx_ring_alloc(struct zcnic_port *port, int idx,
					  const struct netdev_queue_config *cfg)
{
	u32 entries = zcnic_ring_entries(port->ring.rx);
	struct zcnic_rx_ring *rx;
	int err = -ENOMEM;

	rx = kzalloc_obj(*rx);
	if (!rx)
		return ERR_PTR(-ENOMEM);

	rx->mask = entries - 1;
	/* Drivers that know no size are not asked for one. */
	rx->buf_len = cfg->rx_page_size ?: PAGE_SIZE;
	rx->split = port->ring.split;
	rx->hds_thresh = port->ring.hds_thresh;
	rx->bufs = kvcalloc(entries, sizeof(*rx->bufs), GFP_KERNEL);
	rx->cmpls = kvcalloc(entries, sizeof(*rx->cmpls), GFP_KERNEL);
	if (!rx->bufs || !rx->cmpls)
		goto err_free;

	rx->pool = zcnic_pool_create(port, idx, rx->buf_len);
	if (IS_ERR(rx->pool)) {
		err = PTR_ERR(rx->pool);
		goto err_free;
	}
	rx->unreadable = page_pool_is_unreadable(rx->pool);
	return rx;

err_free:
	kvfree(rx->cmpls);
	kvfree(rx->bufs);
	kfree(rx);
	return ERR_PTR(err);
}

/* Gives the next n buffers back to the pool. */
static void zcnic_put_bufs(const struct zcnic_rx_ring *rx, u32 n, bool in_napi)
{
	u32 i;

	for (i = rx->reaped; i != rx->reaped + n; i++)
		page_pool_put_full_netmem(rx->pool, rx->bufs[i & rx->mask],
					  in_napi);
}

void zcnic_rx_ring_free(struct zcnic_rx_ring *rx)
{
	if (!rx)
		return;
	zcnic_put_bufs(rx, rx->posted - rx->reaped, false);
	page_pool_destroy(rx->pool);
	kvfree(rx->cmpls);
	kvfree(rx->bufs);
	kfree(rx);
}

/* Wakes the senders that wait for room. They set their bit under rx_lock and
 * then schedule our NAPI, so no bit is set after the last look.
 */
static void zcnic_wake_waiters(struct zcnic_queue *q)
{
	unsigned int i;

	for_each_set_bit(i, q->waiters, ZCNIC_QUEUES_MAX) {
		clear_bit(i, q->waiters);
		zcnic_raise(&q->port->peer->queue[i]);
	}
}

/* From here on the wire uses the ring; NAPI must be off. */
void zcnic_rx_attach(struct zcnic_queue *q, struct zcnic_rx_ring *rx)
{
	spin_lock_bh(&q->rx_lock);
	q->rx = rx;
	q->starved = false;
	spin_unlock_bh(&q->rx_lock);
}

/* Takes the ring from the wire; NAPI must be off. */
struct zcnic_rx_ring *zcnic_rx_detach(struct zcnic_queue *q)
{
	struct zcnic_rx_ring *rx;

	spin_lock_bh(&q->rx_lock);
	rx = q->rx;
	q->rx = NULL;
	spin_unlock_bh(&q->rx_lock);

	if (rx)
		page_pool_disable_direct_recycling(rx->pool);
	zcnic_wake_waiters(q);
	return rx;
}

static void zcnic_rx_refill(struct zcnic_queue *q, struct zcnic_rx_ring *rx)
{
	u32 posted = rx->posted;

	while (posted - rx->reaped <= rx->mask) {
		netmem_ref netmem;

		netmem = page_pool_alloc_netmems(rx->pool,
						 GFP_ATOMIC | __GFP_NOWARN);
		if (!netmem)
			break;
		rx->bufs[posted++ & rx->mask] = netmem;
	}

	if (posted - rx->reaped <= rx->mask)
		q->rx_stats.alloc_fail++;
	WRITE_ONCE(q->starved, posted - rx->reaped <= rx->mask);
	/* The wire must see a buffer before the index that covers it. */
	smp_store_release(&rx->posted, posted);
}

/* Adds the buffers of a completion to skb, from offset off of the first. */
static void zcnic_add_bufs(struct sk_buff *skb, struct zcnic_rx_ring *rx,
			   const struct zcnic_cmpl *cmpl, u32 off)
{
	u32 left = cmpl->data_len - off;
	int i;

	for (i = 0; i < cmpl->bufs; i++) {
		netmem_ref netmem = rx->bufs[(rx->reaped + i) & rx->mask];
		u32 len = min(left, rx->buf_len - off);

		if (!len) {
			page_pool_put_full_netmem(rx->pool, netmem, true);
			continue;
		}
		page_pool_dma_sync_netmem_for_cpu(rx->pool, netmem, off, len);
		skb_add_rx_frag_netmem(skb, skb_shinfo(skb)->nr_frags, netmem,
				       off, len, rx->buf_len);
		left -= len;
		off = 0;
	}
	/* Only when a fragment came from the pool: GRO steals the head page of
	 * a recyclable skb, and would put it among unreadable fragments.
	 */
	if (skb_shinfo(skb)->nr_frags)
		skb_mark_for_recycle(skb);
}

static struct sk_buff *zcnic_build_skb(struct zcnic_queue *q,
				       struct zcnic_rx_ring *rx,
				       const struct zcnic_cmpl *cmpl)
{
	const void *head = cmpl->hdr;
	u32 head_len = cmpl->hdr_len;
	struct sk_buff *skb;
	u32 off = 0;

	if (!head_len) {
		netmem_ref netmem = rx->bufs[rx->reaped & rx->mask];

		head = netmem_address(netmem);
		head_len = min3(cmpl->data_len, rx->buf_len,
				(u32)ZCNIC_HDR_LEN);
		page_pool_dma_sync_netmem_for_cpu(rx->pool, netmem, 0,
						  head_len);
		head_len = eth_get_headlen(q->port->dev, head, head_len);
		off = head_len;
	}

	skb = napi_alloc_skb(&q->napi, head_len);
	if (!skb)
		return NULL;
	skb_put_data(skb, head, head_len);
	zcnic_add_bufs(skb, rx, cmpl, off);

	/* A frame that was sent with a checksum to be filled in keeps that
	 * state, as it does over virtio: the wire makes no bit errors.
	 */
	if (cmpl->csum_partial &&
	    skb_partial_csum_set(skb, cmpl->csum_start, cmpl->csum_offset)) {
		q->rx_stats.csum_unnecessary++;
	} else if (cmpl->csum_good) {
		skb->ip_summed = CHECKSUM_UNNECESSARY;
		q->rx_stats.csum_unnecessary++;
	} else {
		q->rx_stats.csum_none++;
	}

	if (cmpl->gso_size) {
		skb_shinfo(skb)->gso_size = cmpl->gso_size;
		skb_shinfo(skb)->gso_segs = cmpl->gso_segs;
		skb_shinfo(skb)->gso_type = cmpl->gso_type;
	}
	if (q->port->dev->features & NETIF_F_RXHASH)
		skb_set_hash(skb, cmpl->hash, cmpl->hash_type);
	skb_record_rx_queue(skb, q->index);
	return skb;
}

static void zcnic_rx_count(struct zcnic_rx_stats *stats,
			   const struct sk_buff *skb,
			   const struct zcnic_cmpl *cmpl)
{
	stats->packets++;
	stats->bytes += skb->len;
	if (cmpl->hdr_len && cmpl->data_len)
		stats->split++;
	if (cmpl->gso_size) {
		u32 extra = cmpl->hdr_len ?: skb_headlen(skb);

		stats->gro_packets++;
		stats->gro_bytes += skb->len;
		stats->gro_wire_packets += cmpl->gso_segs;
		stats->gro_wire_bytes += skb->len +
					 (cmpl->gso_segs - 1) * extra;
	}
}

int zcnic_rx_poll(struct zcnic_queue *q, int budget)
{
	struct zcnic_rx_ring *rx = q->rx;
	int done = 0;

	/* Pairs with the release in the wire: a completion before its index. */
	while (done < budget && rx->polled != smp_load_acquire(&rx->filled)) {
		struct zcnic_cmpl *cmpl = &rx->cmpls[rx->polled & rx->mask];
		struct sk_buff *skb = zcnic_build_skb(q, rx, cmpl);

		if (skb) {
			zcnic_rx_count(&q->rx_stats, skb, cmpl);
		} else {
			q->rx_stats.alloc_fail++;
			zcnic_put_bufs(rx, cmpl->bufs, true);
		}
		rx->reaped += cmpl->bufs;
		/* The wire may write this completion again. */
		smp_store_release(&rx->polled, rx->polled + 1);

		if (skb) {
			skb->protocol = eth_type_trans(skb, q->port->dev);
			napi_gro_receive(&q->napi, skb);
		}
		done++;
	}

	/* netpoll asks with no budget and may not touch the page pool. */
	if (budget) {
		zcnic_rx_refill(q, rx);
		zcnic_wake_waiters(q);
	}
	return done;
}

/* The memory of a queue, as the core hands it from alloc to start, and from
 * stop to free.
 */
struct zcnic_queue_mem {
	struct zcnic_rx_ring *rx;
};

static void zcnic_default_qcfg(struct net_device *dev,
			       struct netdev_queue_config *cfg)
{
	cfg->rx_page_size = PAGE_SIZE;
}

static int zcnic_queue_mem_alloc(struct net_device *dev,
				 struct netdev_queue_config *cfg,
				 void *mem, int idx)
{
	struct zcnic_port *port = netdev_priv(dev);
	struct zcnic_queue_mem *qmem = mem;
	int err = 0;

	if (zcnic_like->restart)
		err = zcnic_like->restart(port, idx);
	if (err)
		return err;

	qmem->rx = zcnic_rx_ring_alloc(port, idx, cfg);
	if (IS_ERR(qmem->rx)) {
		err = PTR_ERR(qmem->rx);
		qmem->rx = NULL;
		return err;
	}
	return 0;
}

static void zcnic_queue_mem_free(struct net_device *dev, void *mem)
{
	struct zcnic_queue_mem *qmem = mem;

	zcnic_rx_ring_free(qmem->rx);
}

static int zcnic_queue_start(struct net_device *dev,
			     struct netdev_queue_config *cfg,
			     void *mem, int idx)
{
	struct zcnic_port *port = netdev_priv(dev);
	struct zcnic_queue *q = &port->queue[idx];
	struct zcnic_queue_mem *qmem = mem;

	zcnic_rx_attach(q, qmem->rx);
	q->rx_stats.restarts++;
	napi_enable_locked(&q->napi);
	/* Posts the first buffers, and sends what was queued meanwhile. */
	zcnic_raise(q);
	return 0;
}

static int zcnic_queue_stop(struct net_device *dev, void *mem, int idx)
{
	struct zcnic_port *port = netdev_priv(dev);
	struct zcnic_queue *q = &port->queue[idx];
	struct zcnic_queue_mem *qmem = mem;

	napi_disable_locked(&q->napi);
	qmem->rx = zcnic_rx_detach(q);
	return 0;
}

struct netdev_queue_mgmt_ops zcnic_queue_ops = {
	.ndo_queue_mem_size	= sizeof(struct zcnic_queue_mem),
	.ndo_queue_mem_alloc	= zcnic_queue_mem_alloc,
	.ndo_queue_mem_free	= zcnic_queue_mem_free,
	.ndo_queue_start	= zcnic_queue_start,
	.ndo_queue_stop		= zcnic_queue_stop,
};

void zcnic_queue_ops_init(void)
{
	if (!zcnic_like->rx_page_max)
		return;
	zcnic_queue_ops.ndo_default_qcfg = zcnic_default_qcfg;
	zcnic_queue_ops.ndo_validate_qcfg = zcnic_like->validate_qcfg;
	zcnic_queue_ops.supported_params = QCFG_RX_PAGE_SIZE;
}

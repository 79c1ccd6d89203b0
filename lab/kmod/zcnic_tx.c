// SPDX-License-Identifier: GPL-2.0
/* Transmit rings and the wire: segmentation, steering, the DMA engine. */

#include <linux/dma-direct.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/random.h>
#include <linux/tcp.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/page_pool/helpers.h>
#include <net/tcp.h>

#include "zcnic.h"

/* Bytes one poll may put on the wire before others get their turn. */
#define ZCNIC_POLL_BYTES	SZ_256K

/* Type bits of a TSO frame that hold for the received super-frame too. */
#define ZCNIC_GSO_TYPES		(SKB_GSO_TCPV4 | SKB_GSO_TCPV6 | \
				 SKB_GSO_TCP_ECN | SKB_GSO_TCP_FIXEDID)

static u32 zcnic_tx_free(const struct zcnic_queue *q)
{
	return q->tx_mask + 1 - (READ_ONCE(q->tx_prod) - READ_ONCE(q->tx_cons));
}

netdev_tx_t zcnic_start_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct zcnic_port *port = netdev_priv(dev);
	struct zcnic_queue *q = &port->queue[skb_get_queue_mapping(skb)];
	struct netdev_queue *txq = netdev_get_tx_queue(dev, q->index);
	struct zcnic_tx_slot *slot = &q->tx[q->tx_prod & q->tx_mask];
	u32 delay = READ_ONCE(zcnic_delay_us);
	bool raise;

	if (unlikely(!zcnic_tx_free(q))) {
		netif_tx_stop_queue(txq);
		return NETDEV_TX_BUSY;
	}

	skb_tx_timestamp(skb);
	slot->skb = skb;
	slot->due = delay ? ktime_get_ns() + (u64)delay * NSEC_PER_USEC : 0;
	raise = __netdev_tx_sent_queue(txq, skb->len, netdev_xmit_more());
	/* The skb belongs to the NAPI once it sees the index. */
	smp_store_release(&q->tx_prod, q->tx_prod + 1);

	if (!netif_txq_maybe_stop(txq, zcnic_tx_free(q), 1, q->tx_mask / 4))
		q->tx_stop++;
	if (raise || netif_xmit_stopped(txq))
		zcnic_raise(q);
	return NETDEV_TX_OK;
}

/* Copies len bytes at offset off of skb to dst. Fragments that no CPU may read
 * through the skb are read at their DMA address, as hardware would. Returns
 * false when such an address is not RAM that the direct mapping covers.
 */
static bool zcnic_dma_read(struct zcnic_port *port, const struct sk_buff *skb,
			   u32 off, void *dst, u32 len)
{
	u32 head = skb_headlen(skb);
	int i;

	if (off < head) {
		u32 n = min(len, head - off);

		memcpy(dst, skb->data + off, n);
		dst += n;
		off += n;
		len -= n;
	}
	off -= head;

	for (i = 0; len && i < skb_shinfo(skb)->nr_frags; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];
		u32 size = skb_frag_size(frag);
		u32 n;

		if (off >= size) {
			off -= size;
			continue;
		}
		n = min(len, size - off);
		if (skb_frag_is_net_iov(frag)) {
			struct device *dma_dev = port->dev->dev.parent;
			phys_addr_t phys;

			phys = dma_to_phys(dma_dev,
					   skb_frag_dma_map(dma_dev, frag, off, n,
							    DMA_TO_DEVICE));
			if (!pfn_valid(PHYS_PFN(phys)))
				return false;
			memcpy(dst, phys_to_virt(phys), n);
		} else {
			memcpy(dst, skb_frag_address(frag) + off, n);
		}
		dst += n;
		len -= n;
		off = 0;
	}
	return true;
}

/* Copies len bytes at offset off of skb to the posted buffers of rx, from the
 * at-th byte of the frame on.
 */
static bool zcnic_dma_write(const struct zcnic_queue *q,
			    struct zcnic_rx_ring *rx, u32 at,
			    const struct sk_buff *skb, u32 off, u32 len)
{
	struct device *dma_dev = q->xfer.to->port->dev->dev.parent;

	while (len) {
		netmem_ref netmem;
		phys_addr_t phys;
		u32 pos, n;

		netmem = rx->bufs[(rx->used + at / rx->buf_len) & rx->mask];
		phys = dma_to_phys(dma_dev,
				   page_pool_get_dma_addr_netmem(netmem));
		pos = at % rx->buf_len;
		n = min(len, rx->buf_len - pos);
		if (!pfn_valid(PHYS_PFN(phys)) ||
		    !zcnic_dma_read(q->port, skb, off, phys_to_virt(phys) + pos,
				    n))
			return false;
		off += n;
		at += n;
		len -= n;
	}
	return true;
}

/* Makes the headers of a TSO frame those of the part of it that carries len
 * payload bytes from x->off on. The checksum becomes the pseudo header's, for
 * the stack (or another NIC) to complete.
 */
static void zcnic_fix_headers(const struct zcnic_xfer *x, u8 *head, u32 len)
{
	struct tcphdr *th = (struct tcphdr *)(head + x->l4);
	u32 l4_len = x->hdr_len - x->l4 + len;
	u32 sent = x->off - x->hdr_len;

	th->seq = htonl(ntohl(th->seq) + sent);
	if (sent)
		th->cwr = 0;
	if (x->off + len < x->skb->len) {
		th->fin = 0;
		th->psh = 0;
	}

	if (x->v6) {
		struct ipv6hdr *ip6 = (struct ipv6hdr *)(head + x->l3);

		ipv6_set_payload_len(ip6, x->l4 - x->l3 - sizeof(*ip6) + l4_len);
		th->check = ~csum_ipv6_magic(&ip6->saddr, &ip6->daddr, l4_len,
					     IPPROTO_TCP, 0);
	} else {
		struct iphdr *ip = (struct iphdr *)(head + x->l3);

		iph_set_totlen(ip, x->l4 - x->l3 + l4_len);
		if (!(skb_shinfo(x->skb)->gso_type & SKB_GSO_TCP_FIXEDID))
			ip->id = htons(ntohs(ip->id) + x->seg);
		ip_send_check(ip);
		th->check = ~csum_tcpudp_magic(ip->saddr, ip->daddr, l4_len,
					       IPPROTO_TCP, 0);
	}
}

/* Looks at a frame that leaves the ring, and chooses its queue. */
static void zcnic_xfer_begin(struct zcnic_queue *q, struct sk_buff *skb)
{
	struct zcnic_xfer *x = &q->xfer;
	struct zcnic_flow flow;
	u32 len;

	len = min_t(u32, skb->len, ZCNIC_HDR_LEN);
	/* Headers are always readable; what follows may not be. */
	if (!skb_frags_readable(skb))
		len = min(len, skb_headlen(skb));
	zcnic_dma_read(q->port, skb, 0, x->head, len);
	zcnic_parse(x->head, len, &flow);

	x->skb = skb;
	x->hdr_len = flow.hdr_len;
	x->l3 = flow.l3;
	x->l4 = flow.l4;
	x->v6 = flow.v6;
	x->off = x->hdr_len;
	x->seg = 0;
	x->mss = x->hdr_len && skb_is_gso(skb) ? skb_shinfo(skb)->gso_size : 0;
	x->waited = false;
	x->to = zcnic_steer(q->port->peer, &flow, &x->hash, &x->hash_type);
}

/* The payload of the next frame on the wire. Of a TSO frame that is one
 * segment, or as many as the receiver takes in one super-frame.
 */
static u32 zcnic_next_len(const struct zcnic_xfer *x,
			  const struct zcnic_rx_ring *rx)
{
	const struct net_device *dev = x->to->port->dev;
	u32 left = x->skb->len - x->off;
	u32 max;

	if (!x->mss)
		return left;
	/* A lost frame is a lost segment, and one that is not split is one too. */
	if (!(READ_ONCE(dev->features) & NETIF_F_GRO_HW) ||
	    READ_ONCE(zcnic_loss_ppm) || READ_ONCE(zcnic_linear_ppm))
		return min(left, x->mss);

	max = min(x->v6 ? READ_ONCE(dev->gro_max_size) :
			  READ_ONCE(dev->gro_ipv4_max_size),
		  MAX_SKB_FRAGS * rx->buf_len) - x->hdr_len;
	if (left <= max)
		return left;
	return max(rounddown(max, x->mss), x->mss);
}

enum zcnic_push {
	ZCNIC_SENT,
	ZCNIC_DROPPED,
	ZCNIC_WAIT,
};

static bool zcnic_chance(u32 ppm)
{
	return unlikely(ppm) && get_random_u32_below(1000000) < ppm;
}

/* Whether a frame that came with its TCP checksum has the right one. The stack
 * cannot find out where the payload lies in memory that it must not read, so
 * that a NIC which receives into such memory has to.
 */
static bool zcnic_csum_good(const struct zcnic_xfer *x)
{
	const struct sk_buff *skb = x->skb;
	__wsum sum;
	u32 len;

	if (!x->hdr_len || !skb_frags_readable(skb))
		return false;

	if (x->v6) {
		const struct ipv6hdr *ip6 = (const void *)(x->head + x->l3);

		len = sizeof(*ip6) + ntohs(ip6->payload_len);
	} else {
		const struct iphdr *ip = (const void *)(x->head + x->l3);

		len = ntohs(ip->tot_len);
	}
	/* What is said of the length may be what is wrong. */
	if (x->l3 + len > skb->len || x->l3 + len < x->hdr_len)
		return false;

	len -= x->l4 - x->l3;
	sum = skb_checksum(skb, x->l4, len, 0);
	if (x->v6) {
		const struct ipv6hdr *ip6 = (const void *)(x->head + x->l3);

		return !csum_ipv6_magic(&ip6->saddr, &ip6->daddr, len,
					IPPROTO_TCP, sum);
	} else {
		const struct iphdr *ip = (const void *)(x->head + x->l3);

		return !csum_tcpudp_magic(ip->saddr, ip->daddr, len,
					  IPPROTO_TCP, sum);
	}
}

/* Puts the frame of len payload bytes at x->off into the ring, or, when the
 * pool cannot give more buffers, as many of its segments as there is room for:
 * a super-frame needs more at once than a small area may have to spare.
 */
static enum zcnic_push zcnic_push_frame(struct zcnic_queue *q,
					struct zcnic_rx_ring *rx, u32 len)
{
	struct zcnic_xfer *x = &q->xfer;
	struct zcnic_queue *to = x->to;
	struct sk_buff *skb = x->skb;
	struct zcnic_cmpl *cmpl;
	u32 avail, data, head;
	bool ok = true, missed, good;

	/* Pair with the releases in NAPI: what it gives us back, or new, is
	 * ours from the index on.
	 */
	if (rx->filled - smp_load_acquire(&rx->polled) > rx->mask)
		return ZCNIC_WAIT;
	/* See above. */
	avail = smp_load_acquire(&rx->posted) - rx->used;

	missed = rx->split && x->hdr_len && len > rx->hds_thresh &&
		 x->hdr_len + len <= ZCNIC_HDR_LEN &&
		 zcnic_chance(READ_ONCE(zcnic_linear_ppm));
	for (;;) {
		if (rx->split && x->hdr_len && len > rx->hds_thresh && !missed) {
			head = x->hdr_len;
			data = len;
		} else if (x->hdr_len + len <= ZCNIC_HDR_LEN) {
			head = x->hdr_len + len;
			data = 0;
		} else if (!rx->unreadable) {
			head = 0;
			data = x->hdr_len + len;
		} else {
			to->wire_stats.unreadable++;
			return ZCNIC_DROPPED;
		}
		if (data <= avail * rx->buf_len)
			break;
		if (!x->waited || !READ_ONCE(to->starved))
			return ZCNIC_WAIT;

		data -= len;
		if (avail && x->mss)
			len = rounddown(avail * rx->buf_len - data, x->mss);
		if (!avail || !x->mss || !len) {
			to->wire_stats.no_buffer++;
			return ZCNIC_DROPPED;
		}
	}

	good = skb->ip_summed != CHECKSUM_PARTIAL && zcnic_csum_good(x);
	if (rx->unreadable && data && !good &&
	    skb->ip_summed != CHECKSUM_PARTIAL) {
		to->wire_stats.bad_csum++;
		return ZCNIC_DROPPED;
	}

	cmpl = &rx->cmpls[rx->filled & rx->mask];
	memcpy(cmpl->hdr, x->head, x->hdr_len);
	if (x->mss)
		zcnic_fix_headers(x, cmpl->hdr, len);

	if (!data) {
		ok = zcnic_dma_read(q->port, skb, x->off,
				    cmpl->hdr + x->hdr_len, len);
	} else if (head) {
		ok = zcnic_dma_write(q, rx, 0, skb, x->off, len);
	} else {
		netmem_ref netmem = rx->bufs[rx->used & rx->mask];

		memcpy(netmem_address(netmem), cmpl->hdr, x->hdr_len);
		ok = zcnic_dma_write(q, rx, x->hdr_len, skb, x->off, len);
	}
	if (!ok) {
		to->wire_stats.bad_dma++;
		return ZCNIC_DROPPED;
	}

	if (missed) {
		to->wire_stats.linear++;
		to->wire_stats.linear_bytes += len;
	}
	cmpl->hdr_len = head;
	cmpl->data_len = data;
	cmpl->bufs = DIV_ROUND_UP(data, rx->buf_len);
	cmpl->hash = x->hash;
	cmpl->hash_type = x->hash_type;
	cmpl->csum_partial = skb->ip_summed == CHECKSUM_PARTIAL;
	cmpl->csum_good = good;
	if (cmpl->csum_partial) {
		cmpl->csum_start = skb_checksum_start_offset(skb);
		cmpl->csum_offset = skb->csum_offset;
	}
	cmpl->gso_segs = x->mss ? DIV_ROUND_UP(len, x->mss) : 1;
	cmpl->gso_size = cmpl->gso_segs > 1 ? x->mss : 0;
	cmpl->gso_type = skb_shinfo(skb)->gso_type & ZCNIC_GSO_TYPES;

	rx->used += cmpl->bufs;
	/* The receiver must see the frame before the index that covers it. */
	smp_store_release(&rx->filled, rx->filled + 1);
	x->off += len;
	x->seg += cmpl->gso_segs;
	x->waited = false;
	return ZCNIC_SENT;
}

/* Carries the frame of q->xfer to its queue, or what is left of it. Returns
 * false when it has to wait for the receiver.
 */
static bool zcnic_push(struct zcnic_queue *q)
{
	struct zcnic_xfer *x = &q->xfer;
	struct zcnic_queue *to = x->to;
	enum zcnic_push res = ZCNIC_SENT;

	if (!to) {
		q->tx_stats.ruled_out++;
		return true;
	}

	spin_lock(&to->rx_lock);
	do {
		struct zcnic_rx_ring *rx = to->rx;
		u32 len;

		if (!rx) {
			to->wire_stats.stopped++;
			res = ZCNIC_DROPPED;
			break;
		}
		len = zcnic_next_len(x, rx);
		if (!x->waited && zcnic_chance(READ_ONCE(zcnic_loss_ppm))) {
			q->tx_stats.lost++;
			x->off += len;
			x->seg++;
			continue;
		}
		res = zcnic_push_frame(q, rx, len);
	} while (res == ZCNIC_SENT && x->off < x->skb->len);

	if (res == ZCNIC_WAIT) {
		to->wire_stats.waits++;
		x->waited = true;
		set_bit(q->index, to->waiters);
	}
	spin_unlock(&to->rx_lock);

	/* Also when we wait: its NAPI then polls once more, and wakes us. */
	zcnic_raise(to);
	return res != ZCNIC_WAIT;
}

/* Whether the wire may take this frame now. If not, the timer comes back. */
static bool zcnic_due(struct zcnic_queue *q, const struct zcnic_tx_slot *slot)
{
	struct zcnic_port *port = q->port;
	u32 rate = READ_ONCE(zcnic_rate_mbit);
	u64 when = slot->due;
	u64 now;

	if (likely(!when && !rate))
		return true;

	now = ktime_get_ns();
	if (when <= now && rate) {
		u64 ns = div_u64((u64)slot->skb->len * BITS_PER_BYTE * 1000,
				 rate);

		spin_lock(&port->rate_lock);
		when = port->rate_next;
		if (when <= now)
			port->rate_next = now + ns;
		spin_unlock(&port->rate_lock);
	}
	if (when <= now)
		return true;
	hrtimer_start(&q->timer, ns_to_ktime(when), HRTIMER_MODE_ABS);
	return false;
}

enum hrtimer_restart zcnic_tx_timer(struct hrtimer *timer)
{
	struct zcnic_queue *q = container_of(timer, struct zcnic_queue, timer);

	napi_schedule(&q->napi);
	return HRTIMER_NORESTART;
}

static void zcnic_tx_count(struct zcnic_tx_stats *stats,
			   const struct zcnic_xfer *x)
{
	const struct sk_buff *skb = x->skb;

	stats->packets++;
	stats->bytes += skb->len;
	if (skb->ip_summed == CHECKSUM_PARTIAL)
		stats->needs_csum++;
	else
		stats->csum_none++;
	if (x->mss) {
		u32 segs = DIV_ROUND_UP(skb->len - x->hdr_len, x->mss);

		stats->gso_packets++;
		stats->gso_bytes += skb->len;
		stats->gso_wire_packets += segs;
		stats->gso_wire_bytes += skb->len + (segs - 1) * x->hdr_len;
	}
	if (!skb_frags_readable(skb))
		stats->unreadable++;
}

/* Runs the wire for a while. Returns true when there is more to send now. */
bool zcnic_tx_poll(struct zcnic_queue *q, int budget)
{
	struct netdev_queue *txq = netdev_get_tx_queue(q->port->dev, q->index);
	struct zcnic_xfer *x = &q->xfer;
	u32 bytes = 0, pkts = 0;
	bool more;

	for (;;) {
		struct zcnic_tx_slot *slot = &q->tx[q->tx_cons & q->tx_mask];
		struct sk_buff *skb;

		/* Pairs with the release in zcnic_start_xmit(). */
		more = q->tx_cons != smp_load_acquire(&q->tx_prod);
		if (!more || bytes >= ZCNIC_POLL_BYTES)
			break;

		if (!x->skb) {
			more = zcnic_due(q, slot);
			if (!more)
				break;
			zcnic_xfer_begin(q, slot->skb);
		}
		more = zcnic_push(q);
		if (!more)
			break;

		skb = x->skb;
		zcnic_tx_count(&q->tx_stats, x);
		x->skb = NULL;
		bytes += skb->len;
		pkts++;
		napi_consume_skb(skb, budget);
		/* The slot may be written again. */
		smp_store_release(&q->tx_cons, q->tx_cons + 1);
	}

	if (!netif_txq_completed_wake(txq, pkts, bytes, zcnic_tx_free(q),
				      q->tx_mask / 4))
		q->tx_stats.wake++;
	return more;
}

/* Drops what is in the ring; the queue must be stopped, and NAPI off. */
void zcnic_tx_drain(struct zcnic_queue *q)
{
	hrtimer_cancel(&q->timer);
	q->xfer.skb = NULL;
	while (q->tx_cons != q->tx_prod)
		dev_kfree_skb_any(q->tx[q->tx_cons++ & q->tx_mask].skb);
	netdev_tx_reset_queue(netdev_get_tx_queue(q->port->dev, q->index));
}

// SPDX-License-Identifier: GPL-2.0
/* Steering: header parsing, RSS and ntuple rules. */

#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/ip.h>

#include "zcnic.h"

/* An ntuple rule in the form in which the wire compares it. */
struct zcnic_match {
	bool v6;
	u8 proto;			/* 0: any */
	__be32 src[4];
	__be32 src_mask[4];
	__be32 dst[4];
	__be32 dst_mask[4];
	__be16 sport;
	__be16 sport_mask;
	__be16 dport;
	__be16 dport_mask;
	bool drop;
	bool to_context;
	u8 context;
	u16 queue;
};

/* All of a port's steering settings; replaced as a whole when one changes. */
struct zcnic_steer {
	struct rcu_head rcu;
	u8 hash_fields[ZCNIC_FLOW_KINDS];
	struct zcnic_rss rss[ZCNIC_RSS_CONTEXTS];
	u32 nrules;
	struct zcnic_match rule[] __counted_by(nrules);
};

/* Returns false when the frame is not IP, or its headers are cut short. */
bool zcnic_parse(const u8 *head, u32 head_len, struct zcnic_flow *flow)
{
	const struct ethhdr *eth = (const struct ethhdr *)head;
	u32 off = sizeof(*eth);
	bool fragment;
	__be16 type;

	memset(flow, 0, sizeof(*flow));
	if (head_len < off)
		return false;
	type = eth->h_proto;
	if (type == htons(ETH_P_8021Q)) {
		const struct vlan_hdr *vlan = (const void *)(head + off);

		off += sizeof(*vlan);
		if (head_len < off)
			return false;
		type = vlan->h_vlan_encapsulated_proto;
	}

	flow->l3 = off;
	if (type == htons(ETH_P_IP)) {
		const struct iphdr *ip = (const void *)(head + off);

		if (head_len < off + sizeof(*ip) || ip->ihl < 5)
			return false;
		flow->proto = ip->protocol;
		flow->src[0] = ip->saddr;
		flow->dst[0] = ip->daddr;
		fragment = ip_is_fragment(ip);
		off += ip->ihl * 4;
	} else if (type == htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip6 = (const void *)(head + off);

		if (head_len < off + sizeof(*ip6))
			return false;
		flow->v6 = true;
		flow->proto = ip6->nexthdr;
		memcpy(flow->src, &ip6->saddr, sizeof(flow->src));
		memcpy(flow->dst, &ip6->daddr, sizeof(flow->dst));
		fragment = false;
		off += sizeof(*ip6);
	} else {
		return false;
	}
	flow->ip = true;
	flow->l4 = off;

	if (fragment)
		return true;
	if (flow->proto == IPPROTO_TCP && head_len >= off + sizeof(struct tcphdr)) {
		const struct tcphdr *th = (const void *)(head + off);

		flow->ports = true;
		flow->sport = th->source;
		flow->dport = th->dest;
		if (th->doff >= 5 && head_len >= off + th->doff * 4)
			flow->hdr_len = off + th->doff * 4;
	} else if (flow->proto == IPPROTO_UDP &&
		   head_len >= off + sizeof(struct udphdr)) {
		const struct udphdr *uh = (const void *)(head + off);

		flow->ports = true;
		flow->sport = uh->source;
		flow->dport = uh->dest;
	}
	return true;
}

static u32 zcnic_toeplitz(const u8 *key, const u8 *data, u32 len)
{
	u32 window = get_unaligned_be32(key);
	u32 hash = 0;
	u32 i;
	int bit;

	for (i = 0; i < len; i++) {
		for (bit = 7; bit >= 0; bit--) {
			if (data[i] & BIT(bit))
				hash ^= window;
			window = window << 1 | !!(key[i + 4] & BIT(bit));
		}
	}
	return hash;
}

static u32 zcnic_hash(const struct zcnic_steer *steer, const u8 *key,
		      const struct zcnic_flow *flow, u8 *type)
{
	/* Two addresses and two ports; the key is longer by one word. */
	u8 data[36];
	u32 len = 0;
	u32 alen = flow->v6 ? 16 : 4;
	u8 fields = RXH_IP_SRC | RXH_IP_DST;

	if (flow->ports && flow->proto == IPPROTO_TCP)
		fields = steer->hash_fields[flow->v6 ? ZCNIC_TCP6 : ZCNIC_TCP4];
	else if (flow->ports)
		fields = steer->hash_fields[flow->v6 ? ZCNIC_UDP6 : ZCNIC_UDP4];

	if (fields & RXH_IP_SRC) {
		memcpy(data + len, flow->src, alen);
		len += alen;
	}
	if (fields & RXH_IP_DST) {
		memcpy(data + len, flow->dst, alen);
		len += alen;
	}
	if (fields & RXH_L4_B_0_1) {
		memcpy(data + len, &flow->sport, 2);
		len += 2;
	}
	if (fields & RXH_L4_B_2_3) {
		memcpy(data + len, &flow->dport, 2);
		len += 2;
	}
	*type = fields & (RXH_L4_B_0_1 | RXH_L4_B_2_3) ? PKT_HASH_TYPE_L4 :
							 PKT_HASH_TYPE_L3;
	return zcnic_toeplitz(key, data, len);
}

static bool zcnic_match(const struct zcnic_match *m,
			const struct zcnic_flow *flow)
{
	int i;

	if (m->v6 != flow->v6 || (m->proto && m->proto != flow->proto))
		return false;
	for (i = 0; i < (m->v6 ? 4 : 1); i++)
		if ((flow->src[i] ^ m->src[i]) & m->src_mask[i] ||
		    (flow->dst[i] ^ m->dst[i]) & m->dst_mask[i])
			return false;
	if (!m->sport_mask && !m->dport_mask)
		return true;
	return flow->ports &&
	       !((flow->sport ^ m->sport) & m->sport_mask) &&
	       !((flow->dport ^ m->dport) & m->dport_mask);
}

/* The queue of the port that gets the frame; NULL when a rule drops it. */
struct zcnic_queue *zcnic_steer(struct zcnic_port *to,
				const struct zcnic_flow *flow,
				u32 *hash, u8 *hash_type)
{
	const struct zcnic_match *m = NULL;
	struct zcnic_queue *q = &to->queue[0];
	const struct zcnic_steer *steer;
	const struct zcnic_rss *rss;
	u32 i;

	*hash = 0;
	*hash_type = PKT_HASH_TYPE_NONE;
	if (!flow->ip)
		return q;

	rcu_read_lock();
	steer = rcu_dereference(to->steer);
	for (i = 0; i < steer->nrules; i++) {
		if (zcnic_match(&steer->rule[i], flow)) {
			m = &steer->rule[i];
			break;
		}
	}

	rss = &steer->rss[m && m->to_context ? m->context : 0];
	*hash = zcnic_hash(steer, rss->key, flow, hash_type);
	if (m && m->drop)
		q = NULL;
	else if (m && !m->to_context)
		q = &to->queue[m->queue];
	else
		q = &to->queue[rss->table[*hash % zcnic_like->rss_table]];
	rcu_read_unlock();
	return q;
}

static void zcnic_compile(struct zcnic_match *m, const struct zcnic_rule *rule)
{
	const struct ethtool_rx_flow_spec *fs = &rule->fs;
	u32 type = fs->flow_type & ~FLOW_RSS;

	switch (type) {
	case TCP_V4_FLOW:
	case UDP_V4_FLOW:
		m->proto = type == TCP_V4_FLOW ? IPPROTO_TCP : IPPROTO_UDP;
		m->src[0] = fs->h_u.tcp_ip4_spec.ip4src;
		m->src_mask[0] = fs->m_u.tcp_ip4_spec.ip4src;
		m->dst[0] = fs->h_u.tcp_ip4_spec.ip4dst;
		m->dst_mask[0] = fs->m_u.tcp_ip4_spec.ip4dst;
		m->sport = fs->h_u.tcp_ip4_spec.psrc;
		m->sport_mask = fs->m_u.tcp_ip4_spec.psrc;
		m->dport = fs->h_u.tcp_ip4_spec.pdst;
		m->dport_mask = fs->m_u.tcp_ip4_spec.pdst;
		break;
	case TCP_V6_FLOW:
	case UDP_V6_FLOW:
		m->v6 = true;
		m->proto = type == TCP_V6_FLOW ? IPPROTO_TCP : IPPROTO_UDP;
		memcpy(m->src, fs->h_u.tcp_ip6_spec.ip6src, 16);
		memcpy(m->src_mask, fs->m_u.tcp_ip6_spec.ip6src, 16);
		memcpy(m->dst, fs->h_u.tcp_ip6_spec.ip6dst, 16);
		memcpy(m->dst_mask, fs->m_u.tcp_ip6_spec.ip6dst, 16);
		m->sport = fs->h_u.tcp_ip6_spec.psrc;
		m->sport_mask = fs->m_u.tcp_ip6_spec.psrc;
		m->dport = fs->h_u.tcp_ip6_spec.pdst;
		m->dport_mask = fs->m_u.tcp_ip6_spec.pdst;
		break;
	case IPV4_USER_FLOW:
		m->src[0] = fs->h_u.usr_ip4_spec.ip4src;
		m->src_mask[0] = fs->m_u.usr_ip4_spec.ip4src;
		m->dst[0] = fs->h_u.usr_ip4_spec.ip4dst;
		m->dst_mask[0] = fs->m_u.usr_ip4_spec.ip4dst;
		if (fs->m_u.usr_ip4_spec.proto)
			m->proto = fs->h_u.usr_ip4_spec.proto;
		break;
	case IPV6_USER_FLOW:
		m->v6 = true;
		memcpy(m->src, fs->h_u.usr_ip6_spec.ip6src, 16);
		memcpy(m->src_mask, fs->m_u.usr_ip6_spec.ip6src, 16);
		memcpy(m->dst, fs->h_u.usr_ip6_spec.ip6dst, 16);
		memcpy(m->dst_mask, fs->m_u.usr_ip6_spec.ip6dst, 16);
		if (fs->m_u.usr_ip6_spec.l4_proto)
			m->proto = fs->h_u.usr_ip6_spec.l4_proto;
		break;
	}

	if (fs->ring_cookie == RX_CLS_FLOW_DISC) {
		m->drop = true;
	} else if (fs->flow_type & FLOW_RSS) {
		m->to_context = true;
		m->context = rule->context;
	} else {
		m->queue = fs->ring_cookie;
	}
}

/* Whether the wire can do what a rule asks for. */
int zcnic_rule_check(const struct zcnic_port *port,
		     const struct ethtool_rx_flow_spec *fs)
{
	bool odd;

	switch (fs->flow_type & ~FLOW_RSS) {
	case TCP_V4_FLOW:
	case UDP_V4_FLOW:
		odd = fs->m_u.tcp_ip4_spec.tos;
		break;
	case TCP_V6_FLOW:
	case UDP_V6_FLOW:
		odd = fs->m_u.tcp_ip6_spec.tclass;
		break;
	case IPV4_USER_FLOW:
		odd = fs->m_u.usr_ip4_spec.tos ||
		      fs->m_u.usr_ip4_spec.l4_4_bytes ||
		      fs->m_u.usr_ip4_spec.ip_ver;
		break;
	case IPV6_USER_FLOW:
		odd = fs->m_u.usr_ip6_spec.tclass ||
		      fs->m_u.usr_ip6_spec.l4_4_bytes;
		break;
	default:	/* also FLOW_EXT and FLOW_MAC_EXT */
		return -EOPNOTSUPP;
	}
	if (odd)
		return -EOPNOTSUPP;
	if (fs->ring_cookie != RX_CLS_FLOW_DISC &&
	    fs->ring_cookie >= port->nqueues)
		return -EINVAL;
	return 0;
}

/* Shows the port's settings to the wire. */
int zcnic_steer_commit(struct zcnic_port *port)
{
	struct zcnic_steer *steer, *old;
	u32 i, n = 0;

	for (i = 0; i < ZCNIC_RULES_MAX; i++)
		n += port->rules[i].used;
	steer = kvzalloc(struct_size(steer, rule, n), GFP_KERNEL);
	if (!steer)
		return -ENOMEM;

	steer->nrules = n;
	memcpy(steer->hash_fields, port->hash_fields,
	       sizeof(steer->hash_fields));
	memcpy(steer->rss, port->rss, sizeof(steer->rss));
	for (i = 0, n = 0; i < ZCNIC_RULES_MAX; i++)
		if (port->rules[i].used)
			zcnic_compile(&steer->rule[n++], &port->rules[i]);

	old = rcu_replace_pointer(port->steer, steer, true);
	if (old)
		kvfree_rcu(old, rcu);
	return 0;
}

void zcnic_steer_free(struct zcnic_port *port)
{
	kvfree(rcu_replace_pointer(port->steer, NULL, true));
}

/* Spreads the active queues evenly over a table. */
void zcnic_rss_default(struct zcnic_port *port, u8 *table)
{
	int i;

	for (i = 0; i < zcnic_like->rss_table; i++)
		table[i] = ethtool_rxfh_indir_default(i, port->nqueues);
}

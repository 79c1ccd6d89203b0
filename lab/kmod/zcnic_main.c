// SPDX-License-Identifier: GPL-2.0
/* Module, pairs, netdev operations. */

#include <linux/cpumask.h>
#include <linux/dma-mapping.h>
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <net/netdev_lock.h>
#include <net/netdev_queues.h>

#include "zcnic.h"

#define ZCNIC_PAIRS_MAX		16

static unsigned int pairs = 1;
module_param(pairs, uint, 0444);
MODULE_PARM_DESC(pairs, "pairs of ports to make, 1 to 16 (default 1)");

static unsigned int queues = 8;
module_param(queues, uint, 0444);
MODULE_PARM_DESC(queues, "queues of each port, 1 to 64 (default 8)");

unsigned int zcnic_rate_mbit;
module_param_named(rate_mbit, zcnic_rate_mbit, uint, 0644);
MODULE_PARM_DESC(rate_mbit, "speed of every wire in Mbit/s; 0: as fast as it copies");

unsigned int zcnic_delay_us;
module_param_named(delay_us, zcnic_delay_us, uint, 0644);
MODULE_PARM_DESC(delay_us, "one-way delay of every wire in microseconds");

unsigned int zcnic_loss_ppm;
module_param_named(loss_ppm, zcnic_loss_ppm, uint, 0644);
MODULE_PARM_DESC(loss_ppm, "frames lost by every wire, per million");

unsigned int zcnic_linear_ppm;
module_param_named(linear_ppm, zcnic_linear_ppm, uint, 0644);
MODULE_PARM_DESC(linear_ppm, "small frames that header split misses, per million");

/* The "interrupt" of a queue: its NAPI starts on the queue's own CPU, so that
 * work spreads, and stays put, as it does with one MSI-X vector a queue.
 */
static unsigned int zcnic_queue_cpu(const struct zcnic_queue *q)
{
	return cpumask_nth(q->index % num_online_cpus(), cpu_online_mask);
}

static void zcnic_irq(void *arg)
{
	struct zcnic_queue *q = arg;

	napi_schedule(&q->napi);
}

void zcnic_raise(struct zcnic_queue *q)
{
	unsigned int cpu = zcnic_queue_cpu(q);
	int this_cpu = get_cpu();

	if (cpu == this_cpu || cpu >= nr_cpu_ids ||
	    napi_is_scheduled(&q->napi) ||
	    test_bit(NAPI_STATE_THREADED, &q->napi.state)) {
		local_bh_disable();
		napi_schedule(&q->napi);
		local_bh_enable();
	} else {
		/* Busy means that one is on its way already. */
		smp_call_function_single_async(cpu, &q->irq);
	}
	put_cpu();
}

int zcnic_poll(struct napi_struct *napi, int budget)
{
	struct zcnic_queue *q = container_of(napi, struct zcnic_queue, napi);
	int done = zcnic_rx_poll(q, budget);
	bool more = zcnic_tx_poll(q, budget);

	if (done == budget || more)
		return budget;
	napi_complete_done(napi, done);
	return done;
}

/* The entries of a ring of the wire's, of as many as were asked for. */
u32 zcnic_ring_entries(u32 asked)
{
	return clamp(roundup_pow_of_two(max(asked, 1)), ZCNIC_RING_MIN,
		     ZCNIC_RING_MAX);
}

/* The memory of all queues of a port, made before the old one is given up. */
struct zcnic_rings {
	u16 n;
	u32 tx_size;
	struct zcnic_rx_ring *rx[ZCNIC_QUEUES_MAX];
	struct zcnic_tx_slot *tx[ZCNIC_QUEUES_MAX];
};

static void zcnic_rings_free(struct zcnic_rings *rings)
{
	int i;

	if (!rings)
		return;
	for (i = 0; i < rings->n; i++) {
		zcnic_rx_ring_free(rings->rx[i]);
		kvfree(rings->tx[i]);
	}
	kfree(rings);
}

static struct zcnic_rings *zcnic_rings_alloc(struct zcnic_port *port, u16 n)
{
	struct zcnic_rings *rings;
	int err, i;

	rings = kzalloc_obj(*rings);
	if (!rings)
		return ERR_PTR(-ENOMEM);
	rings->n = n;
	rings->tx_size = zcnic_ring_entries(port->ring.tx);

	for (i = 0; i < n; i++) {
		struct netdev_queue_config cfg = {};
		struct zcnic_rx_ring *rx;

		if (port->dev->queue_mgmt_ops)
			netdev_queue_config(port->dev, i, &cfg);
		rx = zcnic_rx_ring_alloc(port, i, &cfg);
		if (IS_ERR(rx)) {
			err = PTR_ERR(rx);
			goto err_free;
		}
		rings->rx[i] = rx;
		rings->tx[i] = kvcalloc(rings->tx_size, sizeof(*rings->tx[i]),
					GFP_KERNEL);
		if (!rings->tx[i]) {
			err = -ENOMEM;
			goto err_free;
		}
	}
	return rings;

err_free:
	zcnic_rings_free(rings);
	return ERR_PTR(err);
}

static void zcnic_start(struct zcnic_port *port, struct zcnic_rings *rings)
{
	int i;

	for (i = 0; i < rings->n; i++) {
		struct zcnic_queue *q = &port->queue[i];

		netif_napi_add_config_locked(port->dev, &q->napi, zcnic_poll, i);
		q->tx = rings->tx[i];
		q->tx_mask = rings->tx_size - 1;
		q->tx_prod = 0;
		q->tx_cons = 0;
		zcnic_rx_attach(q, rings->rx[i]);
		napi_enable_locked(&q->napi);
		netif_queue_set_napi(port->dev, i, NETDEV_QUEUE_TYPE_RX,
				     &q->napi);
		netif_queue_set_napi(port->dev, i, NETDEV_QUEUE_TYPE_TX,
				     &q->napi);
		netif_set_xps_queue(port->dev,
				    cpumask_of(zcnic_queue_cpu(q)), i);
	}
	kfree(rings);

	netif_tx_wake_all_queues(port->dev);
	for (i = 0; i < port->nqueues; i++)
		zcnic_raise(&port->queue[i]);
}

static void zcnic_stop(struct zcnic_port *port)
{
	int i;

	/* NAPI first: it wakes TX queues. */
	for (i = 0; i < port->nqueues; i++)
		napi_disable_locked(&port->queue[i].napi);
	netif_tx_disable(port->dev);

	for (i = 0; i < port->nqueues; i++) {
		struct zcnic_queue *q = &port->queue[i];

		zcnic_rx_ring_free(zcnic_rx_detach(q));
		zcnic_tx_drain(q);
		kvfree(q->tx);
		q->tx = NULL;
		netif_queue_set_napi(port->dev, i, NETDEV_QUEUE_TYPE_RX, NULL);
		netif_queue_set_napi(port->dev, i, NETDEV_QUEUE_TYPE_TX, NULL);
		__netif_napi_del_locked(&q->napi);
	}
	synchronize_net();
}

/* The core holds the instance lock in all that changes a device, except where
 * it has no queue ops.
 */
static void zcnic_lock(struct net_device *dev)
{
	if (!netdev_need_ops_lock(dev))
		netdev_lock(dev);
}

static void zcnic_unlock(struct net_device *dev)
{
	if (!netdev_need_ops_lock(dev))
		netdev_unlock(dev);
}

static int zcnic_reconfigure_locked(struct zcnic_port *port, u16 nqueues)
{
	struct net_device *dev = port->dev;
	u16 old = port->nqueues;
	struct zcnic_rings *rings = NULL;
	bool running = netif_running(dev);
	int err;

	if (running) {
		rings = zcnic_rings_alloc(port, nqueues);
		if (IS_ERR(rings))
			return PTR_ERR(rings);
		zcnic_stop(port);
	}

	port->nqueues = nqueues;
	err = nqueues == old ? 0 : netif_set_real_num_queues(dev, nqueues,
							     nqueues);
	if (!err && nqueues != old && !netif_is_rxfh_configured(dev)) {
		zcnic_rss_default(port, port->rss[0].table);
		err = zcnic_steer_commit(port);
	}
	if (err) {
		port->nqueues = old;
		netif_set_real_num_queues(dev, old, old);
		if (running) {
			zcnic_rings_free(rings);
			rings = zcnic_rings_alloc(port, old);
		}
	}

	if (!IS_ERR_OR_NULL(rings))
		zcnic_start(port, rings);
	return err;
}

/* Gives a port new rings, of the sizes that its settings now ask for, and
 * nqueues of them. When memory is short the port stays as it was.
 */
int zcnic_reconfigure(struct zcnic_port *port, u16 nqueues)
{
	int err;

	zcnic_lock(port->dev);
	err = zcnic_reconfigure_locked(port, nqueues);
	zcnic_unlock(port->dev);
	return err;
}

/* Both ends have carrier when both are up. */
static void zcnic_set_up(struct zcnic_port *port, bool up)
{
	struct zcnic_pair *pair = port->pair;
	int i;

	mutex_lock(&pair->lock);
	port->up = up;
	for (i = 0; i < 2; i++) {
		if (port->up && port->peer->up)
			netif_carrier_on(pair->port[i]->dev);
		else
			netif_carrier_off(pair->port[i]->dev);
	}
	mutex_unlock(&pair->lock);
}

static int zcnic_open(struct net_device *dev)
{
	struct zcnic_port *port = netdev_priv(dev);
	struct zcnic_rings *rings;

	zcnic_lock(dev);
	rings = zcnic_rings_alloc(port, port->nqueues);
	if (!IS_ERR(rings))
		zcnic_start(port, rings);
	zcnic_unlock(dev);
	if (IS_ERR(rings))
		return PTR_ERR(rings);
	zcnic_set_up(port, true);
	return 0;
}

static int zcnic_close(struct net_device *dev)
{
	struct zcnic_port *port = netdev_priv(dev);

	zcnic_set_up(port, false);
	zcnic_lock(dev);
	zcnic_stop(port);
	zcnic_unlock(dev);
	return 0;
}

static void zcnic_get_stats64(struct net_device *dev,
			      struct rtnl_link_stats64 *stats)
{
	struct zcnic_port *port = netdev_priv(dev);
	int i;

	for (i = 0; i < dev->num_rx_queues; i++) {
		const struct zcnic_queue *q = &port->queue[i];

		stats->rx_packets += READ_ONCE(q->rx_stats.packets);
		stats->rx_bytes += READ_ONCE(q->rx_stats.bytes);
		stats->rx_missed_errors += READ_ONCE(q->wire_stats.no_buffer);
		stats->rx_dropped += READ_ONCE(q->wire_stats.stopped) +
				     READ_ONCE(q->wire_stats.unreadable) +
				     READ_ONCE(q->wire_stats.bad_dma) +
				     READ_ONCE(q->wire_stats.bad_csum);
		stats->tx_packets += READ_ONCE(q->tx_stats.packets);
		stats->tx_bytes += READ_ONCE(q->tx_stats.bytes);
	}
}

/* Header split as it is with these features; it may follow from more than its
 * own setting.
 */
static int zcnic_split_again(struct zcnic_port *port,
			     netdev_features_t features)
{
	u8 config = port->dev->cfg_pending->hds_config;
	bool split = zcnic_like->split(port, config, features);
	int err;

	if (split == port->ring.split)
		return 0;
	port->ring.split = split;
	err = zcnic_reconfigure(port, port->nqueues);
	if (err)
		port->ring.split = !split;
	return err;
}

static int zcnic_change_mtu(struct net_device *dev, int mtu)
{
	int err, old = dev->mtu;

	WRITE_ONCE(dev->mtu, mtu);
	err = zcnic_split_again(netdev_priv(dev), dev->features);
	if (err)
		WRITE_ONCE(dev->mtu, old);
	return err;
}

static netdev_features_t zcnic_fix_features(struct net_device *dev,
					    netdev_features_t features)
{
	if (!zcnic_like->fix_features)
		return features;
	return zcnic_like->fix_features(netdev_priv(dev), features);
}

static int zcnic_set_features(struct net_device *dev,
			      netdev_features_t features)
{
	struct zcnic_port *port = netdev_priv(dev);
	int err, i;

	err = zcnic_split_again(port, features);
	if (err)
		return err;

	/* The wire reads the other features as it goes. */
	if (features & NETIF_F_NTUPLE || zcnic_like->rules_stay)
		return 0;
	for (i = 0; i < ZCNIC_RULES_MAX; i++)
		port->rules[i].used = false;
	return zcnic_steer_commit(port);
}

static const struct net_device_ops zcnic_netdev_ops = {
	.ndo_open		= zcnic_open,
	.ndo_stop		= zcnic_close,
	.ndo_start_xmit		= zcnic_start_xmit,
	.ndo_get_stats64	= zcnic_get_stats64,
	.ndo_change_mtu		= zcnic_change_mtu,
	.ndo_fix_features	= zcnic_fix_features,
	.ndo_set_features	= zcnic_set_features,
	.ndo_set_mac_address	= eth_mac_addr,
	.ndo_validate_addr	= eth_validate_addr,
};

static void zcnic_fill_rx(const struct zcnic_rx_stats *rx,
			  const struct zcnic_wire_stats *wire,
			  struct netdev_queue_stats_rx *stats)
{
	stats->packets = READ_ONCE(rx->packets);
	stats->bytes = READ_ONCE(rx->bytes);
	stats->alloc_fail = READ_ONCE(rx->alloc_fail);
	stats->csum_none = READ_ONCE(rx->csum_none);
	stats->csum_unnecessary = READ_ONCE(rx->csum_unnecessary);
	stats->hw_gro_packets = READ_ONCE(rx->gro_packets);
	stats->hw_gro_bytes = READ_ONCE(rx->gro_bytes);
	stats->hw_gro_wire_packets = READ_ONCE(rx->gro_wire_packets);
	stats->hw_gro_wire_bytes = READ_ONCE(rx->gro_wire_bytes);
	stats->hw_drop_overruns = READ_ONCE(wire->no_buffer);
	stats->hw_drops = stats->hw_drop_overruns + READ_ONCE(wire->stopped) +
			  READ_ONCE(wire->unreadable) +
			  READ_ONCE(wire->bad_dma) +
			  READ_ONCE(wire->bad_csum);
}

static void zcnic_fill_tx(const struct zcnic_tx_stats *tx, u64 stop,
			  struct netdev_queue_stats_tx *stats)
{
	stats->packets = READ_ONCE(tx->packets);
	stats->bytes = READ_ONCE(tx->bytes);
	stats->csum_none = READ_ONCE(tx->csum_none);
	stats->needs_csum = READ_ONCE(tx->needs_csum);
	stats->hw_gso_packets = READ_ONCE(tx->gso_packets);
	stats->hw_gso_bytes = READ_ONCE(tx->gso_bytes);
	stats->hw_gso_wire_packets = READ_ONCE(tx->gso_wire_packets);
	stats->hw_gso_wire_bytes = READ_ONCE(tx->gso_wire_bytes);
	stats->hw_drops = READ_ONCE(tx->lost) + READ_ONCE(tx->ruled_out);
	stats->stop = stop;
	stats->wake = READ_ONCE(tx->wake);
}

static void zcnic_qstats_rx(struct net_device *dev, int idx,
			    struct netdev_queue_stats_rx *stats)
{
	struct zcnic_port *port = netdev_priv(dev);
	const struct zcnic_queue *q = &port->queue[idx];

	zcnic_fill_rx(&q->rx_stats, &q->wire_stats, stats);
}

static void zcnic_qstats_tx(struct net_device *dev, int idx,
			    struct netdev_queue_stats_tx *stats)
{
	struct zcnic_port *port = netdev_priv(dev);
	const struct zcnic_queue *q = &port->queue[idx];

	zcnic_fill_tx(&q->tx_stats, READ_ONCE(q->tx_stop), stats);
}

/* Counters outlive restarts and channel changes, so the base is what the
 * queues that are not active now have counted.
 */
static void zcnic_qstats_base(struct net_device *dev,
			      struct netdev_queue_stats_rx *rx,
			      struct netdev_queue_stats_tx *tx)
{
	static const struct zcnic_rx_stats no_rx;
	static const struct zcnic_wire_stats no_wire;
	static const struct zcnic_tx_stats no_tx;
	struct zcnic_port *port = netdev_priv(dev);

	zcnic_fill_rx(&no_rx, &no_wire, rx);
	zcnic_fill_tx(&no_tx, 0, tx);
	netdev_stat_queue_sum(dev, port->nqueues, dev->num_rx_queues, rx,
			      port->nqueues, dev->num_tx_queues, tx);
}

static const struct netdev_stat_ops zcnic_stat_ops = {
	.get_queue_stats_rx	= zcnic_qstats_rx,
	.get_queue_stats_tx	= zcnic_qstats_tx,
	.get_base_stats		= zcnic_qstats_base,
};

static void zcnic_port_free(struct zcnic_port *port)
{
	if (!port)
		return;
	zcnic_steer_free(port);
	kvfree(port->rules);
	kvfree(port->queue);
	free_netdev(port->dev);
}

static struct zcnic_port *zcnic_port_alloc(struct device *parent,
					   struct zcnic_pair *pair)
{
	struct net_device *dev;
	struct zcnic_port *port;
	int i;

	dev = alloc_netdev_mqs(sizeof(*port), "zc%d", NET_NAME_ENUM,
			       ether_setup, queues, queues);
	if (!dev)
		return NULL;

	SET_NETDEV_DEV(dev, parent);
	port = netdev_priv(dev);
	port->dev = dev;
	port->pair = pair;
	port->nqueues = queues;
	port->ring = zcnic_like->ring;
	port->coalesce = zcnic_like->coalesce;
	port->cqe_mode_rx = zcnic_like->cqe_mode_rx;
	port->cqe_mode_tx = zcnic_like->cqe_mode_tx;
	port->pause = zcnic_like->pause;
	port->priv_flags = zcnic_like->flags_on;
	dev->cfg->hds_thresh = zcnic_like->ring.hds_thresh;
	spin_lock_init(&port->rate_lock);
	port->queue = kvcalloc(queues, sizeof(*port->queue), GFP_KERNEL);
	port->rules = kvcalloc(ZCNIC_RULES_MAX, sizeof(*port->rules), GFP_KERNEL);
	if (!port->queue || !port->rules)
		goto err_free;

	for (i = 0; i < queues; i++) {
		struct zcnic_queue *q = &port->queue[i];

		q->port = port;
		q->index = i;
		spin_lock_init(&q->rx_lock);
		INIT_CSD(&q->irq, zcnic_irq, q);
		hrtimer_setup(&q->timer, zcnic_tx_timer, CLOCK_MONOTONIC,
			      HRTIMER_MODE_ABS);
	}

	for (i = 0; i < ZCNIC_FLOW_KINDS; i++)
		port->hash_fields[i] = RXH_IP_SRC | RXH_IP_DST |
				       RXH_L4_B_0_1 | RXH_L4_B_2_3;
	port->rss[0].used = true;
	netdev_rss_key_fill(port->rss[0].key, zcnic_like->rss_key);
	zcnic_rss_default(port, port->rss[0].table);
	if (zcnic_steer_commit(port))
		goto err_free;

	eth_hw_addr_random(dev);
	dev->netdev_ops = &zcnic_netdev_ops;
	dev->ethtool_ops = &zcnic_ethtool_ops;
	dev->stat_ops = &zcnic_stat_ops;
	if (!zcnic_like->no_queue_ops) {
		dev->queue_mgmt_ops = &zcnic_queue_ops;
		dev->netmem_tx = NETMEM_TX_DMA;
	}
	dev->max_mtu = ZCNIC_MTU_MAX;
	dev->features = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_TSO |
			NETIF_F_TSO6 | NETIF_F_TSO_ECN | NETIF_F_RXHASH |
			zcnic_like->on;
	dev->hw_features = dev->features | zcnic_like->off;
	dev->features |= NETIF_F_RXCSUM | NETIF_F_HIGHDMA | zcnic_like->fixed;
	dev->vlan_features = NETIF_F_SG | NETIF_F_HW_CSUM;
	dev->priv_flags |= IFF_LIVE_ADDR_CHANGE;
	/* As large as the stack can build them from MAX_SKB_FRAGS. */
	netif_set_tso_max_size(dev, GSO_MAX_SIZE);
	netif_carrier_off(dev);
	return port;

err_free:
	zcnic_port_free(port);
	return NULL;
}

static int zcnic_probe(struct platform_device *pdev)
{
	struct zcnic_pair *pair;
	int err, i;

	err = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (err)
		return err;

	pair = kzalloc_obj(*pair);
	if (!pair)
		return -ENOMEM;
	mutex_init(&pair->lock);
	for (i = 0; i < 2; i++)
		pair->port[i] = zcnic_port_alloc(&pdev->dev, pair);
	err = -ENOMEM;
	if (!pair->port[0] || !pair->port[1])
		goto err_free;
	pair->port[0]->peer = pair->port[1];
	pair->port[1]->peer = pair->port[0];

	err = register_netdev(pair->port[0]->dev);
	if (err)
		goto err_free;
	err = register_netdev(pair->port[1]->dev);
	if (err) {
		unregister_netdev(pair->port[0]->dev);
		goto err_free;
	}
	platform_set_drvdata(pdev, pair);
	return 0;

err_free:
	zcnic_port_free(pair->port[0]);
	zcnic_port_free(pair->port[1]);
	kfree(pair);
	return err;
}

static void zcnic_remove(struct platform_device *pdev)
{
	struct zcnic_pair *pair = platform_get_drvdata(pdev);

	/* Each end may touch the queues of the other until both are gone. */
	unregister_netdev(pair->port[0]->dev);
	unregister_netdev(pair->port[1]->dev);
	/* No "interrupt" is on its way to a queue any more. */
	kick_all_cpus_sync();
	zcnic_port_free(pair->port[0]);
	zcnic_port_free(pair->port[1]);
	kfree(pair);
}

static struct platform_driver zcnic_driver = {
	.probe	= zcnic_probe,
	.remove	= zcnic_remove,
	.driver	= {
		.name = KBUILD_MODNAME,
	},
};

static struct platform_device *zcnic_devices[ZCNIC_PAIRS_MAX];

static void zcnic_exit(void)
{
	int i;

	for (i = 0; i < ZCNIC_PAIRS_MAX; i++)
		platform_device_unregister(zcnic_devices[i]);
	platform_driver_unregister(&zcnic_driver);
}

static int __init zcnic_init(void)
{
	int err, i;

	if (!pairs || pairs > ZCNIC_PAIRS_MAX ||
	    !queues || queues > ZCNIC_QUEUES_MAX) {
		pr_err("%s: pairs must be 1 to %u, queues 1 to %u\n",
		       KBUILD_MODNAME, ZCNIC_PAIRS_MAX, ZCNIC_QUEUES_MAX);
		return -EINVAL;
	}
	err = zcnic_like_init();
	if (err)
		return err;
	zcnic_ethtool_ops_init();
	zcnic_queue_ops_init();

	err = platform_driver_register(&zcnic_driver);
	if (err)
		return err;
	for (i = 0; i < pairs; i++) {
		struct platform_device *pdev;

		pdev = platform_device_register_simple(KBUILD_MODNAME, i,
						       NULL, 0);
		if (IS_ERR(pdev)) {
			zcnic_exit();
			return PTR_ERR(pdev);
		}
		zcnic_devices[i] = pdev;
	}
	return 0;
}

module_init(zcnic_init);
module_exit(zcnic_exit);

MODULE_DESCRIPTION("Pairs of software NICs wired back to back");
MODULE_LICENSE("GPL");
MODULE_ALIAS("platform:zcnic");

package rx

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/answers"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/genl"
	"zcbench/internal/genl/ethtool"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/netif"
	"zcbench/internal/printable"
	"zcbench/ringcfg"
	"zcbench/udmabuf"
)

// ownQueues is what an engine needs that binds memory to n NIC queues: the
// payload split from its headers at any length, and queues that get the
// run's flows and nothing else (kernel doc: networking/devmem.rst,
// networking/iou-zcrx.rst).
func ownQueues(n int) ringcfg.Want {
	return ringcfg.Want{Queues: n, Settings: map[string]string{"tcp-data-split": "on", "hds-thresh": "0"}}
}

// Binding is what is to be set before memory can be bound to queues of an interface,
// for as long as it stays set: which queue it will be, a run chooses. An error of kind
// Unsupported says that none can be. Another than the kernel may answer.
func Binding(from *answers.Source, iface string) (ringcfg.Want, error) {
	for _, v := range []feature.Verdict{probeBinding(from, iface), inTheWay(from, iface)} {
		if err := unsupported(v); err != nil {
			return ringcfg.Want{}, err
		}
	}
	w := anyQueue(iface)
	w.Keep = true
	return w, nil
}

// anyQueue is ownQueues without the queues, which flows can be led to all the same.
func anyQueue(iface string) ringcfg.Want {
	w := ownQueues(0)
	w.Interface, w.Settings["feature.rx-ntuple-filter"] = iface, "on"
	return w
}

// errNoQueueAPI says that a driver does not let go of its queues.
var errNoQueueAPI = errors.New("its driver has no queue API")

// queueAPI is what would change that.
const queueAPI = "a NIC whose driver has queue_mgmt_ops, as bnxt, gve, mlx5 and fbnic of recent kernels do"

// tellsAtBind are drivers that have a queue API without anything in it where their
// firmware lets no queue go: only a binding tells (drivers/net/ethernet/broadcom/bnxt/bnxt.c,
// bnxt_queue_mgmt_ops_unsupp, 7.3).
var tellsAtBind = []string{"bnxt_en"}

// askForQueue returns why the kernel refuses to bind memory to a queue of
// iface whatever the memory: EOPNOTSUPP, of the kind errNoQueueAPI where it is
// the driver that cannot, or EPERM. Nil means that nothing is known that is in the
// way; nothing was changed.
func askForQueue(from *answers.Source, nd *netdev.Conn, iface string) error {
	d, err := netif.Look(from, iface)
	if err != nil {
		return err
	}
	err = nd.OfferRX(d.Index(), netdev.Nothing)
	if e, ok := errors.AsType[*genl.Error](err); ok && e.Errno == unix.EOPNOTSUPP && e.Attribute == ".ifindex" {
		return errNoQueueAPI
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) {
		return err
	}
	// The kernel goes so far with drivers too that have its lock and no queue API:
	// representors of mlx5, IPoIB, mana. With real memory it looks for that next, and
	// then whether header split is configured.
	if !splitRefuses(from, iface) {
		return nil
	}
	err = nd.OfferRX(d.Index(), netdev.Offer{Kind: [4]byte{'p', 'a', 'g', 'e'}, Open: func() (genl.File, error) {
		return udmabuf.New(unix.Getpagesize(), false)
	}})
	if e, ok := errors.AsType[*genl.Error](err); ok && e.Errno == unix.EOPNOTSUPP && e.Message == "" {
		return errNoQueueAPI
	}
	return nil
}

// splitRefuses says that the kernel will surely not bind memory to a queue as header
// split is now, so that it may be asked to: kernels that have zcrx look at it first
// (net/core/netdev_rx_queue.c, 7.3).
func splitRefuses(from *answers.Source, iface string) bool {
	if knowsRecvZC(from).Answer != feature.Yes {
		return false
	}
	eth, err := ethtool.DialFrom(from)
	if err != nil {
		return false
	}
	defer eth.Close()
	v, err := eth.Rings(iface)
	return err == nil && (v["tcp-data-split"] != abi.ETHTOOL_TCP_DATA_SPLIT_ENABLED || v["hds-thresh"] > 0)
}

// probeSettings says whether an engine can have ownQueues, and names what is to be
// changed for it.
func probeSettings(from *answers.Source, iface, engine string) feature.Verdict {
	if v := inTheWay(from, iface); v.Answer != feature.Yes {
		return v
	}
	plan, err := ringcfg.PlanFrom(from, anyQueue(iface))
	switch {
	case fault.Of(err) == fault.Unsupported:
		return feature.Impossible(err.Error(), "a NIC with header split and flow rules")
	case err != nil:
		return feature.Undecided(err.Error(), "")
	}
	var sets []string
	for _, c := range plan.Changes {
		set := c.Name + " " + c.To
		if c.From == c.To {
			set += " (it reads so, which does not tell whether it is configured)"
		}
		sets = append(sets, set)
	}
	v := feature.Possible()
	if driver := driverOf(from, iface); slices.Contains(tellsAtBind, driver) {
		v = feature.Undecided("driver "+driver+" tells only when memory is bound whether its firmware lets a queue go",
			"try: zcbench rx --rx "+engine)
	}
	if len(sets) > 0 {
		if v.Reason != "" {
			v.Reason += "; "
		}
		v.Reason += "for its time a run sets " + strings.Join(sets, ", ")
	}
	return v
}

// inTheWay says what there is on an interface that keeps memory from being bound to its
// queues, that a run does not take away, and that can be known before: possible where
// nothing is.
func inTheWay(from *answers.Source, iface string) feature.Verdict {
	// Whoever put an XDP program there wants it (net/core/netdev_rx_queue.c,
	// __netif_mp_open_rxq, 7.3).
	if d, err := netif.Look(from, iface); err == nil && d.Attrs().Xdp != nil && d.Attrs().Xdp.Attached {
		return feature.Impossible(iface+" has an XDP program, beside which the kernel binds no memory to queues",
			"ip link set dev "+printable.Word(iface)+" xdp off")
	}
	eth, err := ethtool.DialFrom(from)
	if err != nil {
		return feature.Possible() // others say so
	}
	defer eth.Close()
	// Port time stamps, which a clock may be set by (mlx5e_queue_mem_alloc, 7.3).
	if d, err := eth.Driver(iface); err == nil && d.Name == "mlx5_core" {
		if flags, err := eth.PrivFlags(iface); err == nil && flags["tx_port_ts"] {
			return feature.Impossible(iface+" has the private flag tx_port_ts, with which mlx5 restarts no queue",
				"ethtool --set-priv-flags "+printable.Word(iface)+" tx_port_ts off")
		}
	}
	return feature.Possible()
}

// driverOf is the driver of an interface, "" where it does not tell.
func driverOf(from *answers.Source, iface string) string {
	eth, err := ethtool.DialFrom(from)
	if err != nil {
		return ""
	}
	defer eth.Close()
	d, err := eth.Driver(iface)
	if err != nil {
		return ""
	}
	return d.Name
}

// allocFailures is how often queues of an interface found no buffer for a
// packet; counted is false where driver or kernel do not tell.
func allocFailures(nd *netdev.Conn, iface net.Interface, queues []uint32) (n float64, counted bool, err error) {
	all, err := nd.QueueStats(iface.Index)
	if errors.Is(err, unix.ENODEV) {
		if down := netif.Down(iface.Index, iface.Name); down != "" {
			return 0, false, fmt.Errorf("%s (%w)", down, err)
		}
	}
	if err != nil && !uncounted(err) {
		return 0, false, err
	}
	for _, q := range all {
		if v, ok := q.Counters["rx-alloc-fail"]; ok && q.Direction == netdev.RX && slices.Contains(queues, q.ID) {
			n, counted = n+float64(v), true
		}
	}
	return n, counted, nil
}

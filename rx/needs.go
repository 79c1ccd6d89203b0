package rx

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/feature"
	"zcbench/internal/genl"
	"zcbench/internal/genl/netdev"
	"zcbench/ringcfg"
)

// ownQueues is what an engine needs that binds memory to n NIC queues: the
// payload parted from its headers at any length, and queues that get the
// run's flows and nothing else (kernel doc: networking/devmem.rst,
// networking/iou-zcrx.rst).
func ownQueues(n int) ringcfg.Want {
	return ringcfg.Want{Queues: n, Settings: map[string]string{"tcp-data-split": "on", "hds-thresh": "0"}}
}

// errNoQueueAPI says that a driver does not let go of its queues.
var errNoQueueAPI = errors.New("its driver has no queue API")

// queueAPI is what would change that.
const queueAPI = "a NIC whose driver has queue_mgmt_ops, such as bnxt, gve, idpf, mlx5 and fbnic of recent kernels"

// askForQueue returns why the kernel refuses to bind memory to a queue of
// iface whatever the memory: EOPNOTSUPP, of the kind errNoQueueAPI where it is
// the driver that cannot, or EPERM. Nil means that it got as far as looking at
// the memory, which here is none: nothing was changed.
func askForQueue(nd *netdev.Conn, iface string) error {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return fmt.Errorf("interface %s: %w", iface, err)
	}
	null, err := os.Open(os.DevNull) // is no dma-buf
	if err != nil {
		return err
	}
	defer null.Close()
	_, err = nd.BindRX(i.Index, int(null.Fd()), []uint32{0}, 0)
	if e, ok := errors.AsType[*genl.Error](err); ok && e.Errno == unix.EOPNOTSUPP && e.Attribute == ".ifindex" {
		return errNoQueueAPI
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) {
		return err
	}
	return nil
}

// probeSettings says whether ownQueues can be had, and names what is to be
// changed for it.
func probeSettings(iface string) feature.Verdict {
	w := ownQueues(1)
	w.Interface, w.Queues = iface, 0
	w.Settings["ntuple"] = "on" // to lead flows to queues
	changes, err := ringcfg.Plan(w)
	switch {
	case errors.Is(err, ringcfg.ErrUnsupported):
		return feature.Impossible(err.Error(), "a NIC with header split and flow rules")
	case err != nil:
		return feature.Undecided(err.Error(), "")
	}
	var sets []string
	for _, c := range changes {
		sets = append(sets, c.Name+" "+c.To)
	}
	v := feature.Possible()
	if len(sets) > 0 {
		v.Reason = "for its time a run sets " + strings.Join(sets, ", ")
	}
	return v
}

// allocFailures is how often queues of an interface found no buffer for a
// packet; counted is false where driver or kernel do not tell.
func allocFailures(nd *netdev.Conn, ifindex int, queues []uint32) (n float64, counted bool, err error) {
	all, err := nd.QueueStats(ifindex)
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

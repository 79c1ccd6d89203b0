// Package outside tells the state of an interface and its host as other programs
// do, to judge by it what zcbench put back.
package outside

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"zcbench/internal/genl/netdev"
	"zcbench/internal/netpair"
)

// look prints what other programs see of an interface, its namespace and the
// machine. A sysfs shows the namespace it was mounted in.
const look = `
mount -t sysfs sysfs /sys || exit 9
for c in k g l c a n x; do echo "= ethtool -$c"; ethtool -$c $0 2>&1; done
echo "= tc"; tc qdisc show dev $0
echo "= sysfs"; cd /sys/class/net/$0
grep -s . mtu tx_queue_len threaded gro_flush_timeout napi_defer_hard_irqs queues/*/rps_cpus queues/*/rps_flow_cnt queues/*/xps_cpus queues/*/xps_rxqs
echo "= sysctl"; cd /proc/sys; grep -rs . net vm kernel/io_uring_disabled kernel/numa_balancing | sort
if [ "$ZCBENCH_LAB" = 1 ]; then
	echo "= irq"; grep -s . /proc/irq/*/smp_affinity
	echo "= host"; grep -s . /sys/devices/system/node/node*/hugepages/*/nr_hugepages /sys/module/udmabuf/parameters/*
fi
echo "= link"; ip -j -d link show dev $0`

// restless sysctls change by themselves, or by what others of this machine do.
var restless = []string{"net/netfilter/nf_conntrack_count", "net/ipv4/tcp_mem", "net/ipv4/udp_mem", "net/mptcp/available_schedulers",
	"net/ipv4/tcp_available_congestion_control"}

// Look is the state of the interface of an end as other programs tell it.
func Look(t testing.TB, e *netpair.End) string {
	t.Helper()
	shell, err := exec.LookPath("sh") // by its path: busybox has an ip of its own
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"unshare", "ethtool", "ip", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s, to look from outside", tool)
		}
	}
	var out, errs bytes.Buffer
	cmd := exec.Command("unshare", "-m", shell, "-c", look, e.Interface)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err = e.Do(cmd.Start); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("look at %s from outside: %v\n%s", e.Interface, err, errs.String())
	}
	text, link, _ := strings.Cut(out.String(), "= link\n")
	var kept []string
	for line := range strings.Lines(text) {
		moves := slices.ContainsFunc(restless, func(p string) bool { return strings.HasPrefix(line, p) })
		// Others of this machine may change what it has once.
		shared := os.Getenv("ZCBENCH_LAB") != "1" && (strings.HasPrefix(line, "vm/") || strings.HasPrefix(line, "kernel/"))
		if !moves && !shared {
			kept = append(kept, strings.TrimRight(line, "\n"))
		}
	}
	var links []map[string]any
	if err := json.Unmarshal([]byte(link), &links); err != nil || len(links) != 1 {
		t.Fatalf("ip link: %v\n%s", err, link)
	}
	for _, name := range []string{"ifindex", "link_index", "link", "link_netnsid"} {
		delete(links[0], name) // a move may give others
	}
	for _, name := range slices.Sorted(maps.Keys(links[0])) {
		kept = append(kept, fmt.Sprintf("link %s: %v", name, links[0][name]))
	}
	return strings.Join(append(kept, instances(t, e)...), "\n")
}

// instances are the NAPI instances' settings by the queue that each serves, and
// the interface's addresses.
func instances(t testing.TB, e *netpair.End) (lines []string) {
	t.Helper()
	if err := e.Do(func() error {
		i, err := net.InterfaceByName(e.Interface)
		if err != nil {
			return err
		}
		addrs, err := i.Addrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() { // those are made of its own address
				lines = append(lines, "address "+a.String())
			}
		}
		conn, err := netdev.Dial()
		if err != nil {
			return nil // before Linux 6.3
		}
		defer conn.Close()
		queues, err := conn.Queues(i.Index)
		if err != nil {
			return err
		}
		napis, err := conn.NAPIs(i.Index)
		if err != nil {
			return err
		}
		shown := func(v *uint64) string {
			if v == nil {
				return "none"
			}
			return fmt.Sprint(*v)
		}
		for _, q := range queues {
			for _, n := range napis {
				if n.ID == q.NAPI {
					lines = append(lines, fmt.Sprintf("napi of %s-%d: defer %s, flush %s, suspend %s, threaded %s", q.Direction, q.ID,
						shown(n.DeferHardIRQs), shown(n.GROFlushTimeout), shown(n.IRQSuspendTimeout), shown(n.Threaded)))
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

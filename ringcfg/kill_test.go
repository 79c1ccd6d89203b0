package ringcfg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"zcbench/internal/netpair"
	"zcbench/internal/testutil/outside"
	"zcbench/internal/testutil/tier"
)

// pair makes two namespaces joined by a veth pair, or skips.
func pair(t *testing.T) *netpair.Pair {
	t.Helper()
	tier.Root(t, "to make network namespaces")
	p, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// local keeps the settings that belong to the interface or its namespace:
// others of this machine may move while a test runs.
func local(s Settings) Settings {
	if inLab {
		return s
	}
	kept := Settings{}
	for name, value := range s {
		f, _, err := familyOf(name)
		if err == nil && f.group == device || strings.HasPrefix(name, "sysctl.net.ipv4.tcp_") && name != "sysctl.net.ipv4.tcp_mem" {
			kept[name] = value
		}
	}
	return kept
}

func state(t *testing.T, e *netpair.End) string {
	t.Helper()
	var text string
	err := e.Do(func() error {
		s, err := Snapshot(e.Interface)
		if err != nil {
			return err
		}
		b, err := json.MarshalIndent(local(s), "", " ")
		text = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// another gives a value that a setting does not have now and that the kernel
// should take, or "".
func another(r *rand.Rand, now Settings, name string) string {
	pick := func(values ...string) string {
		values = slices.DeleteFunc(values, func(v string) bool { return v == now[name] })
		return values[r.IntN(len(values))]
	}
	switch f, _, _ := familyOf(name); f.name {
	case "feature":
		return pick("on", "off")
	case "coalesce":
		if strings.HasPrefix(name, "coalesce.use-") {
			return pick("0", "1")
		}
		return pick("1", "8", "33", "64")
	case "ring":
		switch name {
		case "ring.tcp-data-split":
			return pick("on", "off")
		case "ring.rx", "ring.tx":
			return pick("256", "512", "1024")
		case "ring.hds-thresh":
			return pick("0", "64")
		}
		return ""
	case "channels":
		if now[name] == "0" {
			return ""
		}
		return pick("1", "2")
	case "rss":
		if name == "rss.key" {
			return pick(strings.Repeat("5a", len(now[name])/2), strings.Repeat("c3", len(now[name])/2))
		}
		return pick("equal 1", "equal 2")
	case "napi":
		if strings.HasSuffix(name, "threaded") {
			return pick("off", "on")
		}
		return pick("0", "2", "20000")
	case "irq":
		return pick("0", "1", "0-1")
	case "queue":
		if strings.HasSuffix(name, "cpus") {
			return "cpus " + pick("0", "1", "0-1")
		}
		if strings.HasSuffix(name, "rps-flow-cnt") {
			return pick("256", "1024")
		}
		return ""
	}
	switch name {
	case "link.mtu":
		return pick("1400", "1500", "4148", "9000")
	case "link.gso-max-size", "link.gro-max-size", "link.gso-ipv4-max-size", "link.gro-ipv4-max-size":
		return pick("32768", "65536", "131072")
	case "link.gso-max-segs":
		return pick("44", "65535")
	case "link.tx-queue-len":
		return pick("100", "2000")
	case "sysctl.net.ipv4.tcp_rmem", "sysctl.net.ipv4.tcp_wmem":
		return pick("4096 87380 536870912", "4096 65536 1048576")
	case "sysctl.net.ipv4.tcp_timestamps", "sysctl.net.ipv4.tcp_sack":
		return pick("0", "1")
	case "sysctl.net.ipv4.tcp_notsent_lowat":
		return pick("131072", "4294967295")
	case "shared.net.core.rmem_max", "shared.net.core.wmem_max", "sysctl.net.core.optmem_max", "shared.net.core.optmem_max":
		return pick("1048576", "4194304", "536870912")
	case "shared.net.core.rmem_default", "shared.net.core.wmem_default":
		return pick("1048576", "16777216")
	case "shared.vm.max_map_count":
		return pick("131072", "524240")
	case "hugepages.node0.2048kB":
		return pick("0", "1", "3")
	case "udmabuf.size-limit-mb":
		return pick("64", "128")
	case "udmabuf.list-limit":
		return pick("1024", "2048")
	}
	return ""
}

// TestMain lets the test program be the process that is killed: it applies and
// undoes random settings, for ever, or restores them.
func TestMain(m *testing.M) {
	if os.Getenv("RINGCFG_TEST_DIR") != "" {
		sayDir()
		return
	}
	if iface := os.Getenv("RINGCFG_TEST_VICTIM"); iface != "" {
		if os.Getenv("RINGCFG_TEST_RESTORE") != "" {
			_, err := RestoreAll(background, Journal(os.Getenv("RINGCFG_TEST_JOURNAL")), "")
			fmt.Fprintln(os.Stderr, err)
			return
		}
		fmt.Fprintln(os.Stderr, victim(iface, Journal(os.Getenv("RINGCFG_TEST_JOURNAL")), os.Getenv("RINGCFG_TEST_SEED")))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// victim works until it is killed, or cannot go on because of what others did.
func victim(iface string, j Journal, seed string) error {
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(n, 1))
	for {
		now, err := Snapshot(iface)
		if err != nil {
			return err
		}
		fmt.Println("at work")
		now = local(now)
		want := map[string]string{}
		names := now.names()
		for range 1 + r.IntN(6) {
			name := names[r.IntN(len(names))]
			if v := another(r, now, name); v != "" {
				want[name] = v
			}
		}
		if now["feature.rx-ntuple-filter"] != "" && r.IntN(2) == 0 {
			want["ntuple"] = "on"
			want[fmt.Sprintf("flow.tcp4 dst-ip 198.18.0.2 dst-port %d", 1+r.IntN(3))] = "queue 1"
		}
		keep := r.IntN(3) == 0
		_, undo, err := Apply(context.Background(), Want{Interface: iface, Settings: want, Keep: keep}, j)
		var done Restored
		switch {
		case isBusy(err):
			return err
		case err != nil:
			continue // some combinations do not go together: rolled back
		case keep:
			done, err = Restore(context.Background(), iface, j, 0)
		default:
			done.Drift, err = undo(context.Background())
		}
		if err != nil || len(done.Drift) > 0 {
			return fmt.Errorf("undo %v: %v, %w", want, done.Drift, err)
		}
	}
}

// TestKilled kills a process that applies and undoes random settings at a
// random moment, lets something happen to its interface or to the journal's
// disk, and wants everything back as it was before.
func TestKilled(t *testing.T) {
	p := pair(t)
	killMany(t, &p.RX, uint64(time.Now().UnixNano()), rounds())
}

// rounds is how many processes to kill: make soak asks for more.
func rounds() int {
	if os.Getenv("ZCBENCH_SOAK") != "" {
		return 100
	}
	return 20
}

// mishap is what happens to an interface or the journal beside the kill.
type mishap struct {
	name  string
	do    func(*home) error
	loses bool // a running victim may not be able to go on
}

var faults = []mishap{
	{"nothing", func(*home) error { return nil }, false},
	{"renamed", func(h *home) error { return h.rename(h.end.Interface, "other0") }, true},
	{"given another address", func(h *home) error {
		return netlink.LinkSetHardwareAddr(h.link(), net.HardwareAddr{2, 3, 4, 5, 6, 7})
	}, false},
	{"moved", func(h *home) error { return netlink.LinkSetNsFd(h.link(), int(h.away)) }, true},
	{"renamed and moved", func(h *home) error {
		return errors.Join(h.rename(h.end.Interface, "other0"), netlink.LinkSetNsFd(h.link(), int(h.away)))
	}, true},
}

// home knows what an interface was like, to undo a fault.
type home struct {
	t     *testing.T
	end   *netpair.End
	here  netns.NsHandle
	away  netns.NsHandle
	index int
	mac   net.HardwareAddr
	addrs []netlink.Addr
}

func newHome(t *testing.T, e *netpair.End) *home {
	h := &home{t: t, end: e}
	h.away, _ = newSpace(t)
	in(t, e, func() (err error) {
		if h.here, err = netns.Get(); err != nil {
			return err
		}
		l, err := netlink.LinkByName(e.Interface)
		if err != nil {
			return err
		}
		h.index, h.mac = l.Attrs().Index, l.Attrs().HardwareAddr
		if err := h.carrier(); err != nil {
			return err
		}
		h.addrs, err = netlink.AddrList(l, netlink.FAMILY_ALL)
		return err
	})
	t.Cleanup(func() { h.here.Close() })
	return h
}

// carrier waits for the interface's: a NIC that was set up finds it a while later.
func (h *home) carrier() error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if h.link().Attrs().OperState == netlink.OperUp {
			return nil
		}
	}
	return fmt.Errorf("%s: no carrier within 20 seconds", h.end.Interface)
}

// link is the interface as it is now, in the namespace of the calling thread.
func (h *home) link() netlink.Link {
	h.t.Helper()
	l, err := netlink.LinkByIndex(h.index)
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

func (h *home) rename(from, to string) error {
	l, err := netlink.LinkByName(from)
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetDown(l), netlink.LinkSetName(l, to), netlink.LinkSetUp(l))
}

// back undoes all faults of the interface.
func (h *home) back() {
	h.t.Helper()
	err := within(h.away, func() error {
		for _, name := range []string{h.end.Interface, "other0"} {
			if l, err := netlink.LinkByName(name); err == nil {
				return netlink.LinkSetNsFd(l, int(h.here))
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	in(h.t, h.end, func() error {
		if _, err := netlink.LinkByName(h.end.Interface); err != nil {
			if err := h.rename("other0", h.end.Interface); err != nil {
				return err
			}
		}
		l, err := netlink.LinkByName(h.end.Interface)
		if err != nil {
			return err
		}
		h.index = l.Attrs().Index
		if l.Attrs().HardwareAddr.String() != h.mac.String() {
			if err := netlink.LinkSetHardwareAddr(l, h.mac); err != nil {
				return err
			}
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
		for _, a := range h.addrs {
			if a.IP.IsLinkLocalUnicast() {
				continue
			}
			a.Label, a.Flags, a.LinkIndex = "", unix.IFA_F_NODAD, h.index
			if err := netlink.AddrReplace(l, &a); err != nil {
				return fmt.Errorf("address %s: %w", a.IPNet, err)
			}
		}
		return h.carrier()
	})
}

// start starts this test program as a victim, which says when it is at work, or
// to restore once.
func (h *home) start(j Journal, seed uint64, restore bool) (cmd *exec.Cmd, stderr *strings.Builder, atWork io.Reader) {
	h.t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RINGCFG_TEST_VICTIM="+h.end.Interface, "RINGCFG_TEST_JOURNAL="+string(j),
		fmt.Sprintf("RINGCFG_TEST_SEED=%d", seed))
	if restore {
		cmd.Env = append(cmd.Env, "RINGCFG_TEST_RESTORE=1")
	}
	stderr = &strings.Builder{}
	cmd.Stderr = stderr
	atWork, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.end.Do(cmd.Start); err != nil {
		h.t.Fatal(err)
	}
	return cmd, stderr, atWork
}

// end ends a process in one of several ways.
func end(r *rand.Rand, cmd *exec.Cmd) string {
	how := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGSTOP}[r.IntN(4)]
	_ = cmd.Process.Signal(how) // it may have ended
	if how == syscall.SIGSTOP {
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
		_ = cmd.Process.Kill()
	}
	_ = cmd.Wait()
	return unix.SignalName(how)
}

// oneRun is how long it takes here to change a setting and to put it back.
func oneRun(t *testing.T, e *netpair.End, j Journal) time.Duration {
	t.Helper()
	began := time.Now()
	in(t, e, func() error {
		_, undo, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"mtu": "1400"}}, j)
		if err == nil {
			_, err = undo(background)
		}
		return err
	})
	return time.Since(began)
}

func killMany(t *testing.T, e *netpair.End, seed uint64, rounds int) {
	t.Helper()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	h := newHome(t, e)
	t.Cleanup(h.back)
	dir, fill, free := full(t)
	j := Journal(dir)
	before := outside.Look(t, e)
	span := oneRun(t, e, j)
	open, refused := 0, map[string]int{}
	began, done := time.Now(), 0
	for round := range rounds {
		// An emulated machine that others keep busy takes ten seconds for one.
		if open > 0 && time.Since(began) > time.Minute && os.Getenv("ZCBENCH_SOAK") == "" {
			break
		}
		done++
		f := faults[r.IntN(len(faults))]
		during, fills := r.IntN(2) == 0, r.IntN(4) == 0
		what := fmt.Sprintf("round %d: %s, while it ran: %v, full disk: %v", round, f.name, during, fills)
		cmd, stderr, atWork := h.start(j, r.Uint64(), false)
		// Some die while they begin, some after many changes.
		if r.IntN(5) > 0 {
			_, _ = atWork.Read(make([]byte, 1)) // it may end by itself
		}
		time.Sleep(time.Duration(r.Int64N(int64(2*span + 300*time.Millisecond))))
		if fills {
			fill(int64(r.IntN(4)) * 4096)
		}
		if during {
			in(t, e, func() error { return f.do(h) })
			time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
		}
		what += ", " + end(r, cmd)
		if stderr.Len() > 0 && !(during && f.loses || fills) {
			t.Fatalf("%s: the victim ended by itself: %s", what, stderr)
		}
		if len(glob(dir+"/*.journal")) > 0 {
			open++
		}
		if !during {
			in(t, e, func() error { return f.do(h) })
		}
		if r.IntN(3) == 0 {
			cmd, _, _ := h.start(j, 0, true)
			time.Sleep(time.Duration(5+r.IntN(60)) * time.Millisecond)
			what += ", a restore " + end(r, cmd)
		}
		if r.IntN(2) == 0 {
			free()
		}
		got, err := RestoreAll(background, j, "")
		if len(got.Drift)+len(got.Gone) > 0 {
			t.Errorf("%s: restore: %+v, %v", what, done, err)
		}
		if left := glob(dir + "/*.*"); err == nil && len(left) > 0 {
			t.Fatalf("%s: restored, and left %v", what, left)
		} else if err != nil {
			if len(left) == 0 || !strings.Contains(err.Error(), "zcbench tune ") {
				t.Fatalf("%s: restore left %v: %v", what, left, err)
			}
			refused[f.name]++
			t.Logf("%s: restore: %v", what, err)
		}
		free()
		h.back()
		if err != nil {
			if done, err := RestoreAll(background, j, ""); err != nil || len(done.Drift)+len(done.Gone) > 0 {
				t.Fatalf("%s: restore when it is back: %+v, %v", what, done, err)
			}
		}
		if after := outside.Look(t, e); after != before {
			t.Fatalf("%s: not as before:\n%s", what, lineDiff(before, after))
		}
	}
	t.Logf("a run takes %v; %d of %d processes died over an open journal; could not be restored before the fault was: %v", span, open, done,
		refused)
	if open == 0 {
		t.Error("no process was killed in the middle of a change: the test proves nothing")
	}
}

// lineDiff shows the lines of one text that the other lacks.
func lineDiff(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	var out strings.Builder
	for _, l := range x {
		if !slices.Contains(y, l) {
			fmt.Fprintf(&out, "before %s\n", l)
		}
	}
	for _, l := range y {
		if !slices.Contains(x, l) {
			fmt.Fprintf(&out, "after  %s\n", l)
		}
	}
	return out.String()
}

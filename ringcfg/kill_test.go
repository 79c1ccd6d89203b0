package ringcfg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"zcbench/internal/netpair"
)

// pair makes two namespaces joined by a veth pair, or skips.
func pair(t *testing.T) *netpair.Pair {
	t.Helper()
	p, err := netpair.New()
	if err != nil {
		if os.Getuid() != 0 {
			t.Skipf("needs root: %v", err)
		}
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
			return pick("0", "1")
		}
		return pick("0", "2", "20000")
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
// undoes random settings, for ever.
func TestMain(m *testing.M) {
	if os.Getenv("RINGCFG_TEST_DIR") != "" {
		sayDir()
		return
	}
	if iface := os.Getenv("RINGCFG_TEST_VICTIM"); iface != "" {
		fmt.Fprintln(os.Stderr, victim(iface, Journal(os.Getenv("RINGCFG_TEST_JOURNAL")), os.Getenv("RINGCFG_TEST_SEED")))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

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
		_, undo, err := Apply(context.Background(), Want{Interface: iface, Settings: want}, j)
		if err != nil {
			if errors.Is(err, ErrBusy) {
				return err
			}
			continue // some combinations do not go together: rolled back
		}
		if drift, err := undo(context.Background()); err != nil || len(drift) > 0 {
			return fmt.Errorf("undo %v: %v, %w", want, drift, err)
		}
	}
}

// TestKilled kills a process that applies and undoes random settings at a
// random moment, and wants everything back as it was before.
func TestKilled(t *testing.T) {
	p := pair(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	killMany(t, &p.RX, seed, rounds())
}

// rounds is how many processes to kill: make soak asks for more.
func rounds() int {
	if os.Getenv("ZCBENCH_SOAK") != "" {
		return 200
	}
	return 20
}

func killMany(t *testing.T, e *netpair.End, seed uint64, rounds int) {
	t.Helper()
	before := state(t, e)
	r := rand.New(rand.NewPCG(seed, 2))
	j := Journal(t.TempDir())
	recovered := 0
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "RINGCFG_TEST_VICTIM="+e.Interface, "RINGCFG_TEST_JOURNAL="+string(j), fmt.Sprintf("RINGCFG_TEST_SEED=%d", r.Uint64()))
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := e.Do(cmd.Start); err != nil {
			t.Fatal(err)
		}
		// Some die while they begin, some after many changes.
		time.Sleep(time.Duration(20+r.IntN(30<<r.IntN(6))) * time.Millisecond)
		cmd.Process.Kill()
		if cmd.Wait(); stderr.Len() > 0 {
			t.Fatalf("round %d: the victim ended by itself: %s", round, stderr.String())
		}
		if len(glob(string(j)+"/*.journal")) > 0 {
			recovered++
		}
		var done Restored
		err := e.Do(func() (err error) {
			done, err = Recover(context.Background(), j)
			return err
		})
		if err != nil || len(done.Drift)+len(done.Gone) > 0 {
			t.Fatalf("round %d: recover: %v, %v", round, done, err)
		}
		if after := state(t, e); after != before {
			t.Fatalf("round %d: not as before:\n%s", round, lineDiff(before, after))
		}
		if left := glob(string(j) + "/*.journal"); len(left) > 0 {
			t.Fatalf("round %d: left %v", round, left)
		}
	}
	t.Logf("%d of %d processes died over an open journal", recovered, rounds)
	if recovered == 0 {
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

package ringcfg

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
	"zcbench/internal/genl/ethtool"
	"zcbench/internal/netpair"
	"zcbench/internal/testutil/outside"
	"zcbench/internal/testutil/some"
)

var background = context.Background()

func (r Restored) nothing() bool { return len(r.Changes)+len(r.Drift)+len(r.Gone) == 0 }

// in runs f in the namespace of an end.
func in(t *testing.T, e *netpair.End, f func() error) {
	t.Helper()
	if err := e.Do(f); err != nil {
		t.Fatal(err)
	}
}

// TestEverySetting changes each setting of a veth interface by itself, sees it
// changed, and puts it back.
func TestEverySetting(t *testing.T) {
	p := pair(t)
	tried := everySetting(t, &p.RX)
	t.Logf("changed and put back, by family: %v", tried)
	for _, f := range []string{"sysctl", "link", "feature", "channels", "napi", "queue"} {
		if tried[f] == 0 {
			t.Errorf("no setting of family %s was changed", f)
		}
	}
}

// byKind gathers the names that differ in the number of a queue or CPU alone.
func byKind(names []string) (kinds [][]string) {
	number := regexp.MustCompile(`(-|cpu\.)\d+(\.|$)`)
	at := map[string]int{}
	for _, name := range names {
		kind := number.ReplaceAllString(name, "$1*$2")
		i, ok := at[kind]
		if !ok {
			i = len(kinds)
			at[kind], kinds = i, append(kinds, nil)
		}
		kinds[i] = append(kinds[i], name)
	}
	return kinds
}

// everySetting counts, by family, the settings that it changed; of those that every
// queue has, a queue's.
func everySetting(t *testing.T, e *netpair.End) map[string]int {
	t.Helper()
	before, seen := state(t, e), outside.Look(t, e)
	j := Journal(t.TempDir())
	r := rand.New(rand.NewPCG(1, 1))
	tried := map[string]int{}
	in(t, e, func() error {
		all, err := Snapshot(e.Interface)
		if err != nil {
			return err
		}
		now := local(all)
		var names []string
		for _, alike := range byKind(now.names()) {
			names = append(names, some.Of(t, 1, alike)...)
		}
		for _, name := range names {
			value := another(r, now, name)
			if value == "" {
				continue
			}
			grant, undo, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{name: value}}, j)
			if err != nil {
				// Refused for a good reason is fine, when it is undone.
				t.Logf("%s = %s: %v", name, value, err)
			} else {
				// CPUs may be a mask, and queues a table, that there is already.
				if len(grant.Changes) == 0 && (strings.HasPrefix(value, "cpus ") || strings.HasPrefix(value, "equal ")) {
					if _, err := undo(background); err != nil {
						t.Error(err)
					}
					continue
				}
				if len(grant.Changes) != 1 || grant.Changes[0].Name != name {
					t.Errorf("%s: changes %v", name, grant.Changes)
				}
				tried[strings.SplitN(name, ".", 2)[0]]++
				if drift, err := undo(background); err != nil || len(drift) > 0 {
					t.Errorf("%s: undo: %v, %v", name, drift, err)
				}
			}
			if after := state(t, e); after != before {
				t.Fatalf("%s: not as before:\n%s", name, lineDiff(before, after))
			}
		}
		return nil
	})
	if after := outside.Look(t, e); after != seen {
		t.Errorf("not as before:\n%s", lineDiff(seen, after))
	}
	return tried
}

func TestUnsupported(t *testing.T) {
	p := pair(t)
	e := &p.RX
	before := state(t, e)
	j := Journal(t.TempDir())
	v4 := e.Addr4
	for _, c := range []struct {
		want Want
		kind fault.Kind
		text string
	}{
		{Want{Settings: map[string]string{"mtu": "4148", "tcp-data-split": "on", "ring.rx": "4096"}}, fault.Unsupported,
			"ring.rx, tcp-data-split: not supported by driver veth"},
		{Want{Settings: map[string]string{"gro-hw": "on"}}, fault.Unsupported, "gro-hw: not supported by driver veth"},
		{Want{Settings: map[string]string{"gro": "maybe"}}, fault.Usage, `feature.rx-gro: "maybe" is not on or off`},
		{Want{Settings: map[string]string{"speed": "fast"}}, fault.Usage, `no setting is called "speed"`},
		{Want{Settings: map[string]string{"flow.tcp4 dst-port x": "queue 1"}}, fault.Usage, "x is not a port"},
		{Want{Queues: 1, Flows: []ethtool.Match{{Dst: v4, DstPort: 5302}}}, fault.Unsupported,
			"feature.rx-ntuple-filter: not supported by driver veth"},
		{Want{Queues: 5}, fault.Unsupported, "driver veth of " + e.Interface + " has at most"},
		{Want{Keep: true, Settings: map[string]string{"dma-latency": "3"}}, fault.Usage, "only as long as the process"},
		// The kernel refuses the second: the first is rolled back.
		{Want{Settings: map[string]string{"mtu": "4148", "channels.rx": "0"}}, fault.Failed, "requested channel counts"},
		{Want{Settings: map[string]string{"mtu": "4148", "channels.rx": "4000"}}, fault.Unsupported, "channels.rx: at most"},
		{Want{Settings: map[string]string{"tx-queue-len": "77", "sysctl.net.ipv4.tcp_sack": "0"}}, fault.Usage, "no setting"},
		{Want{Settings: map[string]string{"link.tx-queue-len": "77", "sysctl.net.ipv4.tcp_congestion_control": "none"}}, fault.Usage,
			"is none of those that are there: "},
	} {
		c.want.Interface = e.Interface
		var err error
		in(t, e, func() error {
			_, _, err = Apply(background, c.want, j)
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), c.text) || fault.Of(err) != c.kind {
			t.Errorf("%v:\n got %v (%v)\nwant %s (%v)", c.want.Settings, err, fault.Of(err), c.text, c.kind)
		}
		if after := state(t, e); after != before {
			t.Fatalf("%v: not as before:\n%s", c.want, lineDiff(before, after))
		}
	}
	if left := glob(string(j) + "/*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestOptionalAndPlan(t *testing.T) {
	p := pair(t)
	e := &p.RX
	before := state(t, e)
	w := Want{Interface: e.Interface, Optional: map[string]string{"mtu": "9000", "gro-hw": "on", "feature.tx-tcp*6-segmentation": "off"},
		Settings: map[string]string{"mtu": "4148", "gro": "on"}}
	want := []Change{{"link.mtu", "1500", "4148"}, {"feature.rx-gro", "off", "on"}, {"feature.tx-tcp6-segmentation", "on", "off"}}
	in(t, e, func() error {
		plan, err := Plan(w)
		if err != nil || !slices.Equal(plan.Changes, want) || !slices.Equal(plan.Skipped, []string{"gro-hw"}) || plan.Refused != nil {
			t.Errorf("plan %+v, %v; want %v", plan, err, want)
		}
		return nil
	})
	if after := state(t, e); after != before {
		t.Fatalf("a plan changed something:\n%s", lineDiff(before, after))
	}
	in(t, e, func() error {
		grant, undo, err := Apply(background, w, Journal(t.TempDir()))
		if err != nil {
			return err
		}
		if !slices.Equal(grant.Changes, want) || !slices.Equal(grant.Skipped, []string{"gro-hw"}) {
			t.Errorf("granted %+v", grant)
		}
		_, err = undo(background)
		return err
	})
}

// A change that could not be noted was not made: what was made before it stays.
func TestNotNoted(t *testing.T) {
	s := &session{h: &host{}, book: &book{path: filepath.Join(t.TempDir(), "none", "x.journal")}}
	r := resolved{set: map[string]Settings{"link": {"link.mtu": "9000"}}, optional: map[string]bool{"link.mtu": true}}
	for _, made := range [][]*change{nil, {{Family: "link"}}} {
		s.made = made
		left, err := s.grant(background, family{name: "link", group: "none"}, r)
		if err != nil || len(left) != 1 || len(s.made) != len(made) {
			t.Errorf("after %d changes: left %q, %v, and %d changes", len(made), left, err, len(s.made))
		}
	}
}

// TSO is all that ethtool(8) has by that name: what is left on would still cut.
func TestTSO(t *testing.T) {
	p := pair(t)
	e := &p.RX
	in(t, e, func() error {
		_, undo, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"tso": "off"}}, Journal(t.TempDir()))
		if err != nil {
			return err
		}
		now, err := Snapshot(e.Interface)
		for name, value := range now {
			if strings.HasPrefix(name, "feature.tx-tcp") && strings.HasSuffix(name, "-segmentation") && value != "off" {
				t.Errorf("%s is %s", name, value)
			}
		}
		_, uerr := undo(background)
		return errors.Join(err, uerr)
	})
}

// What moves along with a setting is told as Restore will tell it.
func TestMoved(t *testing.T) {
	p := pair(t)
	e := &p.RX
	j := Journal(t.TempDir())
	in(t, e, func() error {
		grant, _, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"sg": "off"}, Keep: true}, j)
		if err != nil {
			return err
		}
		done, err := Restore(background, e.Interface, j, 0)
		told := map[Change]bool{}
		for _, c := range slices.Concat(grant.Changes, grant.Moved) {
			told[Change{c.Name, c.To, c.From}] = true
		}
		if len(grant.Changes) != 1 || len(grant.Moved) == 0 || len(told) != len(done.Changes) {
			t.Errorf("changed %v, moved %v, put back %v", grant.Changes, grant.Moved, done.Changes)
		}
		for _, c := range done.Changes {
			if !told[c.Change] {
				t.Errorf("put back, and not told: %v", c)
			}
		}
		return err
	})
}

func TestDrift(t *testing.T) {
	p := pair(t)
	e := &p.RX
	j := Journal(t.TempDir())
	in(t, e, func() error {
		_, undo, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"mtu": "4148", "gro": "on"}}, j)
		if err != nil {
			return err
		}
		// Somebody else.
		h, err := here(e.Interface)
		if err != nil {
			return err
		}
		defer h.close()
		if err := writeLink(h, Settings{"link.mtu": "9000"}); err != nil {
			return err
		}
		drift, err := undo(background)
		if want := []Drift{{e.Interface, "link.mtu", "1500", "4148", "9000"}}; err != nil || !slices.Equal(drift, want) {
			t.Errorf("undo: %v, %v; want %v", drift, err, want)
		}
		if text := drift[0].String(); text != e.Interface+`: link.mtu was "1500" before zcbench set "4148", and is "9000" now: somebody else changed it, so it is left as it is; if nobody wants that, set "1500" by hand` {
			t.Error(text)
		}
		now, err := h.snapshot(device)
		if now["link.mtu"] != "9000" || now["feature.rx-gro"] != "off" {
			t.Errorf("mtu %s, want 9000, left alone; gro %s, want off, put back", now["link.mtu"], now["feature.rx-gro"])
		}
		if again, err := undo(background); err != nil || again != nil {
			t.Errorf("a second undo: %v, %v", again, err)
		}
		return err
	})
}

// A value that the kernel would refuse, or take addresses away for, is refused with
// the values that it takes, and changes nothing.
func TestRefusedValues(t *testing.T) {
	p := pair(t)
	e := &p.RX
	before := state(t, e)
	j := Journal(t.TempDir())
	for _, c := range [][2]string{
		{"mtu=5", "from 68 to 65535, not \"5\""}, {"mtu=70000", "from 68 to 65535"}, {"mtu=4k", "from 68 to 65535"}, {"mtu=1279",
			"IPv6 addresses away"},
		{"gro-max-size=0", "from 1 to 524280"}, {"gso-max-size=4000000", "from 1 to"}, {"gso-max-size=1", "headers"}, {"link.gso-max-segs=70000",
			"from 1 to"}, {"link.tx-queue-len=-1", "from 0 to"},
	} {
		name, value, _ := strings.Cut(c[0], "=")
		in(t, e, func() error {
			_, _, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{name: value}}, j)
			if fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), c[1]) || !strings.Contains(err.Error(), e.Interface) {
				t.Errorf("%s: %v, want %q", c[0], err, c[1])
			}
			return nil
		})
	}
	if now := state(t, e); now != before {
		t.Errorf("was %s, is %s", before, now)
	}
}

// A size that may be less is the most that the interface takes.
func TestUpTo(t *testing.T) {
	p := pair(t)
	e := &p.RX
	j := Journal(t.TempDir())
	in(t, e, func() error {
		l, err := netlink.LinkByName(e.Interface)
		if err != nil {
			return err
		}
		most := strconv.Itoa(int(l.Attrs().TSOMaxSize))
		_, undo, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"gso-max-size": "up to 999999999",
			"gro-max-size": "up to 131072"}}, j)
		if err != nil {
			return err
		}
		now, err := Snapshot(e.Interface)
		if err != nil || now["link.gso-max-size"] != most || now["link.gro-max-size"] != "131072" {
			t.Errorf("gso-max-size is %s of %s, gro-max-size %s, %v", now["link.gso-max-size"], most, now["link.gro-max-size"], err)
		}
		_, err = undo(background)
		return err
	})
}

// An MTU that IPv6 has for itself goes with each change of the interface's, and comes
// back with it.
func TestIPv6MTU(t *testing.T) {
	p := pair(t)
	e := &p.RX
	j := Journal(t.TempDir())
	file := "/proc/sys/net/ipv6/conf/" + e.Interface + "/mtu"
	is := func(want string) {
		t.Helper()
		if now, err := readFile(file); err != nil || now != want {
			t.Errorf("IPv6 has %s, %v; want %s", now, err, want)
		}
	}
	in(t, e, func() error {
		if !exist(file) {
			t.Log("needs IPv6")
			return nil
		}
		// That it has come up changes it once more.
		for end := time.Now().Add(10 * time.Second); link(t, e.Interface).Attrs().OperState != netlink.OperUp && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
		if err := writeFile(file, "1400"); err != nil {
			return err
		}
		for _, set := range []map[string]string{{"mtu": "9000"}, {"mtu": "1300"}, {ipv6MTU: "1350"}} {
			if _, _, err := Apply(background, Want{Interface: e.Interface, Settings: set, Keep: true}, j); err != nil {
				return err
			}
			is(cmp.Or(set["mtu"], set[ipv6MTU]))
			if done, err := Restore(background, e.Interface, j, 0); err != nil || len(done.Drift) > 0 {
				t.Errorf("%v: restore: %+v, %v", set, done, err)
			}
			is("1400")
		}
		for _, value := range []string{"1279", "1500", "x"} {
			if _, err := Plan(Want{Interface: e.Interface, Settings: map[string]string{ipv6MTU: value}}); fault.Of(err) != fault.Usage ||
				!strings.Contains(err.Error(), "from 1280 to 1499") {
				t.Errorf("%s: %v", value, err)
			}
		}
		// Without one there is nothing to tell of.
		if err := writeFile(file, "1500"); err != nil {
			return err
		}
		grant, undo, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"mtu": "9000"}}, j)
		if err != nil {
			return err
		}
		if len(grant.Moved) > 0 {
			t.Errorf("moved along: %v", grant.Moved)
		}
		_, err = undo(background)
		return err
	})
}

// A sysctl of the whole host is none that this kernel lacks, nor one that a right is
// missing for.
func TestHostWideSysctls(t *testing.T) {
	p := pair(t)
	in(t, &p.RX, func() error {
		ns, err := netns.Get()
		if err != nil {
			return err
		}
		defer ns.Close()
		h := &host{ns: ns, initial: netns.None()} // as in a container
		_, err = h.resolve(Want{Settings: map[string]string{"sysctl.net.core.netdev_budget": "300"}}, Settings{})
		if err == nil || !strings.Contains(err.Error(), "the whole host's") {
			t.Errorf("one that is hidden: %v", err)
		}
		err = writeSysctlFiles("sysctl.", Settings{"sysctl.net.core.rmem_max": "300000"})
		if err == nil || !strings.Contains(err.Error(), "the whole host's") {
			t.Errorf("one that is read-only: %v", err)
		}
		return nil
	})
}

func TestKeepAndRestore(t *testing.T) {
	p := pair(t)
	e := &p.RX
	before := state(t, e)
	j := Journal(t.TempDir())
	in(t, e, func() error {
		for _, mtu := range []string{"4148", "9000"} {
			_, undo, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"mtu": mtu}, Keep: true}, j)
			if err != nil || undo != nil {
				t.Fatalf("keep mtu %s: %v, undo %v", mtu, err, undo != nil)
			}
		}
		// A run over it leaves what was kept in place.
		_, undo, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"mtu": "2000"}}, j)
		if err != nil {
			return err
		}
		if _, err := undo(background); err != nil {
			return err
		}
		if done, err := Recover(background, j); err != nil || !done.nothing() {
			t.Errorf("recover: %v, %v", done, err)
		}
		if now, err := Snapshot(e.Interface); err != nil || now["link.mtu"] != "9000" {
			t.Errorf("after a run: mtu %s, %v; want 9000", now["link.mtu"], err)
		}
		done, err := Restore(background, e.Interface, j, 0)
		if want := []PutBack{{e.Interface, Change{"link.mtu", "9000", "4148"}},
			{e.Interface, Change{"link.mtu", "4148", "1500"}}}; !slices.Equal(done.Changes, want) || done.Drift != nil {
			t.Errorf("restore: %+v", done)
		}
		return err
	})
	if after := state(t, e); after != before {
		t.Errorf("not as before:\n%s", lineDiff(before, after))
	}
	if left := glob(string(j) + "/*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestBusy(t *testing.T) {
	p := pair(t)
	e := &p.RX
	j := Journal(t.TempDir())
	in(t, e, func() error {
		_, undo, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"mtu": "4148"}}, j)
		if err != nil {
			return err
		}
		_, _, err = Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"mtu": "9000"}}, j)
		if !isBusy(err) || !strings.Contains(err.Error(), "interface "+e.Interface+" is held by process ") {
			t.Errorf("a second holder: %v", err)
		}
		if done, err := Recover(background, j); err != nil || !done.nothing() {
			t.Errorf("recover what is alive: %v, %v", done, err)
		}
		time.AfterFunc(100*time.Millisecond, func() {
			if _, err := undo(background); err != nil {
				t.Error(err)
			}
		})
		_, undo2, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"mtu": "9000"}, Wait: 10 * time.Second}, j)
		if err != nil {
			return err
		}
		_, err = undo2(background)
		return err
	})
}

// TestTornJournal cuts the journal of a dead process at every byte of its last
// line.
func TestTornJournal(t *testing.T) {
	p := pair(t)
	e := &p.RX
	before := state(t, e)
	j := Journal(t.TempDir())
	want := Want{Interface: e.Interface, Settings: map[string]string{"mtu": "4148"}}
	in(t, e, func() error {
		s, err := begin(e.Interface, j, 0)
		if err != nil {
			return err
		}
		if _, err := s.apply(background, want); err != nil {
			return err
		}
		path := s.path
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s.close() // as a kill does: nothing is undone
		lines := strings.SplitAfter(string(text), "\n")
		whole := len(text) - len(lines[len(lines)-2])
		for cut := whole; cut < len(text); cut += 7 {
			if err := os.WriteFile(path, text[:cut], 0o600); err != nil {
				return err
			}
			// The change is in doubt: it was made, and not noted as done.
			if done, err := Recover(background, j); err != nil || done.Drift != nil {
				t.Fatalf("cut at %d: %v, %v", cut, done, err)
			}
			if after := state(t, e); after != before {
				t.Fatalf("cut at %d: not as before:\n%s", cut, lineDiff(before, after))
			}
			s, err := begin(e.Interface, Journal(t.TempDir()), 0)
			if err != nil {
				return err
			}
			if _, err := s.apply(background, want); err != nil {
				return err
			}
			s.close()
		}
		return nil
	})
}

func TestWithoutRights(t *testing.T) {
	p := pair(t)
	e := &p.RX
	before := state(t, e)
	in(t, e, func() error {
		runtime.LockOSThread() // never unlocked: its rights go with it
		none := [2]unix.CapUserData{}
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			return err
		}
		_, _, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"mtu": "4148", "gro": "on",
			"sysctl.net.ipv4.tcp_sack": "0"}}, Journal(t.TempDir()))
		want := "sysctl.net.ipv4.tcp_sack needs CAP_NET_ADMIN; link.mtu needs CAP_NET_ADMIN; feature.rx-gro needs CAP_NET_ADMIN (run it as root)"
		if fault.Of(err) != fault.Unsupported || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		return nil
	})
	if after := state(t, e); after != before {
		t.Errorf("not as before:\n%s", lineDiff(before, after))
	}
}

// TestNamespaceGone loses the namespace together with the process: there is
// nothing to put back, and the host's own settings must not be taken for it.
func TestNamespaceGone(t *testing.T) {
	p := pair(t)
	e := &p.RX
	j := Journal(t.TempDir())
	before, err := Snapshot("")
	if err != nil {
		t.Fatal(err)
	}
	in(t, e, func() error {
		s, err := begin(e.Interface, j, 0)
		if err != nil {
			return err
		}
		if _, err := s.apply(background, Want{Interface: e.Interface, Settings: map[string]string{"mtu": "4148",
			"sysctl.net.ipv4.tcp_rmem": "4096 8192 16384"}}); err != nil {
			return err
		}
		// Killed before it was noted as done: in doubt.
		lines, err := os.ReadFile(s.path)
		if err != nil {
			return err
		}
		text := strings.Join(slices.DeleteFunc(strings.SplitAfter(string(lines), "\n"),
			func(l string) bool { return strings.HasPrefix(l, `{"done"`) }), "")
		if err := os.WriteFile(s.path, []byte(text), 0o600); err != nil {
			return err
		}
		return s.close()
	})
	p.Close()
	deadline := time.Now().Add(5 * time.Second) // namespaces go in the background
	for {
		if done, err := Recover(background, j); err != nil || done.Drift != nil {
			t.Fatalf("recover: %v, %v", done, err)
		}
		if len(glob(string(j)+"/*.journal")) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the journal is still there")
		}
		time.Sleep(20 * time.Millisecond)
	}
	after, err := Snapshot("")
	if err != nil {
		t.Fatal(err)
	}
	if after["sysctl.net.ipv4.tcp_rmem"] != before["sysctl.net.ipv4.tcp_rmem"] {
		t.Errorf("the host's tcp_rmem is %s and was %s", after["sysctl.net.ipv4.tcp_rmem"], before["sysctl.net.ipv4.tcp_rmem"])
	}
}

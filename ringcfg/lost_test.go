package ringcfg

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
	"zcbench/internal/netpair"
	"zcbench/internal/testutil/tier"
)

// link finds the interface of an end, in its namespace.
func link(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newSpace makes a namespace that only an open file holds, until the test ends
// or its close is called.
func newSpace(t *testing.T) (ns netns.NsHandle, end func()) {
	t.Helper()
	made := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is in it
		var err error
		ns, err = netns.New()
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	open := true
	end = func() {
		if open {
			ns.Close()
			open = false
		}
	}
	t.Cleanup(end)
	return ns, end
}

// mtuOf reads the MTU of the interface of an index, or 0.
func mtuOf(ns netns.NsHandle, index int) (mtu int) {
	_ = within(ns, func() error {
		if i, err := net.InterfaceByIndex(index); err == nil {
			mtu = i.MTU
		}
		return nil
	})
	return mtu
}

// TestFound changes an interface, lets others do things to it, and wants its
// settings back wherever it is, by a restore of all and of the name it had.
func TestFound(t *testing.T) {
	renamed := func(t *testing.T, l netlink.Link, _ netns.NsHandle) {
		for _, err := range []error{netlink.LinkSetDown(l), netlink.LinkSetName(l, "other0"), netlink.LinkSetUp(l)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	readdressed := func(t *testing.T, l netlink.Link, _ netns.NsHandle) {
		if err := netlink.LinkSetHardwareAddr(l, net.HardwareAddr{2, 3, 4, 5, 6, 7}); err != nil {
			t.Fatal(err)
		}
	}
	moved := func(t *testing.T, l netlink.Link, to netns.NsHandle) {
		if err := netlink.LinkSetNsFd(l, int(to)); err != nil {
			t.Fatal(err)
		}
	}
	for name, steps := range map[string][]func(*testing.T, netlink.Link, netns.NsHandle){
		"as it was":             nil,
		"renamed":               {renamed},
		"another address":       {readdressed},
		"moved":                 {moved},
		"renamed and moved":     {renamed, moved},
		"address, then moved":   {readdressed, moved},
		"all three":             {renamed, readdressed, moved},
		"renamed and addressed": {renamed, readdressed},
	} {
		for _, kept := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, kept %v", name, kept), func(t *testing.T) {
				p := pair(t)
				e := &p.RX
				j := Journal(t.TempDir())
				to, _ := newSpace(t)
				var index int
				in(t, e, func() error {
					l := link(t, e.Interface)
					index = l.Attrs().Index
					abandon(t, e, j, kept, map[string]string{"mtu": "4148", "gro": "on", "sysctl.net.ipv4.tcp_rmem": "4096 8192 16384"})
					for _, step := range steps {
						step(t, l, to)
					}
					return nil
				})
				done, err := RestoreAll(background, j, e.Interface)
				if err != nil || len(done.Drift)+len(done.Gone) > 0 || len(done.Changes) != 3 {
					t.Errorf("restored %+v, %v", done, err)
				}
				at := to
				if err := within(to, func() error { _, err := net.InterfaceByIndex(index); return err }); err != nil {
					at = netns.None()
				}
				in(t, e, func() error {
					if !at.IsOpen() {
						if i, err := net.InterfaceByIndex(index); err != nil || i.MTU != 1500 {
							t.Errorf("MTU %+v, %v", i, err)
						}
					} else if mtu := mtuOf(at, index); mtu != 1500 {
						t.Errorf("MTU %d", mtu)
					}
					rmem, err := readFile("/proc/sys/net/ipv4/tcp_rmem")
					if rmem == "4096 8192 16384" {
						t.Error("the namespace has still the sysctl")
					}
					return err
				})
				if left := glob(string(j) + "/*"); len(left) > 0 {
					t.Errorf("left %v", left)
				}
			})
		}
	}
}

// The undo of a run finds an interface that was renamed while it was on.
func TestUndoRenamed(t *testing.T) {
	p := pair(t)
	e := &p.RX
	j := Journal(t.TempDir())
	in(t, e, func() error {
		_, undo, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"mtu": "4148", "gro": "on"}}, j)
		if err != nil {
			return err
		}
		l := link(t, e.Interface)
		if err := errors.Join(netlink.LinkSetDown(l), netlink.LinkSetName(l, "other0"), netlink.LinkSetUp(l)); err != nil {
			return err
		}
		if drift, err := undo(background); err != nil || len(drift) > 0 {
			t.Errorf("undo: %v, %v", drift, err)
		}
		if now, err := Snapshot("other0"); err != nil || now["link.mtu"] != "1500" || now["feature.rx-gro"] != "off" {
			t.Errorf("MTU %s, GRO %s, %v", now["link.mtu"], now["feature.rx-gro"], err)
		}
		if left := glob(string(j) + "/*"); len(left) > 0 {
			t.Errorf("left %v", left)
		}
		return nil
	})
}

// abandon makes changes as a process does that is killed, or keeps them.
func abandon(t *testing.T, e *netpair.End, j Journal, kept bool, settings map[string]string) {
	t.Helper()
	s, err := begin(e.Interface, j, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.apply(background, Want{Interface: e.Interface, Settings: settings}); err != nil {
		t.Fatal(err)
	}
	if kept {
		if err := s.book.write(entry{Kept: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

// TestNotFound takes the interface away and leaves its namespace: it may be
// somewhere. The rest is put back, and what it had stays in the journal.
func TestNotFound(t *testing.T) {
	p := pair(t)
	e := &p.RX
	j := Journal(t.TempDir())
	in(t, e, func() error {
		abandon(t, e, j, true, map[string]string{"mtu": "4148", "sysctl.net.ipv4.tcp_rmem": "4096 8192 16384"})
		return netlink.LinkDel(link(t, e.Interface))
	})
	for range 2 { // it does not lose it by saying so
		_, err := RestoreAll(background, j, "")
		if err == nil || !strings.Contains(err.Error(), "the interface that was called "+e.Interface) || !strings.Contains(err.Error(),
			"tune journal --forget") {
			t.Errorf("restore: %v", err)
		}
	}
	in(t, e, func() error {
		rmem, err := readFile("/proc/sys/net/ipv4/tcp_rmem")
		if rmem == "4096 8192 16384" {
			t.Error("the namespace has still the sysctl")
		}
		return err
	})
	all, err := Journaled(j)
	if err != nil || len(all) != 1 || all[0].Interface != e.Interface || len(all[0].Changes) != 1 ||
		all[0].Changes[0] != (Change{"link.mtu", "1500", "4148"}) {
		t.Fatalf("pending: %+v, %v", all, err)
	}
	if err := Forget(j, "../"+all[0].Name); fault.Of(err) != fault.Usage {
		t.Errorf("forget a path: %v", err)
	}
	if err := Forget(j, all[0].Name); err != nil {
		t.Error(err)
	}
	if left := glob(string(j) + "/*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// TestHostOutlivesNamespace deletes the namespace, and its interface with it,
// of a process that changed the machine too.
func TestHostOutlivesNamespace(t *testing.T) {
	tier.Root(t, "to change the machine")
	const file = "/proc/sys/net/core/optmem_max"
	before, err := readFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(file, []byte(before), 0) })
	p := pair(t)
	e := &p.RX
	j := Journal(t.TempDir())
	in(t, e, func() error {
		abandon(t, e, j, true, map[string]string{"mtu": "4148", "sysctl.net.ipv4.tcp_rmem": "4096 8192 16384",
			"sysctl.net.core.optmem_max": "163841"})
		return nil
	})
	if now, _ := readFile(file); now != "163841" {
		t.Skipf("optmem_max is %s: this kernel has one for each namespace", now)
	}
	p.Close()
	ns := tell(t, j)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		h, ok := findSpace(ns) // namespaces go in the background
		if !ok {
			break
		}
		h.Close()
	}
	done, err := RestoreAll(background, j, "")
	if err != nil || len(done.Gone) != 2 || len(done.Changes) != 1 {
		t.Errorf("restore: %+v, %v", done, err)
	}
	if now, err := readFile(file); err != nil || now != before {
		t.Errorf("optmem_max is %s and was %s, %v", now, before, err)
	}
	if left := glob(string(j) + "/*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// tell gives the namespace that the one journal file is about.
func tell(t *testing.T, j Journal) space {
	t.Helper()
	all := books([]string{string(j)})
	if len(all) != 1 || len(all[0].changes) == 0 {
		t.Fatalf("journal: %v", all)
	}
	return all[0].changes[0].tx.Namespace
}

// TestMixedChange loses the namespace of one change to sysctls of it and of the
// machine, which are in one change where the initial namespace is closed to it.
func TestMixedChange(t *testing.T) {
	tier.Root(t, "to change the machine")
	const file = "/proc/sys/vm/stat_interval"
	before, err := readFile(file)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.WriteFile(file, []byte(before), 0) })
	p := pair(t)
	e := &p.RX
	j := Journal(t.TempDir())
	in(t, e, func() error {
		s, err := begin(e.Interface, j, 0)
		if err != nil {
			return err
		}
		s.h.initial.Close() // as where processes of others cannot be looked at
		s.h.initial = netns.None()
		if _, err := s.apply(background, Want{Interface: e.Interface, Settings: map[string]string{"sysctl.net.ipv4.tcp_rmem": "4096 8192 16384",
			"sysctl.vm.stat_interval": "7"}}); err != nil {
			return err
		}
		return s.close()
	})
	if now, _ := readFile(file); now != "7" {
		t.Fatalf("stat_interval is %s", now)
	}
	p.Close()
	ns := tell(t, j)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		h, ok := findSpace(ns)
		if !ok {
			break
		}
		h.Close()
	}
	done, err := RestoreAll(background, j, "")
	if err != nil || len(done.Gone) != 1 || len(done.Changes) != 1 {
		t.Errorf("restore: %+v, %v", done, err)
	}
	if now, err := readFile(file); err != nil || now != before {
		t.Errorf("stat_interval is %s and was %s, %v", now, before, err)
	}
}

// TestDamaged spoils the journal of a dead process in several ways: it is said,
// what is sure is put back, nothing is lost, and nobody is locked out.
func TestDamaged(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(lines []string) string
		mtu   string // after the restore
		says  string
	}{
		"emptied":            {func([]string) string { return "" }, "4148", "it is empty"},
		"no whole line":      {func(l []string) string { return l[0][:20] }, "4148", "it is empty"},
		"garbage first":      {func(l []string) string { return "garbage\n" + strings.Join(l, "") }, "4148", "line 1: "},
		"garbage before":     {func(l []string) string { return l[0] + "garbage\n" + l[1] + l[2] }, "4148", "line 2: "},
		"garbage in doubt":   {func(l []string) string { return l[0] + l[1] + "garbage\n" + l[2] }, "1500", "line 3: "},
		"garbage at its end": {func(l []string) string { return l[0] + l[1] + l[2] + "garbage\n" }, "1500", "line 4: "},
		"zeroes":             {func(l []string) string { return strings.Join(l, "") + strings.Repeat("\x00", 512) + "\n" }, "1500", "line 4: "},
		"another family": {func(l []string) string {
			return l[0] + strings.ReplaceAll(l[1], `"family":"link"`, `"family":"udmabuf"`)
		}, "4148", "line 2: "},
	} {
		t.Run(name, func(t *testing.T) {
			p := pair(t)
			e := &p.RX
			j := Journal(t.TempDir())
			in(t, e, func() error {
				abandon(t, e, j, false, map[string]string{"mtu": "4148"})
				path := glob(string(j) + "/*.journal")[0]
				text, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				if err := os.WriteFile(path, []byte(c.spoil(strings.SplitAfter(string(text), "\n"))), 0o600); err != nil {
					return err
				}
				// A run goes on, over what is there.
				_, undo, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"gro": "on"}}, j)
				if err != nil {
					return fmt.Errorf("a run after it: %w", err)
				}
				if _, err := undo(background); err != nil {
					return err
				}
				for range 2 {
					if _, err := Recover(background, j); err == nil || !strings.Contains(err.Error(), c.says) {
						t.Errorf("recover: %v, want %s", err, c.says)
					}
				}
				for _, restore := range []func() (Restored, error){
					func() (Restored, error) { return Restore(background, e.Interface, j, 0) },
					func() (Restored, error) { return RestoreAll(background, j, "") },
				} {
					_, err := restore()
					if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "tune journal --forget ") {
						t.Errorf("restore: %v, want %s", err, c.says)
					}
				}
				if now, err := Snapshot(e.Interface); err != nil || now["link.mtu"] != c.mtu {
					t.Errorf("restored to MTU %s, %v; want %s", now["link.mtu"], err, c.mtu)
				}
				all, err := Journaled(j)
				if err != nil || len(all) != 1 || all[0].Damage == nil {
					t.Fatalf("pending: %+v, %v", all, err)
				}
				if of := all[0].Of(); of != e.Interface && !strings.HasPrefix(of, fmt.Sprintf("interface number %d of ",
					link(t, e.Interface).Attrs().Index)) {
					t.Errorf("it is said to be of %s", of)
				}
				if err := Forget(j, all[0].Name); err != nil {
					t.Error(err)
				}
				if done, err := RestoreAll(background, j, ""); err != nil || !done.nothing() {
					t.Errorf("after it was forgotten: %+v, %v", done, err)
				}
				return nil
			})
			if left := glob(string(j) + "/*"); len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

// TestNewNames kills a process in the middle of a change, and lets settings
// come into being before it is undone: they are nobody's to remove.
func TestNewNames(t *testing.T) {
	p := pair(t)
	e := &p.RX
	before := state(t, e)
	for _, lost := range []string{"napi.", "queue.", "feature.", "coalesce."} {
		j := Journal(t.TempDir())
		in(t, e, func() error {
			s, err := begin(e.Interface, j, 0)
			if err != nil {
				return err
			}
			if err := s.announce(); err != nil {
				return err
			}
			was, err := s.h.snapshot(device)
			if err != nil {
				return err
			}
			for name := range was {
				if strings.HasPrefix(name, lost) {
					delete(was, name)
				}
			}
			c := &change{Family: "link", Set: Settings{"link.mtu": "4148"}, Before: was}
			if err := s.book.write(entry{Change: c}); err != nil {
				return err
			}
			if err := writeLink(s.h, c.Set); err != nil {
				return err
			}
			s.book.f.Close() // as a kill does
			s.book = nil
			if err := s.close(); err != nil {
				return err
			}
			if _, undo, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"gro": "on"}}, j); err != nil {
				t.Errorf("without %s before: %v", lost, err)
			} else if _, err := undo(background); err != nil {
				t.Errorf("without %s before: %v", lost, err)
			}
			return nil
		})
		if after := state(t, e); after != before {
			t.Errorf("without %s before: not as before:\n%s", lost, lineDiff(before, after))
		}
		if left := glob(string(j) + "/*"); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	}
}

// full makes a small file system, which fills up to the last byte but leave.
func full(t *testing.T) (dir string, fill func(leave int64), free func()) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	stuffing := filepath.Join(dir, "stuffing")
	fill = func(leave int64) {
		f, err := os.Create(stuffing)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		block := make([]byte, 4096)
		var size int64
		for err == nil {
			var n int
			n, err = f.Write(block)
			size += int64(n)
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		if err := f.Truncate(max(0, size-leave)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, fill, func() { os.Remove(stuffing) }
}

// TestFullDisk fills the journal's file system before a run, in the middle of
// it, and before its end. What cannot be noted is not done, and what was done
// is undone without a note.
func TestFullDisk(t *testing.T) {
	p := pair(t)
	e := &p.RX
	before := state(t, e)
	dir, fill, free := full(t)
	j := Journal(dir)
	want := Want{Interface: e.Interface, Settings: map[string]string{"mtu": "4148", "gro": "on", "tso": "off", "tx-usecs": "33",
		"channels.rx": "1", "threaded": "on", "sysctl.net.ipv4.tcp_sack": "0"}}
	in(t, e, func() error {
		now, err := Snapshot(e.Interface)
		if err != nil {
			return err
		}
		for name := range want.Settings {
			if names, err := expand(name, now); err != nil || len(names) == 0 {
				delete(want.Settings, name)
			}
		}
		return nil
	})
	refused, done := 0, 0
	for leave := int64(0); leave <= 64<<10; leave += 4096 {
		fill(leave)
		in(t, e, func() error {
			_, undo, err := Apply(background, want, j)
			if err == nil {
				done++
				_, err = undo(background)
				return err
			}
			refused++
			if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%d bytes left: %v", leave, err)
			}
			return nil
		})
		if after := state(t, e); after != before {
			t.Fatalf("%d bytes left: not as before:\n%s", leave, lineDiff(before, after))
		}
		if left := glob(dir + "/*"); len(left) > 1 {
			t.Errorf("%d bytes left: left %v", leave, left)
		}
		free()
	}
	if refused < 2 || done < 1 {
		t.Errorf("%d runs were refused and %d not: the test proves nothing", refused, done)
	}
	// It fills up while a run is on, and while one is dead.
	in(t, e, func() error {
		_, undo, err := Apply(background, want, j)
		if err != nil {
			return err
		}
		fill(0)
		if _, err := undo(background); err != nil {
			t.Errorf("undo on a full disk: %v", err)
		}
		free()
		abandon(t, e, j, true, want.Settings)
		fill(0)
		if done, err := Restore(background, e.Interface, j, 0); err != nil || len(done.Changes) == 0 {
			t.Errorf("restore on a full disk: %+v, %v", done, err)
		}
		return nil
	})
	if after := state(t, e); after != before {
		t.Fatalf("not as before:\n%s", lineDiff(before, after))
	}
	if left := glob(dir + "/*"); len(left) > 1 {
		t.Errorf("left %v", left)
	}
}

// TestStuckOrder wants that a change which cannot be undone keeps those before
// it in the journal: they would be taken for somebody else's.
func TestStuckOrder(t *testing.T) {
	p := pair(t)
	e := &p.RX
	j := Journal(t.TempDir())
	in(t, e, func() error {
		abandon(t, e, j, true, map[string]string{"mtu": "4148"})
		abandon(t, e, j, true, map[string]string{"mtu": "9000"})
		return nil
	})
	path := glob(string(j) + "/*.journal")[0]
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The second change was from an MTU that cannot be had.
	lines := strings.SplitAfter(string(text), "\n")
	if len(lines) < 7 || !strings.Contains(lines[5], `"link.mtu":"4148"`) {
		t.Fatalf("the journal is not as expected:\n%s", text)
	}
	lines[5] = strings.Replace(lines[5], `"link.mtu":"4148"`, `"link.mtu":"1"`, 1)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if done, err := RestoreAll(background, j, ""); err == nil || !strings.Contains(err.Error(),
		e.Interface+": could not put back: link.mtu") || len(done.Drift) > 0 {
		t.Errorf("restore: %+v, %v", done, err)
	}
	all, err := Journaled(j)
	if err != nil || len(all) != 1 || len(all[0].Changes) != 2 {
		t.Errorf("pending: %+v, %v; want both changes", all, err)
	}
}

// TestMovedMeanwhile moves an interface to another network namespace while its settings
// are others: they are put back where it is, by whoever changed them, also when a change
// is just being made. One that is deleted is called so.
func TestMovedMeanwhile(t *testing.T) {
	pair(t) // or skip
	was, _ := newSpace(t)
	to, _ := newSpace(t)
	j := Journal(t.TempDir())
	inside := func(ns netns.NsHandle, f func() error) {
		t.Helper()
		if err := within(ns, f); err != nil {
			t.Fatal(err)
		}
	}
	mtu := func(want int) func() error {
		return func() error {
			if is := link(t, "v0").Attrs().MTU; is != want {
				t.Errorf("an MTU of %d, want %d", is, want)
			}
			return nil
		}
	}
	inside(was, func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "v0"}, PeerName: "v1"}); err != nil {
			return err
		}
		_, undo, err := Apply(background, Want{Interface: "v0", Settings: map[string]string{"mtu": "4148"}}, j)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetNsFd(link(t, "v0"), int(to)); err != nil {
			return err
		}
		inside(to, mtu(4148))
		if drift, err := undo(background); err != nil || len(drift) > 0 {
			t.Errorf("undo: %v, %v", drift, err)
		}
		return nil
	})
	inside(to, mtu(1500))
	if left := glob(string(j) + "/*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}

	inside(to, func() error {
		s, err := begin("v0", j, 0)
		if err != nil {
			return err
		}
		defer s.close()
		if _, err := s.apply(background, Want{Interface: "v0", Settings: map[string]string{"mtu": "4148"}}); err != nil {
			return err
		}
		if err := netlink.LinkSetNsFd(link(t, "v0"), int(was)); err != nil {
			return err
		}
		if _, err := s.undo(background); err != nil {
			t.Errorf("undo of what is begun: %v", err)
		}
		return nil
	})
	inside(was, mtu(1500))

	inside(was, func() error {
		_, undo, err := Apply(background, Want{Interface: "v0", Settings: map[string]string{"mtu": "4148"}}, j)
		if err != nil {
			return err
		}
		if err := netlink.LinkDel(link(t, "v0")); err != nil {
			return err
		}
		if _, err := undo(background); err == nil || !strings.Contains(err.Error(), "the interface that was called v0") ||
			!strings.Contains(err.Error(), "--forget") {
			t.Errorf("undo with the interface deleted: %v", err)
		}
		return nil
	})
}

// TestLookalike moves both ends of a pair to other namespaces, with another address,
// and deletes the one where they were: whose settings the interface has can no longer
// be told for sure, and nothing is called gone while one has them.
func TestLookalike(t *testing.T) {
	pair(t) // or skip
	was, end := newSpace(t)
	to, _ := newSpace(t)
	other, _ := newSpace(t)
	j := Journal(t.TempDir())
	inside := func(ns netns.NsHandle, f func() error) {
		t.Helper()
		if err := within(ns, f); err != nil {
			t.Fatal(err)
		}
	}
	var space space
	inside(was, func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "v0"}, PeerName: "v1"}); err != nil {
			return err
		}
		abandon(t, &netpair.End{Interface: "v0"}, j, true, map[string]string{"mtu": "4148"})
		space = tell(t, j)
		return errors.Join(netlink.LinkSetNsFd(link(t, "v1"), int(other)), netlink.LinkSetNsFd(link(t, "v0"), int(to)))
	})
	inside(to, func() error { return netlink.LinkSetHardwareAddr(link(t, "v0"), net.HardwareAddr{2, 3, 4, 5, 6, 7}) })
	end()
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		h, ok := findSpace(space)
		if !ok {
			break
		}
		h.Close()
	}
	if _, err := RestoreAll(background, j, ""); err == nil || !strings.Contains(err.Error(), "or is v0 of the network namespace") {
		t.Errorf("restore: %v", err)
	}
	if all, err := Journaled(j); err != nil || len(all) != 1 {
		t.Errorf("pending: %+v, %v", all, err)
	}
	inside(to, func() error { return netlink.LinkDel(link(t, "v0")) })
	if done, err := RestoreAll(background, j, ""); err != nil || len(done.Gone) != 1 {
		t.Errorf("with the interface deleted: %+v, %v", done, err)
	}
	if left := glob(string(j) + "/*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

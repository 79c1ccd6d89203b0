package ringcfg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/netpair"
	"zcbench/internal/testutil/tier"
)

// stranger is a user that no test runs as.
const stranger = 54321

// TestDir plants directories that others could have filled, or could put
// something else in the place of.
func TestDir(t *testing.T) {
	tier.Root(t, "to give directories to others")
	at := func(parts ...string) string { return filepath.Join(parts...) }
	mkdir := func(t *testing.T, path string, mode os.FileMode, uid int) string {
		t.Helper()
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, -1); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(t *testing.T, to, path string) string {
		t.Helper()
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, top string) string
		says string // "": it is obeyed
	}{
		"none there": {func(_ *testing.T, top string) string { return at(top, "a", "b") }, ""},
		"one's own":  {func(t *testing.T, top string) string { return mkdir(t, at(top, "a"), 0o700, 0) }, ""},
		"one's own in a sticky": {func(t *testing.T, top string) string {
			return mkdir(t, at(mkdir(t, at(top, "a"), 0o777|os.ModeSticky, 0), "b"), 0o700, 0)
		}, ""},
		"root's link": {func(t *testing.T, top string) string { return link(t, mkdir(t, at(top, "a"), 0o700, 0), at(top, "b")) }, ""},
		"a relative one": {func(t *testing.T, top string) string {
			mkdir(t, at(top, "a"), 0o700, 0)
			return link(t, "./a", at(top, "b"))
		}, ""},
		"a stranger's": {func(t *testing.T, top string) string { return mkdir(t, at(top, "a"), 0o700, stranger) }, "/a belongs to user 54321"},
		"in a stranger's": {func(t *testing.T, top string) string { return at(mkdir(t, at(top, "a"), 0o755, stranger), "b") },
			"/a belongs to user 54321"},
		"in a stranger's sticky": {func(t *testing.T, top string) string {
			return at(mkdir(t, at(top, "a"), 0o777|os.ModeSticky, stranger), "b")
		}, "/a belongs to user 54321"},
		"open to all": {func(t *testing.T, top string) string { return mkdir(t, at(top, "a"), 0o777, 0) },
			"/a may be written by others (mode 0777)"},
		"open to a group": {func(t *testing.T, top string) string { return mkdir(t, at(top, "a"), 0o770, 0) },
			"/a may be written by others (mode 0770)"},
		"in one open to all": {func(t *testing.T, top string) string { return at(mkdir(t, at(top, "a"), 0o777, 0), "b") },
			"/a may be written by others"},
		"a link where all may": {func(t *testing.T, top string) string {
			return link(t, mkdir(t, at(top, "b"), 0o700, 0), at(mkdir(t, at(top, "a"), 0o777|os.ModeSticky, 0), "c"))
		}, "/a/c is a symbolic link"},
		"links in a circle": {func(t *testing.T, top string) string { return link(t, "a", at(top, "a")) }, "/a is a symbolic link"},
		"a file": {func(t *testing.T, top string) string { os.WriteFile(at(top, "a"), nil, 0o600); return at(top, "a") },
			"/a is no directory"},
		"in a file": {func(t *testing.T, top string) string {
			os.WriteFile(at(top, "a"), nil, 0o600)
			return at(top, "a", "b")
		}, "/a is no directory"},
		"a link to a stranger's": {func(t *testing.T, top string) string {
			return link(t, mkdir(t, at(top, "b"), 0o700, stranger), at(top, "a"))
		}, "/b belongs to user 54321"},
		"the parent of one's own": {func(t *testing.T, top string) string {
			mkdir(t, at(top, "a"), 0o700, 0)
			return link(t, "../"+filepath.Base(top)+"/a", at(top, "b"))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := Journal(c.make(t, t.TempDir())).Dir()
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
					t.Errorf("%s: %v, %v", dir, st, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %s", err, c.says)
			}
		})
	}
}

// asStranger runs this test program again, as another user who is root of a
// user namespace of its own, to say where its journal is.
func asStranger(t *testing.T, tmp string) string {
	t.Helper()
	exe, err := os.Open("/proc/self/exe") // by a path that only root may go
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^$")
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Env = []string{"RINGCFG_TEST_DIR=1", "TMPDIR=" + tmp}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: stranger, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: stranger, Size: 1}},
		Credential:  &syscall.Credential{},
	}
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Skipf("needs a user namespace: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// sayDir is the other end of asStranger.
func sayDir() {
	dir, err := Journal("").Dir()
	fmt.Println(dir, err)
}

// TestDirOfUserNamespace wants that root of a user namespace is told from root,
// and that both keep apart where they share a directory for temporary files.
func TestDirOfUserNamespace(t *testing.T) {
	tier.Root(t, "to act as another user")
	tmp, err := os.MkdirTemp("/tmp", "ringcfg") // others may go there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(tmp, fmt.Sprintf("zcbench-%d", stranger))
	if got := asStranger(t, tmp); got != own+" <nil>" {
		t.Errorf("its journal is at %s, want %s", got, own)
	}
	var st unix.Stat_t
	if err := unix.Stat(own, &st); err != nil || st.Uid != stranger || st.Mode&0o777 != 0o700 {
		t.Errorf("%s: user %d, mode %o, %v", own, st.Uid, st.Mode&0o777, err)
	}
	// Somebody else was there first.
	if err := os.Chown(own, stranger+1, -1); err != nil {
		t.Fatal(err)
	}
	if got := asStranger(t, tmp); !strings.Contains(got, own+" belongs to user 65534, not to this one; point XDG_RUNTIME_DIR at a directory "+
		"of your own") {
		t.Errorf("a stranger's: %s", got)
	}
}

// TestPlanted wants that a journal carries out nothing that zcbench would not
// have done, even where it lies in the right place.
func TestPlanted(t *testing.T) {
	const core = "/proc/sys/kernel/core_pattern"
	before, err := os.ReadFile(core)
	if err != nil {
		t.Skip(err)
	}
	for name, change := range map[string]string{
		"set":    `{"family":"sysctl","set":{"sysctl.kernel.core_pattern":"x"},"before":{"sysctl.kernel.core_pattern":"%s"}}`,
		"before": `{"family":"sysctl","set":{"sysctl.net.core.rmem_max":"1"},"before":{"sysctl.kernel.core_pattern":"%s"}}`,
		"shared": `{"family":"shared","set":{},"before":{"shared.kernel.core_pattern":"%s"}}`,
		"family": `{"family":"udmabuf","set":{},"before":{"sysctl.net.core.rmem_max":"%s"}}`,
		"none":   `{"family":"files","set":{},"before":{"files.etc":"%s"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			text := fmt.Sprintf(`{"begin":{"pid":1,"boot":%q,"namespace":{"inode":1}}}`+"\n"+`{"change":`+change+"}\n", bootID(), "/tmp/planted")
			if err := os.WriteFile(filepath.Join(dir, "host.journal"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := RestoreAll(context.Background(), Journal(dir), "")
			if err == nil || !strings.Contains(err.Error(), "line 2") {
				t.Errorf("restore: %v", err)
			}
			if after, err := os.ReadFile(core); err != nil || !slices.Equal(after, before) {
				t.Errorf("kernel.core_pattern is %q, %v", after, err)
				os.WriteFile(core, before, 0)
			}
		})
	}
}

func TestMayBeSet(t *testing.T) {
	for _, key := range sysctls {
		if err := mayBeSet(key); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{"kernel.core_pattern", "kernel.modprobe", "kernel.hotplug", "net.core.bpf_jit_harden", "fs.suid_dumpable",
		"vm.mmap_min_addr",
		"kernel.randomize_va_space", "net/../kernel/core_pattern", "net.ipv4.x/../../../kernel/core_pattern", "kernel.sched_/../core_pattern", "",
		"net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding", "net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.eth1.mtu",
		"net.ipv4.conf.all.rp_filter",
		"net.ipv4.ip_unprivileged_port_start", "net.ipv4.icmp_echo_ignore_all", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_fastopen_key",
		"net.core.default_qdisc",
		"net.core.warnings", "net.ipv4.tcp_available_congestion_control", "net.mptcp.enabled", "vm.dirty_bytes", "vm.dirty_ratio",
		"kernel.watchdog", "kernel.sched_domain"} {
		if err := mayBeSet(key); err == nil {
			t.Errorf("%q may be set", key)
		}
		_, err := Plan(Want{Settings: map[string]string{"sysctl." + key: "x"}})
		if err == nil || !strings.Contains(err.Error(), "none that zcbench sets") {
			t.Errorf("wanted %q: %v", key, err)
		}
	}
}

// withPlaces runs f in the namespace of an end, with a /run of its own and directories
// for the journal that are empty; readOnly is what may be done to /run.
func withPlaces(t *testing.T, e *netpair.End, f func(readOnly func(bool)) error) {
	t.Helper()
	tier.Root(t, "for a mount namespace")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	in(t, e, func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("a mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
			return err
		}
		return f(func(yes bool) {
			flags := uintptr(unix.MS_REMOUNT)
			if yes {
				flags |= unix.MS_RDONLY
			}
			if err := unix.Mount("", "/run", "", flags, ""); err != nil {
				t.Error(err) // and no Fatal, which would end the thread alone
			}
		})
	})
}

// A journal is found where it is, also where it cannot be written now, and one begun
// elsewhere is gone on with.
func TestReadOnlyPlace(t *testing.T) {
	p := pair(t)
	e := &p.RX
	mtu := func(want string) {
		t.Helper()
		if now, err := Snapshot(e.Interface); err != nil || now["link.mtu"] != want {
			t.Errorf("MTU %s, %v; want %s", now["link.mtu"], err, want)
		}
	}
	apply := func(mtu string) error {
		_, _, err := Apply(background, Want{Interface: e.Interface, Settings: map[string]string{"mtu": mtu}, Keep: true}, "")
		return err
	}
	withPlaces(t, e, func(readOnly func(bool)) error {
		if err := apply("1400"); err != nil {
			return err
		}
		readOnly(true)
		all, err := Journaled("")
		if err != nil || len(all) != 1 || len(all[0].Changes) != 1 || all[0].Damage != nil || all[0].Blocked == nil {
			return fmt.Errorf("pending: %+v, %w", all, err)
		}
		says := filepath.Join(runDir, all[0].Name)
		_, one := Restore(background, e.Interface, "", 0)
		_, every := RestoreAll(background, "", "")
		_, called := RestoreAll(background, "", e.Interface)
		for what, err := range map[string]error{"restore": one, "restore all": every, "restore a name": called, "apply": apply("9000"),
			"forget": Forget("", all[0].Name)} {
			if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v, want %s", what, err, says)
			}
		}
		if done, err := Recover(background, ""); err != nil || !done.nothing() {
			t.Errorf("recover what is kept: %+v, %v", done, err)
		}
		mtu("1400")
		readOnly(false)
		if done, err := Restore(background, e.Interface, "", 0); err != nil || len(done.Changes) == 0 {
			t.Errorf("restore: %+v, %v", done, err)
		}
		mtu("1500")

		abandon(t, e, "", false, map[string]string{"mtu": "1400"})
		readOnly(true)
		if _, err := Recover(background, ""); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), says) {
			t.Errorf("recover: %v, want %s", err, says)
		}
		readOnly(false)
		if _, err := Recover(background, ""); err != nil {
			t.Error(err)
		}
		mtu("1500")

		readOnly(true)
		if err := apply("1400"); err != nil {
			return err
		}
		readOnly(false)
		if err := apply("9000"); err != nil {
			return err
		}
		if all, err := Journaled(""); err != nil || len(all) != 1 || len(all[0].Changes) != 2 {
			t.Errorf("pending: %+v, %v", all, err)
		}
		if done, err := Restore(background, e.Interface, "", 0); err != nil || len(done.Drift) > 0 {
			t.Errorf("restore: %+v, %v", done, err)
		}
		mtu("1500")
		return nil
	})
}

// Of the places that were not chosen, another user's is not looked into, and one's own
// that others can write is an error.
func TestOtherPlaces(t *testing.T) {
	p := pair(t)
	withPlaces(t, &p.RX, func(readOnly func(bool)) error {
		dir := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "zcbench-0")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "host.journal"), []byte("{}\n"), 0o600); err != nil {
			return err
		}
		if all, err := Journaled(""); err != nil || len(all) != 0 {
			return fmt.Errorf("one's own: %+v, %w", all, err)
		}
		if got, err := Journal("").Dir(); err != nil || got != dir {
			t.Errorf("the journal is at %s, %v; want where one is", got, err)
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			return err
		}
		if _, err := Journaled(""); err == nil || !strings.Contains(err.Error(), dir+" may be written by others") {
			t.Errorf("one that all can write: %v", err)
		}
		if err := os.Chown(dir, stranger, -1); err != nil {
			return err
		}
		if all, err := Journaled(""); err != nil || len(all) != 0 {
			t.Errorf("a stranger's: %+v, %v", all, err)
		}
		if got, err := Journal("").Dir(); err != nil || got != runDir {
			t.Errorf("beside a stranger's the journal is at %s, %v", got, err)
		}
		// Nor is a stranger's link to one's own.
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o777|os.ModeSticky), os.Symlink(runDir, dir),
			os.Lchown(dir, stranger, -1)); err != nil {
			return err
		}
		_, err := Journaled("")
		return err
	})
}

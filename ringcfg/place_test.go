package ringcfg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// stranger is a user that no test runs as.
const stranger = 54321

// TestDir plants directories that others could have filled, or could put
// something else in the place of.
func TestDir(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to give directories to others")
	}
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
		"a stranger's":    {func(t *testing.T, top string) string { return mkdir(t, at(top, "a"), 0o700, stranger) }, "/a belongs to user 54321"},
		"in a stranger's": {func(t *testing.T, top string) string { return at(mkdir(t, at(top, "a"), 0o755, stranger), "b") }, "/a belongs to user 54321"},
		"in a stranger's sticky": {func(t *testing.T, top string) string {
			return at(mkdir(t, at(top, "a"), 0o777|os.ModeSticky, stranger), "b")
		}, "/a belongs to user 54321"},
		"open to all":        {func(t *testing.T, top string) string { return mkdir(t, at(top, "a"), 0o777, 0) }, "/a may be written by others (mode 0777)"},
		"open to a group":    {func(t *testing.T, top string) string { return mkdir(t, at(top, "a"), 0o770, 0) }, "/a may be written by others (mode 0770)"},
		"in one open to all": {func(t *testing.T, top string) string { return at(mkdir(t, at(top, "a"), 0o777, 0), "b") }, "/a may be written by others"},
		"a link where all may": {func(t *testing.T, top string) string {
			return link(t, mkdir(t, at(top, "b"), 0o700, 0), at(mkdir(t, at(top, "a"), 0o777|os.ModeSticky, 0), "c"))
		}, "/a/c is a symbolic link"},
		"links in a circle": {func(t *testing.T, top string) string { return link(t, "a", at(top, "a")) }, "/a is a symbolic link"},
		"a file":            {func(t *testing.T, top string) string { os.WriteFile(at(top, "a"), nil, 0o600); return at(top, "a") }, "/a is no directory"},
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
	if os.Getuid() != 0 {
		t.Skip("needs root, to act as another user")
	}
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
	if got := asStranger(t, tmp); !strings.Contains(got, own+" belongs to user 65534, not to this one; point XDG_RUNTIME_DIR at a directory of your own") {
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
	for _, key := range []string{"kernel.core_pattern", "kernel.modprobe", "kernel.hotplug", "net.core.bpf_jit_harden", "fs.suid_dumpable", "vm.mmap_min_addr",
		"kernel.randomize_va_space", "net/../kernel/core_pattern", "net.ipv4.x/../../../kernel/core_pattern", "kernel.sched_/../core_pattern", ""} {
		if err := mayBeSet(key); err == nil {
			t.Errorf("%q may be set", key)
		}
		_, err := Plan(Want{Settings: map[string]string{"sysctl." + key: "x"}})
		if err == nil || !strings.Contains(err.Error(), "none that zcbench sets") {
			t.Errorf("wanted %q: %v", key, err)
		}
	}
}

package cpuclock

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"zcbench/internal/cgroup"
	"zcbench/internal/procfile"
)

// cpuacct: the same as schedstat, by the accounting of control groups of version 1,
// which kernels without scheduler statistics may have.
type cpuacct struct {
	file *procfile.File
}

func openCPUAcct(root string) (*cpuacct, error) {
	dir, err := cpuacctRoot(root)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		// Another sysfs may hide it.
		text, err := os.ReadFile(filepath.Join(root, "proc/cgroups"))
		if err != nil {
			return nil, err
		}
		all := cgroup.Together(string(text), "cpuacct")
		if all == "" {
			return nil, fmt.Errorf("no hierarchy of control groups has cpuacct: %w", fs.ErrNotExist)
		}
		mount, err := cgroup.Mount("cgroup", all)
		if err != nil {
			return nil, err
		}
		defer mount.Close()
		dir = fmt.Sprintf("proc/self/fd/%d", mount.Fd())
	}
	// A container shows its own group as the root; a file that only the root of all
	// has tells.
	if _, err := os.Stat(filepath.Join(root, dir, "cgroup.sane_behavior")); err != nil {
		return nil, fmt.Errorf("control groups show a part of this host: %w", err)
	}
	f, err := procfile.Open(root, filepath.Join(dir, "cpuacct.usage_percpu"))
	if err != nil {
		return nil, err
	}
	c := &cpuacct{f}
	if err := c.read(0, nil, make([]int64, 1)); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// cpuacctRoot is where the hierarchy is mounted, without a slash before it; "":
// nowhere.
func cpuacctRoot(root string) (string, error) {
	mounts, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) { // proc_pid_mountinfo(5)
		mount, super, _ := strings.Cut(strings.TrimSpace(line), " - ")
		m, s := strings.Fields(mount), strings.Fields(super)
		if len(m) >= 5 && len(s) >= 3 && m[3] == "/" && s[0] == "cgroup" && slices.Contains(strings.Split(s[2], ","), "cpuacct") {
			return strings.TrimPrefix(m[4], "/"), nil
		}
	}
	return "", nil
}

func (c *cpuacct) read(_ int64, _ *procfile.Stat, to []int64) error {
	b, err := c.file.Read()
	if err != nil {
		return err
	}
	line := procfile.Line(&b)
	for n := range to {
		v, rest, ok := procfile.Uint(line)
		if !ok {
			return fmt.Errorf("cpuacct.usage_percpu has %d CPUs", n)
		}
		to[n], line = int64(v), rest
	}
	return nil
}

func (c *cpuacct) close() { c.file.Close() }

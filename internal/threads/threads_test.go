package threads

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func put(t *testing.T, root, path, text string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCgroups(t *testing.T) {
	for _, c := range []struct {
		name, mine, mounts string
		files              map[string]string
		want               []int
	}{
		{"version 2, and the groups above", "0::/a/b\n", "30 1 0:1 / /cg rw - cgroup2 cgroup rw\n",
			map[string]string{"cg/a/b/pids.max": "max", "cg/a/b/pids.current": "3", "cg/a/pids.max": "10", "cg/a/pids.current": "4"}, []int{6}},
		{"version 1", "4:memory:/x\n8:cpu,pids:/a\n", "30 1 0:1 / /m rw - cgroup cgroup rw,memory\n31 1 0:1 / /p rw - cgroup cgroup " +
			"rw,cpu,pids\n",
			map[string]string{"p/a/pids.max": "5", "p/a/pids.current": "7", "m/x/pids.max": "1", "m/x/pids.current": "1"}, []int{-2}},
		{"a container's part of the tree", "0::/pod/c\n", "30 1 0:1 /pod/c /cg rw - cgroup2 cgroup rw\n",
			map[string]string{"cg/pids.max": "100", "cg/pids.current": "60"}, []int{40}},
		{"another's part", "0::/../x\n", "30 1 0:1 / /cg rw - cgroup2 cgroup rw\n",
			map[string]string{"cg/pids.max": "9", "cg/pids.current": "6"}, []int{3}},
		{"hidden", "0::/a\n", "30 1 0:1 / /sys rw - sysfs sysfs rw\n", nil, nil},
		{"no cgroups", "", "", nil, nil},
	} {
		root := t.TempDir()
		put(t, root, "proc/self/cgroup", c.mine)
		put(t, root, "proc/self/mountinfo", c.mounts)
		for path, text := range c.files {
			put(t, root, path, text+"\n")
		}
		var got []int
		for _, r := range ofCgroups(root) {
			got = append(got, r.left)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

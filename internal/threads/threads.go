// Package threads looks ahead at the limits on threads. Go's runtime cannot go on
// without one that it wants: it ends the process with a page of stacks, and no
// settings are put back.
package threads

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// room is how many more there may be by one limit, and what that is.
type room struct {
	left  int
	limit string // and what changes it
}

// Need is an error when n more threads are more than a limit lets this process
// make. Others may take them meanwhile.
func Need(n int) error {
	least := room{left: math.MaxInt}
	for _, r := range append(ofCgroups("/"), ofUser("/")) {
		if r.limit != "" && r.left < least.left {
			least = r
		}
	}
	if n <= least.left {
		return nil
	}
	return fmt.Errorf("%d more threads are needed here, and %s leaves %d", n, least.limit, least.left)
}

// ofUser is by RLIMIT_NPROC (getrlimit(2)), which counts all threads of a user and
// does not bind root.
func ofUser(root string) room {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); err != nil || limit.Cur > math.MaxInt32 || unbound() {
		return room{}
	}
	uid, used := uint32(os.Getuid()), 0
	tasks, _ := filepath.Glob(filepath.Join(root, "proc/[0-9]*/task"))
	for _, path := range tasks {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Uid == uid {
			used += int(st.Nlink) - 2 // a folder for each thread
		}
	}
	return room{int(limit.Cur) - used, fmt.Sprintf("the limit of %d processes and threads of this user (ulimit -u)", limit.Cur)}
}

// unbound says that this process has the rights with which the limit does not hold,
// which those in a user namespace of its own are not.
func unbound() bool {
	if b, err := os.ReadFile("/proc/self/uid_map"); err != nil || !slices.Equal(strings.Fields(string(b)), []string{"0", "0", "4294967295"}) {
		return false
	}
	if os.Getuid() == 0 {
		return true
	}
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if unix.Capget(&h, &d[0]) != nil {
		return false
	}
	return d[0].Effective&(1<<unix.CAP_SYS_RESOURCE|1<<unix.CAP_SYS_ADMIN) != 0
}

// ofCgroups are by pids.max of this process's group and of those above it, as far as
// they can be seen (cgroups(7), proc_pid_mountinfo(5)).
func ofCgroups(root string) []room {
	mine, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	mounts, _ := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	var all []room
	for line := range strings.Lines(string(mine)) {
		words := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(words) != 3 || words[1] != "" && !slices.Contains(strings.Split(words[1], ","), "pids") {
			continue
		}
		top, path := mounted(string(mounts), words[1] == "", words[2])
		for ; top != ""; path = filepath.Dir(path) {
			dir := filepath.Join(root, top, path)
			if r, ok := ofCgroup(dir); ok {
				all = append(all, r)
			}
			if path == "/" {
				break
			}
		}
	}
	return all
}

func ofCgroup(dir string) (room, bool) {
	number := func(name string) (int, bool) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		n, bad := strconv.Atoi(strings.TrimSpace(string(b)))
		return n, err == nil && bad == nil // "max" is no limit
	}
	most, ok := number("pids.max")
	used, known := number("pids.current")
	return room{most - used, fmt.Sprintf("the limit of %d in %s/pids.max", most, dir)}, ok && known
}

// mounted is where a hierarchy is mounted, and the path of a group below it.
func mounted(mounts string, v2 bool, group string) (at, path string) {
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(kind) < 3 {
			continue
		}
		if v2 && kind[0] != "cgroup2" || !v2 && (kind[0] != "cgroup" || !slices.Contains(strings.Split(kind[2], ","), "pids")) {
			continue
		}
		below, ok := strings.CutPrefix(group, strings.TrimSuffix(f[3], "/"))
		if !ok || strings.Contains(below, "..") {
			below = "" // another part of the tree is to be seen: its top is above us
		}
		return f[4], filepath.Join("/", below)
	}
	return "", ""
}

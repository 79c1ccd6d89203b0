// Package cgroup reaches the hierarchies of control groups (cgroups(7)) where
// another sysfs hides them, as ip netns exec mounts one.
package cgroup

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount gives the root of a hierarchy, mounted nowhere: kind is cgroup2, or cgroup
// with its controllers, joined by commas. It takes root's right to mount.
func Mount(kind, controllers string) (*os.File, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", kind, err)
	}
	defer unix.Close(fs)
	for name := range strings.SplitSeq(controllers, ",") {
		if err == nil && name != "" {
			err = unix.FsconfigSetFlag(fs, name)
		}
	}
	if err == nil {
		err = unix.FsconfigCreate(fs)
	}
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", kind, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", kind, err)
	}
	return os.NewFile(uintptr(fd), kind), nil
}

// Together gives the controllers that share a hierarchy of version 1 with one, all
// joined by commas, by the text of /proc/cgroups; "" where it is in none: to mount
// it would make a new one, and take it from version 2.
func Together(cgroups, controller string) string {
	byHierarchy := map[string][]string{}
	mine := ""
	for line := range strings.Lines(cgroups) {
		words := strings.Fields(line) // name, hierarchy, groups, enabled
		if len(words) != 4 || words[1] == "0" || words[3] != "1" {
			continue
		}
		byHierarchy[words[1]] = append(byHierarchy[words[1]], words[0])
		if words[0] == controller {
			mine = words[1]
		}
	}
	return strings.Join(byHierarchy[mine], ",")
}

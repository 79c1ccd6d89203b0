package procfile

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Masked names the file system that covers a file of /proc with something that
// is not the kernel's own, as lxcfs does to show a container its share only; ""
// for a file of procfs.
func Masked(path string) string {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil || fs.Type == unix.PROC_SUPER_MAGIC {
		return ""
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "another file system"
	}
	kind := "another file system"
	for line := range strings.Lines(string(b)) {
		// proc_pid_mountinfo(5): the fifth field is the mount point, the type
		// follows a lone hyphen.
		mount, super, ok := strings.Cut(line, " - ")
		at, of := strings.Fields(mount), strings.Fields(super)
		if ok && len(at) > 4 && len(of) > 0 && at[4] == path {
			kind = of[0] // the last one is on top
		}
	}
	return kind
}

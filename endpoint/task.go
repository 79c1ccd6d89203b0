package endpoint

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"zcbench/internal/procfile"
)

// process is what proc_pid_stat(5) says.
type process struct {
	Name     string // as in parentheses there
	Start    uint64 // ticks after boot
	parent   int
	kernel   bool
	used     uint64 // CPU time of all its threads, ticks
	children uint64 // of children that it has waited for, ticks
	threads  int
	cpu      int // that its first thread ran on last
}

func readProcess(pid int) (process, bool) {
	return readStat(fmt.Sprintf("/proc/%d/stat", pid))
}

// readStat reads a file as of proc_pid_stat(5), of a process or a thread.
func readStat(path string) (p process, ok bool) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return p, false // it has ended
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return p, false
	}
	return parseProcess(buf[:n])
}

func parseProcess(b []byte) (p process, ok bool) {
	open, shut := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')') // the name may hold both
	if open < 0 || shut < open {
		return p, false
	}
	p.Name = string(b[open+1 : shut])
	rest := b[shut+1:]
	procfile.Word(&rest) // the state, field 3
	p.cpu = -1
	for field := 4; field <= 39; field++ {
		word := procfile.Word(&rest)
		v, _, ok := procfile.Uint(word)
		switch field {
		case 4:
			p.parent = int(v)
		case 9:
			const kthread = 0x00200000 // PF_KTHREAD of linux/sched.h
			p.kernel = v&kthread != 0
		case 14, 15:
			p.used += v
		case 16, 17:
			p.children += v // cutime and cstime
		case 20:
			p.threads = int(v)
		case 22:
			if !ok {
				return p, false
			}
			p.Start = v
		case 39:
			if ok {
				p.cpu = int(v)
			}
		}
	}
	return p, true
}

package procfile

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// Task is what proc_pid_stat(5) says.
type Task struct {
	Name     string // as in parentheses there
	Start    uint64 // ticks after boot
	Parent   int
	Kernel   bool
	Used     uint64 // CPU time of all its threads, ticks
	Children uint64 // of children that it has waited for, ticks
	Threads  int
	CPU      int // that its first thread ran on last
}

// ReadTask reads a process; that it has ended is not ok.
func ReadTask(pid int) (Task, bool) {
	return ReadTaskAt(fmt.Sprintf("/proc/%d/stat", pid))
}

// ReadTaskAt reads a file as of proc_pid_stat(5), of a process or a thread.
func ReadTaskAt(path string) (p Task, ok bool) {
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
	return parseTask(buf[:n])
}

func parseTask(b []byte) (p Task, ok bool) {
	open, shut := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')') // the name may hold both
	if open < 0 || shut < open {
		return p, false
	}
	p.Name = string(b[open+1 : shut])
	rest := b[shut+1:]
	Word(&rest) // the state, field 3
	p.CPU = -1
	for field := 4; field <= 39; field++ {
		word := Word(&rest)
		v, _, ok := Uint(word)
		switch field {
		case 4:
			p.Parent = int(v)
		case 9:
			const kthread = 0x00200000 // PF_KTHREAD of linux/sched.h
			p.Kernel = v&kthread != 0
		case 14, 15:
			p.Used += v
		case 16, 17:
			p.Children += v // cutime and cstime
		case 20:
			p.Threads = int(v)
		case 22:
			if !ok {
				return p, false
			}
			p.Start = v
		case 39:
			if ok {
				p.CPU = int(v)
			}
		}
	}
	return p, true
}

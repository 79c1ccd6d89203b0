package wire

import (
	"os"

	"zcbench/internal/procfile"
)

// Process tells one process of a host from all others: by when it began, to a tick
// of 10 ms, by what it is called, and within one PID namespace by its number.
type Process struct {
	Start     uint64 `json:"start"` // ticks after boot, proc_pid_stat(5)
	Name      string `json:"name"`
	PID       int    `json:"pid"`
	Namespace string `json:"pid_namespace"` // pid_namespaces(7); "": not known
}

// Is says that a process seen here, by its number in a namespace, is this one.
func (p Process) Is(seen procfile.Task, pid int, namespace string) bool {
	if namespace != "" && p.Namespace == namespace && p.PID != pid {
		return false
	}
	return p.Start == seen.Start && p.Name == seen.Name
}

// PIDNamespace is this process's, "" where it cannot be read.
func PIDNamespace() string {
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return ns
}

// ThisProcess is the process that this is; the zero value where /proc does not
// tell.
func ThisProcess() Process {
	p, ok := procfile.ReadTask(os.Getpid())
	if !ok {
		return Process{}
	}
	return Process{Start: p.Start, Name: p.Name, PID: os.Getpid(), Namespace: PIDNamespace()}
}

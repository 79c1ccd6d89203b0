// Init is process 1 of the lab's guest: it sets the machine up, runs the job it
// finds in the initramfs, and reports over a virtio serial port.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/lab/internal/wire"
	"zcbench/lab/pair"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: this runs as process 1 of the lab's guest only")
		os.Exit(2)
	}
	if err := serve(); err != nil {
		fmt.Fprintf(os.Stderr, "init: %v\n", err)
	}
	// The host ends the machine; until it does, or if it is gone, power off.
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintf(os.Stderr, "init: power off: %v\n", err)
	}
	select {}
}

// serve runs the job. What fails before the port is open only the console sees.
func serve() error {
	if err := mounts(); err != nil {
		return err
	}
	b, err := os.ReadFile(wire.JobPath)
	if err != nil {
		return err
	}
	job, err := wire.DecodeJob(b)
	if err != nil {
		return err
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	defer port.Close()
	w := wire.NewWriter(port)
	klog, err := watchKernelLog(w)
	if err != nil {
		return fail(w, err)
	}
	settleTracepoints()
	kind, err := setUp(job)
	if err != nil {
		return fail(w, err)
	}
	if err := w.Send(wire.Ready, []byte(kind)); err != nil {
		return err
	}
	in := readInput(port)
	all := &family{own: map[int]bool{}}
	all.watch()
	for _, step := range job.Steps {
		status, err := runStep(step, job, w, in, all)
		if err != nil {
			// As a shell does for a command that it cannot run.
			fmt.Fprintf(w.Stream(wire.Stderr), "%v\n", err)
			status = 127
		}
		if err := klog.flush(); err != nil {
			return fail(w, err)
		}
		if err := w.Send(wire.Exit, strconv.AppendInt(nil, int64(status), 10)); err != nil {
			return err
		}
	}
	return nil
}

func fail(w *wire.Writer, err error) error {
	return errors.Join(err, w.Send(wire.Failed, []byte(err.Error())))
}

func mounts() error {
	for _, m := range []struct{ kind, at, options string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", ""},
		{"devpts", "/dev/pts", "ptmxmode=666"},
		{"tmpfs", "/dev/shm", ""},
		{"tmpfs", "/run", ""},
		{"tmpfs", "/tmp", ""},
		{"cgroup2", "/sys/fs/cgroup", ""},
		{"bpf", "/sys/fs/bpf", ""},
		{"debugfs", "/sys/kernel/debug", ""},
		{"tracefs", "/sys/kernel/tracing", ""},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, m.options); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.at, err)
		}
	}
	for link, target := range map[string]string{"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
		"/dev/stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, link); err != nil && !os.IsExist(err) {
			return err
		}
	}
	if err := os.Setenv("PATH", "/usr/sbin:/usr/bin"); err != nil {
		return err
	}
	return unix.Sethostname([]byte("lab"))
}

// openPort finds the port by its name; its driver may be a module, and the
// device appears a moment later.
func openPort() (*os.File, error) {
	for _, m := range []string{"virtio_pci", "virtio_console", "virtio_rng"} {
		exec.Command("modprobe", m).Run() // most are built in
	}
	for range 100 {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err == nil && strings.TrimSpace(string(b)) == wire.Port {
				return os.OpenFile(filepath.Join("/dev", filepath.Base(filepath.Dir(n))), os.O_RDWR, 0)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, fmt.Errorf("no virtio serial port named %s: the kernel lacks CONFIG_VIRTIO_CONSOLE", wire.Port)
}

// setUp makes the pair and says what it is made of.
func setUp(job wire.Job) (string, error) {
	var kind string
	var err error
	if job.Driver != "" {
		kind, err = job.Driver, pair.Adopt(job.Driver)
	} else {
		kind, err = pair.Load(job.ModuleArgs)
	}
	if err != nil {
		return "", err
	}
	if err := errors.Join(pair.IP("", "link set lo up"), pair.Connect(0), pair.Connect(1)); err != nil {
		return "", err
	}
	return kind, pair.Wait()
}

// Package vm boots the lab's guest under QEMU, runs a job in it and watches its
// kernel's log.
package vm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/lab/internal/wire"
)

// Config is the machine.
type Config struct {
	QEMU    []string // the command that starts QEMU
	Env     []string // added to its environment
	Kernel  string
	Initrd  *os.File // read by QEMU, from its start
	Accel   Accel
	NIC     string // QEMU's name of a NIC, of which two are wired to each other; "": none
	CPUs    int
	MemMiB  int
	Console io.Writer // what the kernel prints; may be nil
}

// Streams are the job's input and output.
type Streams struct {
	Stdin  io.Reader // nil: none
	Stdout io.Writer
	Stderr io.Writer
	Resize <-chan [2]uint16
	Signal <-chan os.Signal
	// StepDone is called when a step has ended, before the next one starts
	// to write.
	StepDone func(step, status int, trouble []string)
}

// Result is how the job went.
type Result struct {
	Pair    string        // what the guest made zc0 and zc1 of
	Boot    time.Duration // from QEMU's start to the pair being up
	Status  []int         // exit status of each step
	Trouble []string      // lines of the kernel's log that should not be there
	Log     []string      // all of it
}

// outputLimit ends a guest that prints without end.
const outputLimit = 64 << 20

// errNoBoot says that the guest's init was never heard of.
var errNoBoot = errors.New("the guest did not boot")

// Run boots the machine, runs the steps of its job and ends it.
func Run(ctx context.Context, cfg Config, steps int, s Streams) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	port, qport, err := socketpair()
	if err != nil {
		return Result{}, err
	}
	defer port.Close()
	conR, conW, err := os.Pipe()
	if err != nil {
		qport.Close()
		return Result{}, err
	}
	defer conR.Close()

	cmd := exec.CommandContext(ctx, cfg.QEMU[0], append(slices.Clone(cfg.QEMU[1:]), cfg.args()...)...)
	cmd.Env = append(os.Environ(), cfg.Env...)
	cmd.ExtraFiles = []*os.File{qport, cfg.Initrd, conW}
	var qerr bytes.Buffer
	cmd.Stderr = &qerr
	start := time.Now()
	err = cmd.Start()
	qport.Close()
	conW.Close()
	if err != nil {
		return Result{}, fmt.Errorf("start QEMU: %w", err)
	}

	console := &tail{limit: 1 << 20, also: cfg.Console}
	conDone := make(chan struct{})
	go func() { defer close(conDone); io.Copy(console, conR) }()

	h := &host{Streams: s, w: wire.NewWriter(port), steps: steps, start: start}
	go h.input()
	go h.events(ctx)
	herr := h.serve(port)
	// The job is done, or the guest is gone: there is nothing to shut down
	// in a machine whose memory is all it has.
	cancel()
	werr := cmd.Wait()
	<-conDone

	res := h.res
	if len(res.Status) == steps && herr == nil {
		return res, nil
	}
	res.Trouble = append(res.Trouble, Trouble(strings.Split(console.String(), "\n"))...)
	switch {
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		herr = errors.New("timed out")
	case herr == nil || errors.Is(herr, io.EOF) || errors.Is(herr, syscall.ECONNRESET):
		herr = errors.New("the guest died")
	}
	if res.Pair == "" {
		herr = fmt.Errorf("%w: %w", errNoBoot, herr)
	}
	// The first line says it, also where it is all that is shown.
	said, more, _ := strings.Cut(strings.TrimSpace(qerr.String()), "\n")
	return res, fmt.Errorf("%w (QEMU: %v%s)%s\n%s", herr, werr, prefixed(": ", said), prefixed("\n", more), console.last(40))
}

func (c Config) args() []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-M", "q35", "-accel", c.Accel.arg(), "-cpu", "max",
		"-smp", strconv.Itoa(c.CPUs), "-m", strconv.Itoa(c.MemMiB),
		"-kernel", c.Kernel, "-initrd", "/dev/fd/4",
		// An Oops would otherwise leave the machine hanging.
		"-append", "console=ttyS0 loglevel=5 oops=panic panic=-1 mitigations=off net.ifnames=0 tsc=reliable no_timer_check random.trust_cpu=on",
		"-chardev", "file,id=console,path=/dev/fd/5", "-serial", "chardev:console",
		"-device", "virtio-rng-pci",
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=port,fd=3", "-device", "virtserialport,chardev=port,name=" + wire.Port,
	}
	for i := range 2 {
		if c.NIC == "" {
			break
		}
		// Each is on a port of its own, as in a real machine; a hub is the one
		// backend that two NICs of one QEMU can share.
		args = append(args,
			"-netdev", fmt.Sprintf("hubport,id=net%d,hubid=1", i),
			"-device", fmt.Sprintf("pcie-root-port,id=port%d,chassis=%d,slot=%[2]d", i, i+1),
			"-device", fmt.Sprintf("%s,netdev=net%d,bus=port%[2]d,romfile=", c.NIC, i))
	}
	return args
}

// host is this end of the port.
type host struct {
	Streams
	w     *wire.Writer
	steps int
	start time.Time
	res   Result
	seen  int // lines of res.Log that were looked at for trouble
	bytes int
}

// serve handles frames until the last step has ended.
func (h *host) serve(r io.Reader) error {
	for len(h.res.Status) < h.steps {
		kind, p, err := wire.Read(r)
		if err != nil {
			return err
		}
		switch kind {
		case wire.Ready:
			h.res.Pair = string(p)
			h.res.Boot = time.Since(h.start)
		case wire.Stdout, wire.Stderr:
			w := h.Stdout
			if kind == wire.Stderr {
				w = h.Stderr
			}
			if h.bytes += len(p); h.bytes > outputLimit {
				return fmt.Errorf("the job printed more than %d MiB", outputLimit>>20)
			}
			if _, err := w.Write(p); err != nil {
				return err
			}
		case wire.Kmsg:
			h.res.Log = append(h.res.Log, string(p))
		case wire.Failed:
			return fmt.Errorf("the guest's init: %s", p)
		case wire.Exit:
			n, err := strconv.Atoi(string(p))
			if err != nil {
				return fmt.Errorf("exit status %q: %w", p, err)
			}
			trouble := Trouble(h.res.Log[h.seen:])
			h.seen = len(h.res.Log)
			h.res.Trouble = append(h.res.Trouble, trouble...)
			h.res.Status = append(h.res.Status, n)
			if h.StepDone != nil {
				h.StepDone(len(h.res.Status)-1, n, trouble)
			}
		}
	}
	return nil
}

// input sends what the user types, or pipes in. It ends with the program.
func (h *host) input() {
	if h.Stdin != nil {
		buf := make([]byte, 32<<10)
		for {
			n, err := h.Stdin.Read(buf)
			if n > 0 && h.w.Send(wire.Stdin, buf[:n]) != nil {
				return
			}
			if err != nil {
				break
			}
		}
	}
	h.w.Send(wire.Stdin, nil)
}

func (h *host) events(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case size := <-h.Resize:
			p := binary.LittleEndian.AppendUint16(nil, size[0])
			h.w.Send(wire.Resize, binary.LittleEndian.AppendUint16(p, size[1]))
		case sig := <-h.Signal:
			if n, ok := sig.(syscall.Signal); ok {
				h.w.Send(wire.Signal, []byte{byte(n)})
			}
		}
	}
}

func socketpair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "port"), os.NewFile(uintptr(fds[1]), "qemu-port"), nil
}

// tail keeps the last part of what is written to it.
type tail struct {
	mu    sync.Mutex
	limit int
	buf   []byte
	also  io.Writer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.also != nil {
		t.also.Write(p)
	}
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.limit; over > 0 {
		t.buf = t.buf[over:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

func (t *tail) last(lines int) string {
	all := strings.Split(strings.TrimRight(t.String(), "\r\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func prefixed(prefix, s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return ""
	}
	return prefix + s
}

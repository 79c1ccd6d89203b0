// Zclab prepares the lab and runs commands and Go tests in its VM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"zcbench/lab/internal/image"
	"zcbench/lab/internal/likefile"
	"zcbench/lab/internal/vm"
)

const usage = `usage: zclab [flags] COMMAND [ARG…]

  prepare        fetch and build what the VM needs
  run [CMD ARG…] run a command in it, or a shell
  test PKG…      run the tests of Go packages in it; PKG=TESTS is as -run, for one
  kernels PKG…   run them on several kernels, old and new
  accel          find out again whether KVM runs the VM here

`

// Exit statuses of the program's own; a command's is passed on.
const (
	statusFailed      = 1
	statusUsage       = 2
	statusUnavailable = 3
)

// options are the flags.
type options struct {
	kernel  string
	nic     model
	module  string
	args    string
	cpus    int
	memory  int
	timeout time.Duration
	add     pathList
	console bool
	dmesg   bool
	run     string
	env     stringList

	testTimeout time.Duration
	again       bool // forget which accelerator worked
}

// pathList is a flag that may be given several times: PATH:PATH-IN-THE-GUEST.
type pathList map[string]string

func (l pathList) String() string { return "" }

func (l pathList) Set(s string) error {
	from, to, ok := strings.Cut(s, ":")
	if !ok || from == "" || to == "" {
		return fmt.Errorf("%q is not FROM:TO", s)
	}
	l[to] = from
	return nil
}

// stringList is a flag that may be given several times.
type stringList []string

func (l *stringList) String() string { return "" }

func (l *stringList) Set(s string) error {
	*l = append(*l, s)
	return nil
}

func main() {
	status, err := lab(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
	}
	os.Exit(status)
}

func lab(args []string) (int, error) {
	o := options{add: pathList{}}
	fs := flag.NewFlagSet("zclab", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&o.kernel, "kernel", os.Getenv("KERNEL"), "`version` that the distribution offers, or path of a bzImage in its build tree "+
		"(default: the newest the module is known to build for)")
	fs.Var(&o.nic, "nic", "`model` of QEMU's NICs to have as the pair instead of zcnic: "+modelNames())
	fs.StringVar(&o.module, "module", "lab/kmod", "`folder` with the module's sources")
	fs.StringVar(&o.args, "module-args", "", "parameters of the module")
	like := fs.String("like", "", "`driver` that zcnic answers as (see lab/README.md), or the file of a capture (zcbench probe --capture)")
	fs.IntVar(&o.cpus, "cpus", min(max(runtime.NumCPU(), 2), 4), "CPUs of the VM")
	fs.IntVar(&o.memory, "memory", 3072, "memory of the VM in MiB")
	fs.DurationVar(&o.timeout, "timeout", 0, "end the VM after this long (default: never)")
	fs.DurationVar(&o.testTimeout, "test-timeout", 10*time.Minute, "test: end the tests of a package after this long")
	fs.Var(&o.env, "env", "`NAME=VALUE`: set a variable in the guest (repeatable)")
	fs.Var(o.add, "add", "`FROM:TO`: add a file or folder to the guest (repeatable)")
	fs.BoolVar(&o.console, "console", false, "show the guest's console on stderr")
	fs.BoolVar(&o.dmesg, "dmesg", false, "print the guest's kernel log on stderr at the end")
	fs.StringVar(&o.run, "run", "", "test: only tests that match this `pattern`")
	fs.SetOutput(io.Discard) // what is wrong is one line; the rest is for -h
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		fs.SetOutput(os.Stdout)
		fs.Usage()
		return 0, nil
	} else if err != nil {
		return statusUsage, err
	}
	fs.SetOutput(os.Stderr)
	if fs.NArg() == 0 {
		fs.Usage()
		return statusUsage, nil
	}

	if o.nic.name != "" && (o.args != "" || *like != "") {
		return statusUsage, fmt.Errorf("-nic %s: there is no zcnic then for -module-args %s or -like %s (LIKE) to be of: give one of them",
			o.nic.name, o.args, *like)
	}
	if *like != "" {
		params, left, err := likefile.Params(*like)
		if err != nil {
			return statusUsage, fmt.Errorf("-like: %w", err)
		}
		for _, what := range left {
			fmt.Fprintf(os.Stderr, "lab: not as %s: %s\n", *like, what)
		}
		o.args = strings.TrimSpace(params + " " + o.args) // which overrides
	}

	ctx := context.Background()
	var status int
	var err error
	switch rest := fs.Args()[1:]; fs.Arg(0) {
	case "prepare":
		_, err = o.prepare(ctx)
	case "accel":
		err = o.tryAccel(ctx)
	case "run":
		status, err = o.runCommand(ctx, rest)
	case "test":
		status, err = o.runTests(ctx, rest)
	case "kernels":
		status, err = o.runKernels(ctx, rest)
	default:
		fs.Usage()
		return statusUsage, fmt.Errorf("no command %q", fs.Arg(0))
	}
	switch {
	case errors.Is(err, image.ErrUnavailable):
		status = statusUnavailable
	case err != nil && status == 0:
		status = statusFailed
	}
	return status, err
}

// machine is a prepared VM.
type machine struct {
	img image.Image
	nic model

	accel vm.Choice
	cfg   vm.Config
	init  string
}

// prepare gets everything that a VM needs.
func (o options) prepare(ctx context.Context) (machine, error) {
	if runtime.GOARCH != "amd64" {
		return machine{}, fmt.Errorf("%w: its kernels and tools are for amd64, this is %s", image.ErrUnavailable, runtime.GOARCH)
	}
	store, err := image.Open(o.module, os.Stderr)
	if err != nil {
		return machine{}, err
	}
	img, err := store.Prepare(ctx, image.Want{Kernel: o.kernel, Drivers: o.nic.drivers, Module: o.nic.name == ""})
	if err != nil {
		return machine{}, err
	}
	m := machine{img: img, nic: o.nic}
	if m.init, err = buildInit(ctx, store.Dir); err != nil {
		return machine{}, err
	}
	m.cfg = vm.Config{QEMU: img.QEMU.Argv, Env: img.QEMU.Env, Kernel: img.Kernel, NIC: o.nic.device, CPUs: o.cpus, MemMiB: o.memory}
	if o.console {
		m.cfg.Console = os.Stderr
	}
	if o.again {
		if err := vm.Forget(store.Dir); err != nil {
			return machine{}, err
		}
	}
	m.accel, err = vm.ChooseAccel(ctx, store.Dir, func(ctx context.Context, a vm.Accel) error {
		return m.tryBoot(ctx, a)
	})
	if err != nil {
		return machine{}, err
	}
	m.cfg.Accel = m.accel.Accel
	return m, nil
}

// tryAccel finds the accelerator anew and says which it is.
func (o options) tryAccel(ctx context.Context) error {
	o.again = true
	m, err := o.prepare(ctx)
	if err == nil {
		fmt.Printf("lab: %s\n", m.accel)
	}
	return err
}

// buildInit builds the guest's init program, which has to be static.
func buildInit(ctx context.Context, dir string) (string, error) {
	out := filepath.Join(dir, "init")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "zcbench/lab/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the guest's init: %w\n%s", err, b)
	}
	return out, nil
}

// signals passes the user's interrupts on to the guest. The third one is for
// us: whatever the guest does, it ends.
func signals() (<-chan os.Signal, func()) {
	in := make(chan os.Signal, 4)
	out := make(chan os.Signal, 4)
	signal.Notify(in, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for n := 1; ; n++ {
			s, ok := <-in
			if !ok {
				return
			}
			if n == 3 {
				signal.Stop(in)
				syscall.Kill(os.Getpid(), syscall.SIGTERM)
				return
			}
			out <- s
		}
	}()
	return out, func() { signal.Stop(in); close(in) }
}

func printLines(w io.Writer, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(w, "lab: %s\n", title)
	for _, l := range lines {
		fmt.Fprintf(w, "  %s\n", l)
	}
}

package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// AccelEnv forces the accelerator: kvm or tcg.
const AccelEnv = "ZCBENCH_LAB_ACCEL"

// Accel is what executes the guest's instructions.
type Accel string

// The accelerators: the CPU, or QEMU's translator.
const (
	KVM Accel = "kvm"
	TCG Accel = "tcg"
)

func (a Accel) arg() string {
	if a == TCG {
		return "tcg,thread=multi"
	}
	return string(a)
}

// bootLimit is how long KVM may take to boot the guest before it counts as
// not working; it takes a second or two where it does.
const bootLimit = 15 * time.Second

// Choice is an accelerator and why it is that one.
type Choice struct {
	Accel Accel
	Why   string // one line
}

// chosen is the file of a cache that remembers what came of trying KVM.
const chosen = "accel"

// ChooseAccel returns the accelerator that works on this machine. /dev/kvm may
// exist and yet not run a guest, so it boots one to see, and remembers in dir
// what came of it until the machine restarts, or Forget is called.
func ChooseAccel(ctx context.Context, dir string, try func(context.Context, Accel) error) (Choice, error) {
	switch forced := Accel(os.Getenv(AccelEnv)); forced {
	case KVM, TCG:
		return Choice{forced, AccelEnv + " says so"}, nil
	case "":
	default:
		return Choice{}, fmt.Errorf("%s=%s: want %s or %s", AccelEnv, forced, KVM, TCG)
	}
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err != nil {
		return Choice{TCG, "there is no KVM: " + err.Error()}, nil
	} else {
		f.Close()
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Choice{}, fmt.Errorf("tell one boot of this machine from another: %w", err)
	}
	id := strings.TrimSpace(string(boot))
	name := filepath.Join(dir, chosen)
	if c, ok := remembered(name, id); ok {
		return c, nil
	}
	tctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	c := Choice{KVM, "it boots the guest"}
	if err := try(tctx, KVM); errors.Is(err, errNoBoot) {
		first, _, _ := strings.Cut(err.Error(), "\n") // the rest is the guest's console
		c = Choice{TCG, "KVM could not boot the guest: " + strings.TrimPrefix(first, errNoBoot.Error()+": ")}
	} else if err != nil {
		return Choice{}, err
	}
	return c, os.WriteFile(name, fmt.Appendf(nil, "%s\n%s\n%s\n", c.Accel, id, c.Why), 0o644)
}

// remembered is the choice in a file, if it was made since the machine started.
func remembered(name, boot string) (Choice, bool) {
	b, err := os.ReadFile(name)
	if err != nil {
		return Choice{}, false
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) < 3 || lines[1] != boot || Accel(lines[0]) != KVM && Accel(lines[0]) != TCG {
		return Choice{}, false
	}
	return Choice{Accel(lines[0]), lines[2]}, true
}

// Forget has the next ChooseAccel try again.
func Forget(dir string) error {
	if err := os.Remove(filepath.Join(dir, chosen)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// String says what the accelerator is and why, as "emulating: …".
func (c Choice) String() string {
	if c.Accel == TCG {
		return "emulating: " + c.Why
	}
	return "using KVM: " + c.Why
}

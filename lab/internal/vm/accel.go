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

// ChooseAccel returns the accelerator that works on this machine. /dev/kvm may
// exist and yet not run a guest, so it boots one to see, and remembers in dir
// what came of it until the machine restarts.
func ChooseAccel(ctx context.Context, dir string, try func(context.Context, Accel) error) (Accel, error) {
	switch forced := Accel(os.Getenv(AccelEnv)); forced {
	case KVM, TCG:
		return forced, nil
	case "":
	default:
		return "", fmt.Errorf("%s=%s: want %s or %s", AccelEnv, forced, KVM, TCG)
	}
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err != nil {
		return TCG, nil
	} else {
		f.Close()
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("tell one boot of this machine from another: %w", err)
	}
	name := filepath.Join(dir, "accel")
	if b, err := os.ReadFile(name); err == nil {
		if a, id, _ := strings.Cut(string(b), " "); id == string(boot) && (Accel(a) == KVM || Accel(a) == TCG) {
			return Accel(a), nil
		}
	}
	tctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	a := KVM
	if err := try(tctx, KVM); errors.Is(err, errNoBoot) {
		a = TCG
	} else if err != nil {
		return "", err
	}
	return a, os.WriteFile(name, fmt.Appendf(nil, "%s %s", a, boot), 0o644)
}

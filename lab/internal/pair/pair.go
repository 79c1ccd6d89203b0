// Package pair makes zc0 and zc1 in the lab's guest, each in a network
// namespace of its own: zctx and zcrx.
package pair

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/lab/internal/wire"
)

// Load makes the two interfaces, of the module if there is one for this
// kernel and else of a veth pair, and says of which.
func Load(moduleArgs string) (string, error) {
	f, err := os.Open(wire.Module)
	if errors.Is(err, os.ErrNotExist) {
		if err := IP("", "link add zc0 type veth peer name zc1"); err != nil {
			return "", fmt.Errorf("no zcnic for this kernel, and no veth in its place (CONFIG_VETH): %w", err)
		}
		return "veth", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), moduleArgs, 0); err != nil {
		return "", fmt.Errorf("load %s %s: %w", wire.Module, moduleArgs, err)
	}
	return "zcnic", nil
}

// Unload removes the module and the interfaces with it.
func Unload() error {
	if err := unix.DeleteModule("zcnic", 0); err != nil {
		return fmt.Errorf("unload zcnic: %w", err)
	}
	return nil
}

// Connect puts interface zc0 or zc1 into its namespace, which it makes if it
// has to, gives it its addresses and brings it up.
func Connect(i int) error {
	ns, dev := []string{"zctx", "zcrx"}[i], fmt.Sprintf("zc%d", i)
	if _, err := os.Stat("/run/netns/" + ns); errors.Is(err, os.ErrNotExist) {
		if err := IP("", "netns add "+ns); err != nil {
			return err
		}
	}
	if err := IP("", "link set "+dev+" netns "+ns); err != nil {
		return err
	}
	return errors.Join(IP(ns, "link set lo up"), Up(i))
}

// Up gives an interface its addresses, also those it has lost by going down,
// and brings it up.
func Up(i int) error {
	ns, dev := []string{"zctx", "zcrx"}[i], fmt.Sprintf("zc%d", i)
	return IP(ns,
		fmt.Sprintf("addr replace 198.18.0.%d/24 dev %s", i+1, dev),
		"link set "+dev+" up",
		fmt.Sprintf("addr replace fd00:c0de::%d/64 dev %s nodad", i+1, dev))
}

// IP runs commands of ip(8) in a network namespace, "" for this one.
func IP(ns string, commands ...string) error {
	args := []string{"-batch", "-"}
	if ns != "" {
		args = append([]string{"-n", ns}, args...)
	}
	cmd := exec.Command("ip", args...)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Package pair makes zc0 and zc1 in the lab's guest, each in a network
// namespace of its own: zctx and zcrx. They are of zcnic, or NICs of the
// machine.
package pair

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/lab/internal/wire"
)

// spaces are the namespaces of zc0 and zc1.
var spaces = [2]string{"zctx", "zcrx"}

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

// Adopt makes the machine's two NICs of a driver the two interfaces, in the
// order of their places on the bus.
func Adopt(driver string) error {
	loaded, lerr := exec.Command("modprobe", driver).CombinedOutput() // it may be built in
	var found []string                                                // where the device is, and the interface
	links, err := filepath.Glob("/sys/class/net/*/device")
	if err != nil {
		return err
	}
	for _, l := range links {
		device, err := filepath.EvalSymlinks(l)
		if err != nil {
			return err
		}
		if of, _ := os.Readlink(filepath.Join(l, "driver")); filepath.Base(of) == driver {
			found = append(found, device+" "+filepath.Base(filepath.Dir(l)))
		}
	}
	if len(found) != 2 {
		return fmt.Errorf("%d NICs of the driver %s, not 2: %s (modprobe: %v)", len(found), driver, strings.TrimSpace(string(loaded)), lerr)
	}
	slices.Sort(found)
	for i, f := range found {
		_, name, _ := strings.Cut(f, " ")
		if err := IP("", fmt.Sprintf("link set %s name zc%d", name, i)); err != nil {
			return err
		}
	}
	return nil
}

// carrierLimit is how long NICs may take to agree on a link; e1000e is the slow
// one.
const carrierLimit = 20 * time.Second

// Wait returns when both interfaces have a link.
func Wait() error {
	for i, ns := range spaces {
		dev := fmt.Sprintf("zc%d", i)
		for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			out, err := exec.Command("ip", "-n", ns, "link", "show", "dev", dev).CombinedOutput()
			if err != nil {
				return fmt.Errorf("look at %s: %w: %s", dev, err, out)
			}
			if strings.Contains(string(out), "LOWER_UP") {
				break
			}
			if time.Since(begun) > carrierLimit {
				return fmt.Errorf("%s has no link after %v", dev, carrierLimit)
			}
		}
	}
	return nil
}

// Reload makes the interfaces anew, of the module with other parameters, and
// connects them.
func Reload(moduleArgs string) error {
	if err := Unload(); err != nil {
		return err
	}
	if _, err := Load(moduleArgs); err != nil {
		return err
	}
	return errors.Join(Connect(0), Connect(1))
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
	ns, dev := spaces[i], fmt.Sprintf("zc%d", i)
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
	ns, dev := spaces[i], fmt.Sprintf("zc%d", i)
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

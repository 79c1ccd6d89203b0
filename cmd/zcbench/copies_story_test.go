package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/netpair"
	"zcbench/results/caveat"
)

// veths joins two named namespaces by a veth pair until the test ends.
func veths(t *testing.T) (tx, rx string) {
	t.Helper()
	needNamespaces(t)
	const a, b = "zcbench-copies-a", "zcbench-copies-b"
	ip := func(line string) {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", line, err, out)
		}
	}
	for _, ns := range []string{a, b} {
		ip("netns add " + ns)
		t.Cleanup(func() { ip("netns del " + ns) })
	}
	tx, rx = "zccopya", "zccopyb"
	ip("link add " + tx + " netns " + a + " type veth peer name " + rx + " netns " + b)
	for _, s := range [][3]string{{a, tx, "198.18.77.1/24"}, {b, rx, "198.18.77.2/24"}} {
		ip("-n " + s[0] + " addr add " + s[2] + " dev " + s[1])
		ip("-n " + s[0] + " link set " + s[1] + " up")
		ip("-n " + s[0] + " link set lo up")
	}
	return tx, rx
}

// TestCopiesUnreported: where an interface lacks what sending by reference needs,
// everything is copied, whatever the kernel reports, and the record, probe and
// tune show say so. As the pair is, nothing of the kind is said.
func TestCopiesUnreported(t *testing.T) {
	if _, err := exec.LookPath("ethtool"); err != nil {
		t.Skip("needs ethtool")
	}
	tx, rx := veths(t)
	set := func(feature string) {
		if out, err := exec.Command("ip", append([]string{"netns", "exec", "zcbench-copies-a", "ethtool", "-K", tx},
			strings.Fields(feature)...)...).CombinedOutput(); err != nil {
			t.Fatalf("ethtool -K %s %s: %v\n%s", tx, feature, err, out)
		}
	}
	for _, c := range []struct{ feature, cure string }{
		{"sg on", ""}, {"sg off", "ethtool -K " + tx + " sg on"}, {"sg on tx off", "ethtool -K " + tx + " tx on"},
	} {
		set(c.feature)
		for _, engine := range []string{"msgzc", "sendzc", "sendfile"} {
			r := measured(t, "local", "--link", tx+","+rx, "--tx", engine, "--rx", "baseline", "-t", "0.5", "-O", "0.2")
			unreported := ""
			for _, w := range r.Warnings {
				switch caveat.CodeOf(w) {
				case caveat.CopiesUnreported:
					unreported = w
				case caveat.CopiesUnknown:
					t.Errorf("%s, %s: %s", c.feature, engine, w)
				}
			}
			switch {
			case c.cure == "" && (unreported != "" || engine == "sendfile" && r.TX.CopiedBytes != 0):
				t.Errorf("%s, %s: %d bytes copied; %s", c.feature, engine, r.TX.CopiedBytes, unreported)
			case c.cure != "" && r.TX.ZeroCopiedBytes != 0:
				t.Errorf("%s, %s: %d bytes zero-copied of %d", c.feature, engine, r.TX.ZeroCopiedBytes, r.TX.Bytes)
			case c.cure != "" && engine == "sendfile" && !strings.Contains(unreported, c.cure): // reports no copy ever
				t.Errorf("%s, %s: warnings %q", c.feature, engine, r.Warnings)
			}
		}
		for _, args := range [][]string{{"probe", "-i", tx, "--json"}, {"tune", "show", "-i", tx}} {
			cmd := exec.Command("ip", append([]string{"netns", "exec", "zcbench-copies-a", built(t)}, args...)...)
			out, err := cmd.CombinedOutput()
			says := c.feature == "sg off" && args[0] == "tune" && strings.Contains(string(out), "every zero-copy send is copied") ||
				strings.Contains(string(out), "ethtool -K "+tx)
			if err != nil || says != (c.cure != "") {
				t.Errorf("%s, %s: %v\n%s", c.feature, args[0], err, out)
			}
		}
	}
}

// TestCopiesNamed: a program that captures packets has those of zero-copy sends
// copied, and the warning names it.
func TestCopiesNamed(t *testing.T) {
	tx, rx := veths(t)
	r := measured(t, "local", "--link", tx+","+rx, "--tx", "msgzc", "--rx", "baseline", "-t", "0.5", "-O", "0.2")
	if w := strings.Join(r.Warnings, "\n"); strings.Contains(w, "sees every packet") {
		t.Errorf("nobody captures: %s", w)
	}
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xffff
	fd := -1
	e, err := netpair.Locate(tx)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r = measured(t, "local", "--link", tx+","+rx, "--tx", "msgzc", "--rx", "baseline", "-t", "0.5", "-O", "0.2")
	if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, "sees every packet of "+tx) {
		b, _ := json.Marshal(r.Warnings)
		t.Errorf("warnings: %s", b)
	}
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"zcbench/internal/genl/ethtool"
	"zcbench/internal/netpair"
	"zcbench/internal/testutil"
	"zcbench/lab/pair"
)

// seenOutside is what others see of an end's NIC: what ip(8) and ethtool(8) print,
// by command, what ethtool is too old to print, and the header split that is
// configured, which no driver tells.
func seenOutside(t *testing.T, e *netpair.End) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := e.Do(func() error {
		for _, command := range []string{"ip -d -j link show dev", "ethtool -g", "ethtool -k", "ethtool -c", "ethtool -l", "ethtool -x", "ethtool -n",
			"ethtool -a", "ethtool --show-priv-flags"} {
			argv := append(strings.Fields(command), e.Interface)
			out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
			all[command] = fmt.Sprintf("%s%v", out, err) // not every driver has all of these
		}
		out, err := exec.Command("ethtool", "-S", e.Interface).Output()
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(out)) {
			if name, v, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && name == "hds_config" {
				all[name] = v
			}
		}
		c, err := ethtool.Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		rings, err := c.Rings(e.Interface)
		all["rings"] = fmt.Sprint(rings)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if all["hds_config"] == "" {
		t.Fatal("ethtool -S does not say what header split is configured")
	}
	return all
}

// changed shows the lines that differ.
func changed(before, after string) string {
	var b strings.Builder
	for _, side := range []struct{ sign, is, other string }{{"-", before, after}, {"+", after, before}} {
		others := slices.Collect(strings.Lines(side.other))
		for line := range strings.Lines(side.is) {
			if !slices.Contains(others, line) {
				fmt.Fprintf(&b, "\n%s %s", side.sign, strings.TrimSpace(line))
			}
		}
	}
	return b.String()
}

// TestLabLike: on a NIC that answers as this or that driver, and that nobody has
// prepared, every pair of engines runs that can, and leaves nothing changed.
func TestLabLike(t *testing.T) {
	testutil.Lab(t).Close()
	t.Cleanup(func() {
		if err := pair.Reload(""); err != nil {
			t.Error(err)
		}
	})
	for _, like := range []string{"mlx5", "bnxt", "bnxt-noagg", "fbnic", "gve", "ice"} {
		t.Run(like, func(t *testing.T) {
			if err := pair.Reload("like=" + like); err != nil {
				t.Fatal(err)
			}
			p := testutil.Lab(t)
			was := []map[string]string{seenOutside(t, &p.TX), seenOutside(t, &p.RX)}
			modes := []string{"devmem", "iouring"}
			if like == "ice" || os.Getenv("ZCBENCH_SOAK") != "" {
				modes = append(modes, "baseline", "msgzc") // which ask nothing of a driver
			}
			for _, mode := range modes {
				t.Run(mode, func(t *testing.T) {
					likeRun(t, mode, like != "ice" || mode == "baseline" || mode == "msgzc")
					for i, e := range []*netpair.End{&p.TX, &p.RX} {
						is := seenOutside(t, e)
						for what := range is {
							if was[i][what] != is[what] {
								t.Errorf("%s: %s differs afterwards:%s", e.Interface, what, changed(was[i][what], is[what]))
							}
						}
						was[i] = is
					}
				})
			}
		})
	}
}

// likeRun is one run, that works or says in one line that it cannot. It goes on
// after a failure: what that leaves behind is of interest too.
func likeRun(t *testing.T, mode string, works bool) {
	args := []string{"local", "--link", "zc0,zc1", "--mode", mode, "-t", "1", "-O", "0.5", "--validate", "-J"}
	if !works && mode == "iouring" {
		args = append(args, "--rx-opt", "queue=1") // else it receives without one, by copying
	}
	out, errs, code := attempt(t, args...)
	switch {
	case !works:
		if code != exitUnsupported || strings.Count(errs, "\n") != 1 {
			t.Errorf("exit %d, want %d and one line\n%s%s", code, exitUnsupported, out, errs)
		}
	case code != 0:
		t.Errorf("exit %d\n%s", code, errs)
	default:
		r := record(t, out)
		if zero := mode == "devmem" || mode == "iouring"; zero && r.RX.CopiedBytes != 0 {
			t.Errorf("%d of %d bytes were copied", r.RX.CopiedBytes, r.RX.Bytes)
		}
	}
}

package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"zcbench/internal/genl/ethtool"
	"zcbench/internal/genl/netdev"
	"zcbench/internal/netpair"
	"zcbench/internal/testutil"
	"zcbench/internal/testutil/some"
	"zcbench/lab/pair"
)

// likes are the drivers that the lab's NIC answers as, with settings that each takes
// and does not have at boot, beside those that all take.
var likes = []struct {
	as   string
	take []string
}{
	{"mlx5", []string{"rx-ring=512", "gro-hw=on", "channels=4", "ntuple=on"}},
	{"bnxt", []string{"rx-ring=255", "hds-thresh=0", "channels=4"}},
	{"bnxt-noagg", []string{"rx-ring=255", "hds-thresh=0", "channels=4"}},
	{"fbnic", []string{"rx-ring=512", "hds-thresh=0", "channels=4"}},
	{"gve", []string{"rx-ring=512", "channels.rx=4", "channels.tx=4", "ntuple=on"}},
	{"ice", []string{"rx-ring=512"}},
}

// likeAll are settings that all of them take.
var likeAll = []string{"mtu=4148", "rx-usecs=33", "tso=off", "tcp-data-split=on", "rss=equal 2",
	"flow.tcp4 dst-ip 198.18.0.2 dst-port 9=queue 1"}

// seenOutside is what others see of an end's NIC: what ip(8) and ethtool(8) print,
// by command, what ethtool is too old to print, who provides the memory of its queues,
// and the header split that is configured, which no driver tells.
func seenOutside(t *testing.T, e *netpair.End) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := e.Do(func() error {
		for _, command := range []string{"ip -d -j link show dev", "ethtool -g", "ethtool -k", "ethtool -c", "ethtool -l", "ethtool -x",
			"ethtool -n",
			"ethtool --show-pause", "ethtool --show-priv-flags"} {
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
		if err != nil {
			return err
		}
		all["providers"], err = providers(e.Interface)
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

// providers tells who provides the memory of each queue, a line each, and of page
// pools that have some left which is no ordinary memory.
func providers(iface string) (string, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return "", err
	}
	c, err := netdev.Dial()
	if err != nil {
		return "", err
	}
	defer c.Close()
	queues, err := c.Queues(i.Index)
	if err != nil {
		return "", err
	}
	pools, err := c.PagePools(i.Index)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, q := range queues {
		fmt.Fprintf(&b, "%s-%d: %q\n", q.Direction, q.ID, q.Provider())
	}
	for _, p := range pools {
		if p.DMABuf != 0 || p.IOUring {
			fmt.Fprintf(&b, "page pool of dma-buf binding %d, of io_uring: %v\n", p.DMABuf, p.IOUring)
		}
	}
	return b.String(), nil
}

// outsiders compares what others see of both NICs with what they saw before.
type outsiders struct {
	pair *netpair.Pair
	was  [2]map[string]string
}

func lookOutside(t *testing.T, p *netpair.Pair) *outsiders {
	t.Helper()
	return &outsiders{p, [2]map[string]string{seenOutside(t, &p.TX), seenOutside(t, &p.RX)}}
}

// same fails the test where something differs, each difference once.
func (o *outsiders) same(t *testing.T, after string) {
	t.Helper()
	for i, e := range []*netpair.End{&o.pair.TX, &o.pair.RX} {
		is := seenOutside(t, e)
		for what := range is {
			if o.was[i][what] != is[what] {
				t.Errorf("%s: %s differs after %s:%s", e.Interface, what, after, changed(o.was[i][what], is[what]))
			}
		}
		o.was[i] = is
	}
}

// TestLabLike: on a NIC that answers as this or that driver, and that nobody has
// prepared, every pair of engines runs that can, settings are made and put back, and
// nothing is left changed, whatever is killed. Each time it is half of the drivers, others
// each time; make soak has all, and more engines and kills.
func TestLabLike(t *testing.T) {
	testutil.Lab(t).Close()
	t.Cleanup(func() {
		if err := pair.Reload(""); err != nil {
			t.Error(err)
		}
	})
	soak := os.Getenv("ZCBENCH_SOAK") != ""
	open := 0
	for _, like := range some.Of(t, 3, likes) {
		t.Run(like.as, func(t *testing.T) {
			if err := pair.Reload("like=" + like.as); err != nil {
				t.Fatal(err)
			}
			o := lookOutside(t, testutil.Lab(t))
			modes := []string{"devmem", "iouring"}
			if like.as == "ice" || soak {
				modes = append(modes, "baseline", "msgzc") // which ask nothing of a driver
			}
			var victims []victim
			for _, mode := range modes {
				t.Run(mode, func(t *testing.T) {
					took := likeRun(t, mode, like.as != "ice" || mode == "baseline" || mode == "msgzc")
					o.same(t, "a run")
					if mode == "devmem" || mode == "iouring" {
						victims = append(victims, victim{likeArgs(mode), took})
					}
				})
			}
			if like.as == "mlx5" { // as it is at boot where the PCIe slot is slow
				t.Run("compressed completions", func(t *testing.T) {
					setFlag(t, &o.pair.RX, "rx_cqe_compress", "on")
					o = lookOutside(t, o.pair)
					likeRun(t, "devmem", true)
					o.same(t, "a run")
					setFlag(t, &o.pair.RX, "rx_cqe_compress", "off")
					o = lookOutside(t, o.pair)
				})
			}
			t.Run("tune", func(t *testing.T) {
				args := []string{"tune", "apply", "-i", "zc1"}
				for _, s := range slices.Concat(like.take, likeAll) {
					args = append(args, "--set", s)
				}
				victims = append(victims, victim{args, likeTune(t, o, args)})
			})
			t.Run("killed", func(t *testing.T) {
				rounds := 3
				if soak {
					rounds = 20
				}
				open += likeKilled(t, o, victims, rounds)
			})
		})
	}
	if open == 0 && !t.Failed() {
		t.Error("none was killed in the middle of a change: the test proves nothing")
	}
}

// setFlag sets a private flag, as an administrator does.
func setFlag(t *testing.T, e *netpair.End, name, value string) {
	t.Helper()
	if err := e.Do(func() error {
		out, err := exec.Command("ethtool", "--set-priv-flags", e.Interface, name, value).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func likeArgs(mode string) []string {
	return []string{"local", "--link", "zc0,zc1", "--mode", mode, "-t", "0.5", "-O", "0.3", "--validate", "-J"}
}

// likeRun is one run, that works or says in one line that it cannot, and how long it
// took. It goes on after a failure: what that leaves behind is of interest too.
func likeRun(t *testing.T, mode string, works bool) time.Duration {
	args := likeArgs(mode)
	if !works && mode == "iouring" {
		args = append(args, "--rx-opt", "queue=1") // else it receives without one, by copying
	}
	began := time.Now()
	out, errs, code := attempt(t, args...)
	took := min(time.Since(began), 15*time.Second) // it may have been made again
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
		t.Logf("%s: %.2f Gbit/s, %d of %d bytes received by zero copy, %d of %d sent", mode, r.Gbps,
			r.RX.ZeroCopiedBytes, r.RX.Bytes, r.TX.ZeroCopiedBytes, r.TX.Bytes)
	}
	return took
}

// likeTune makes settings and puts them back, and says how long it took to make them.
func likeTune(t *testing.T, o *outsiders, args []string) time.Duration {
	began := time.Now()
	out, errs, code := run(t, args...)
	took := time.Since(began)
	if code != 0 {
		t.Errorf("tune apply: exit %d\n%s%s", code, out, errs)
	}
	now := seenOutside(t, &o.pair.RX)
	for _, what := range []string{"ip -d -j link show dev", "ethtool -g", "ethtool -k", "ethtool -c", "ethtool -x", "ethtool -n"} {
		if now[what] == o.was[1][what] {
			t.Errorf("%s shows no change of %v", what, args)
		}
	}
	out, errs, code = run(t, "tune", "restore", "-i", "zc1")
	if code != 0 || !strings.Contains(out, "put back") {
		t.Errorf("tune restore: exit %d\n%s%s", code, out, errs)
	}
	o.same(t, "tune restore")
	return took
}

// victim is a command, and how long it takes undisturbed.
type victim struct {
	args []string
	span time.Duration
}

// likeKilled kills commands at random moments, of a run one of its processes or all,
// and counts those that died over an open journal. What the survivors do not put back,
// the next command does.
func likeKilled(t *testing.T, o *outsiders, victims []victim, rounds int) (open int) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 4))
	t.Logf("seed %d", seed)
	var moments []string
	for round := range rounds {
		v := victims[(round+len(victims)-1)%len(victims)]
		cmd := program(t, v.args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		moment := time.Duration(r.Int64N(int64(v.span)))
		time.Sleep(moment)
		all := processes(t)
		doomed := all
		if r.IntN(2) == 0 && len(all) > 0 {
			doomed = []string{all[r.IntN(len(all))]}
		}
		for _, p := range doomed {
			pid, err := strconv.Atoi(p)
			if err != nil {
				t.Fatal(err)
			}
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		_ = cmd.Wait()
		waitGone(t, 40*time.Second) // the others notice, and put back what is theirs
		left, _ := filepath.Glob("/run/zcbench/*.journal")
		if len(left) > 0 && len(doomed) > 0 {
			open++
		}
		what := fmt.Sprintf("%s after %d ms of %d, %d of %d processes, %d open journals", strings.Join(v.args[:5], " "),
			moment.Milliseconds(), v.span.Milliseconds(), len(doomed), len(all), len(left))
		moments = append(moments, what)
		if v.args[0] == "tune" && r.IntN(2) == 0 {
			killed(t, r, v.span, "tune", "restore", "-i", "zc1")
		}
		next := []string{"tune", "restore"}
		if v.args[0] == "local" && r.IntN(3) == 0 {
			next = append(slices.Clone(likeArgs("baseline")), "--no-tune")
		}
		out, errs, code := run(t, next...)
		if code != 0 && next[0] == "tune" {
			t.Errorf("%s: tune restore: exit %d\n%s%s", what, code, out, errs)
		}
		o.same(t, what)
		for _, kind := range []string{"*.journal*", "*[0-9].lock", "host.lock"} {
			if left, _ := filepath.Glob("/run/zcbench/" + kind); len(left) > 0 {
				t.Errorf("%s: left %v", what, left)
			}
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("%d of %d died over an open journal:\n%s", open, rounds, strings.Join(moments, "\n"))
	return open
}

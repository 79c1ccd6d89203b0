package rx_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/netpair"
	"zcbench/internal/testutil"
	"zcbench/internal/testutil/some"
	"zcbench/rx"
	"zcbench/tx"
)

// labParams are those of a validated transfer in the lab, whose machine is
// slow: a payload of 1 MiB a flow, sent in pieces of 128 KiB.
func labParams(flows int) endpoint.Params {
	return endpoint.Params{
		Flows: flows, Length: 128 << 10, Validate: true,
		Pattern: endpoint.Pattern{Seed: 11, Period: 1 << 20},
	}
}

// queueOptions are the options of the receive engine for queues that Tune gave.
func queueOptions(queues []uint32, more map[string]string) map[string]string {
	o := map[string]string{"queue": fmt.Sprint(queues[0]), "queues": strconv.Itoa(len(queues))}
	maps.Copy(o, more)
	return o
}

// counter gives a counter by its name, summed over connections.
func counter(t *testing.T, e endpoint.Engine, cs []*endpoint.Counters, name string) uint64 {
	t.Helper()
	l := e.Layout()
	if i := slices.Index(l.Extra, name); i >= 0 {
		return testutil.Sum(cs, func(c *endpoint.Counters) uint64 { return c.Extra[i].Load() })
	}
	i := slices.Index(l.Syscalls, name)
	if i < 0 {
		t.Fatalf("%s has no counter %s", e.Name(), name)
	}
	return testutil.Sum(cs, func(c *endpoint.Counters) uint64 { return c.Syscalls[i].Load() })
}

// whole checks that all that was sent has arrived as it was sent.
func whole(t *testing.T, out testutil.Outcome) {
	t.Helper()
	for i := range out.RX {
		r, s := testutil.Bytes(out.RX[i]), testutil.Bytes(out.TX[i])
		if r != s || r != out.Checked[i] {
			t.Errorf("flow %d: %d bytes sent, %d received, %d of them right", i, s, r, out.Checked[i])
		}
	}
}

// TestLabDevmem: every byte arrives, in order, from and into dma-bufs, over
// either IP version, one or several flows and queues, with segments merged in
// software or by the NIC; and the queues are back to ordinary memory after it.
func TestLabDevmem(t *testing.T) {
	pair := testutil.Lab(t)
	bytes := uint64(64 << 20)
	if os.Getenv("ZCBENCH_SOAK") != "" {
		bytes = 10 << 30 / 32 // 10 GiB over all
	}
	for _, hw := range []string{"on", "off"} {
		for _, n := range []int{1, 4} {
			t.Run(fmt.Sprintf("gro-hw-%s/%d", hw, n), func(t *testing.T) {
				queues := testutil.Tune(t, pair, n, n, map[string]string{"gro-hw": hw})
				type one struct {
					tx, rx endpoint.Engine
					v6     bool
				}
				var all []one
				for _, v6 := range []bool{false, true} {
					all = append(all, one{tx.Devmem(), rx.Devmem(), v6}, one{tx.Devmem(), rx.Baseline(), v6}, one{tx.Baseline(), rx.Devmem(), v6},
						one{tx.Baseline(), rx.Baseline(), v6})
				}
				for _, c := range some.Of(t, 3, all) {
					t.Run(fmt.Sprintf("%s-%s-v6=%v", c.tx.Name(), c.rx.Name(), c.v6), func(t *testing.T) {
						into, from := c.rx.Name() == "devmem", c.tx.Name() == "devmem"
						var options map[string]string
						if into {
							options = queueOptions(queues, nil)
						}
						ends := testutil.OpenEnds(t, pair, c.tx, c.rx, nil, options, labParams(n))
						if bound := testutil.BoundQueues(t, pair); into && !slices.Equal(bound, queues) {
							t.Errorf("queues %v have a memory provider, want %v", bound, queues)
						}
						start := time.Now()
						out := ends.Carry(t, c.v6, bytes/uint64(n))
						whole(t, out)
						took := time.Since(start)
						ends.Close(t)
						copied := func(c *endpoint.Counters) uint64 { return c.Copied.Load() }
						if k := testutil.Sum(out.RX, copied); into && k != 0 {
							t.Errorf("%d bytes missed the dma-buf: %d beside it, %d by other queues", k, counter(t, c.rx, out.RX, "linear_bytes"),
								counter(t, c.rx, out.RX, "plain_bytes"))
						}
						if k := testutil.Sum(out.TX, copied); from && k != 0 {
							t.Errorf("%d bytes sent were copied", k)
						}
						if bound := testutil.BoundQueues(t, pair); len(bound) != 0 {
							t.Errorf("queues %v are still bound", bound)
						}
						total := testutil.Sum(out.RX, testutil.Bytes)
						t.Logf("%.2f Gbit/s", float64(total)*8/1e9/took.Seconds())
					})
				}
			})
		}
	}
}

// TestLabDevmemTokens: batches of consecutive tokens take at most a quarter of
// the calls that single ones do; either way all are given back.
func TestLabDevmemTokens(t *testing.T) {
	pair := testutil.Lab(t)
	queues := testutil.Tune(t, pair, 1, 1, nil)
	calls := map[string]float64{}
	for _, batch := range []string{"1", "128", "1024"} {
		ends := testutil.OpenEnds(t, pair, tx.Devmem(), rx.Devmem(), nil, queueOptions(queues, map[string]string{"token-batch": batch}),
			labParams(1))
		out := ends.Carry(t, false, 64<<20)
		ends.Close(t)
		whole(t, out)
		e := rx.Devmem()
		gib := float64(testutil.Bytes(out.RX[0])) / (1 << 30)
		calls[batch] = float64(counter(t, e, out.RX, "setsockopt")) / gib
		t.Logf("token-batch %s: %.0f setsockopt and %.0f recvmsg for each GiB, %d tokens in %d ranges, %d calls freed in part", batch,
			calls[batch], float64(counter(t, e, out.RX, "recvmsg"))/gib,
			counter(t, e, out.RX, "tokens"), counter(t, e, out.RX, "token_ranges"), counter(t, e, out.RX, "partial_frees"))
	}
	if calls["1024"] > calls["1"]/4 {
		t.Errorf("%.0f setsockopt calls for each GiB, %.0f one by one: want a quarter at most", calls["1024"], calls["1"])
	}
}

// TestLabDevmemBuffers: pieces above a page carry every byte too, and fewer of them
// are named for each GiB.
func TestLabDevmemBuffers(t *testing.T) {
	pair := testutil.Lab(t)
	queues := testutil.Tune(t, pair, 2, 2, nil)
	reserveHugePages(t, 40) // a dma-buf of 32 MiB, and one that comes back late
	tokens := map[string]float64{}
	for _, size := range []string{"4K", "32K"} {
		awaitHugePages(t, 16)
		ends := testutil.OpenEnds(t, pair, tx.Devmem(), rx.Devmem(), nil, queueOptions(queues, map[string]string{"rx-buf-len": size,
			"mem": "hugepages", "mem-size": "32M"}), labParams(2))
		out := ends.Carry(t, false, 16<<20)
		ends.Close(t)
		whole(t, out)
		if k := testutil.Sum(out.RX, func(c *endpoint.Counters) uint64 { return c.Copied.Load() }); k != 0 {
			t.Errorf("%s: %d bytes missed the dma-buf", size, k)
		}
		tokens[size] = float64(counter(t, rx.Devmem(), out.RX, "tokens"))
	}
	t.Logf("tokens: %v", tokens)
	if tokens["32K"] > tokens["4K"]/2 {
		t.Errorf("buffers of 32 KiB took %.0f tokens, those of 4 KiB %.0f: want half at most", tokens["32K"], tokens["4K"])
	}
}

// TestLabDevmemControl: room for too few control messages costs calls, not
// bytes.
func TestLabDevmemControl(t *testing.T) {
	pair := testutil.Lab(t)
	queues := testutil.Tune(t, pair, 1, 1, nil)
	ends := testutil.OpenEnds(t, pair, tx.Devmem(), rx.Devmem(), nil, queueOptions(queues, map[string]string{"frags": "1", "read": "4096"}),
		labParams(1))
	out := ends.Carry(t, false, 8<<20)
	ends.Close(t)
	whole(t, out)
	if n := counter(t, rx.Devmem(), out.RX, "control_full"); n == 0 {
		t.Error("one control message was always enough")
	}
}

// TestLabDevmemStarved: a dma-buf that is too small slows the run, which says
// how often it was empty; nothing hangs and nothing is lost, not even on a wire
// that loses frames, where data out of order takes buffers too.
func TestLabDevmemStarved(t *testing.T) {
	pair := testutil.Lab(t)
	for _, c := range []struct {
		flows int
		loss  string // frames of a million
	}{{1, "0"}, {4, "0"}, {1, "1000"}, {4, "1000"}} {
		t.Run(fmt.Sprintf("%d-loss-%s", c.flows, c.loss), func(t *testing.T) {
			lose(t, c.loss)
			queues := testutil.Tune(t, pair, 1, c.flows, nil)
			ends := testutil.OpenEnds(t, pair, tx.Baseline(), rx.Devmem(), nil, queueOptions(queues, map[string]string{"mem-size": "1M"}),
				labParams(c.flows))
			seen := ends.RX.(endpoint.Observer)
			if err := seen.Begin(); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			out := ends.Carry(t, false, uint64(16<<20/c.flows))
			took := time.Since(start)
			counters, warnings, err := seen.End()
			if err != nil {
				t.Error(err)
			}
			ends.Close(t)
			whole(t, out)
			if counters["pool_empty"] == 0 || !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, "times") }) {
				t.Errorf("the dma-buf was never empty: %v, %v", counters, warnings)
			}
			t.Logf("%.2f Gbit/s; %s; %v", float64(testutil.Sum(out.RX, testutil.Bytes))*8/1e9/took.Seconds(), strings.Join(warnings, "; "), counters)
		})
	}
}

// lose has the software NICs lose frames, of a million, until the test ends.
func lose(t *testing.T, frames string) {
	t.Helper()
	const path = "/sys/module/zcnic/parameters/loss_ppm"
	old, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(frames), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, old, 0); err != nil {
			t.Error(err)
		}
	})
}

// TestLabDevmemWire: other sizes of segments, and a wire that loses frames.
func TestLabDevmemWire(t *testing.T) {
	pair := testutil.Lab(t)
	for _, c := range []struct{ mtu, loss string }{{"1500", "500"}, {"4148", "0"}, {"9000", "0"}, {"9000", "500"}} {
		t.Run(c.mtu+"-loss-"+c.loss, func(t *testing.T) {
			lose(t, c.loss)
			queues := testutil.Tune(t, pair, 2, 4, map[string]string{"mtu": c.mtu})
			mtu := func(v string) {
				if out, err := exec.Command("ip", "-n", "zctx", "link", "set", "zc0", "mtu", v).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			mtu(c.mtu)
			defer mtu("1500")
			ends := testutil.OpenEnds(t, pair, tx.Devmem(), rx.Devmem(), nil, queueOptions(queues, nil), labParams(4))
			out := ends.Carry(t, false, 8<<20)
			ends.Close(t)
			whole(t, out)
			if n := testutil.Sum(out.RX, func(c *endpoint.Counters) uint64 { return c.Copied.Load() }); n != 0 {
				t.Errorf("%d bytes missed the dma-buf", n)
			}
		})
	}
}

// TestLabDevmemHeap: other memory than udmabuf's.
func TestLabDevmemHeap(t *testing.T) {
	pair := testutil.Lab(t)
	queues := testutil.Tune(t, pair, 1, 1, nil)
	o := map[string]string{"mem": "heap"}
	ends := testutil.OpenEnds(t, pair, tx.Devmem(), rx.Devmem(), o, queueOptions(queues, o), labParams(1))
	out := ends.Carry(t, false, 16<<20)
	ends.Close(t)
	whole(t, out)
}

// TestLabDevmemIovecs: several pieces in one call, across the end of the
// payload and cut short.
func TestLabDevmemIovecs(t *testing.T) {
	pair := testutil.Lab(t)
	for _, c := range []struct {
		length int
		iovecs string
	}{{4096, "1024"}, {1000, "100"}, {100001, "7"}, {1 << 20, "16"}} {
		p := endpoint.Params{Flows: 1, Length: c.length, Validate: true, Pattern: endpoint.Pattern{Seed: 2,
			Period: c.length * (1 + 300000/c.length)}}
		ends := testutil.OpenEnds(t, pair, tx.Devmem(), rx.Baseline(), map[string]string{"iovecs": c.iovecs}, nil, p)
		out := ends.Carry(t, false, 16<<20)
		ends.Close(t)
		whole(t, out)
	}
}

// TestLabProbe: the NIC can.
func TestLabProbe(t *testing.T) {
	pair := testutil.Lab(t)
	for _, c := range []struct {
		at     *netpair.End
		engine endpoint.Engine
	}{{&pair.RX, rx.Devmem()}, {&pair.TX, tx.Devmem()}} {
		var there, nowhere feature.Verdict
		if err := c.at.Do(func() error {
			there, nowhere = c.engine.Probe(c.at.Interface), c.engine.Probe("lo")
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if there.Answer != feature.Yes || nowhere.Answer != feature.No {
			t.Errorf("%s: %+v on %s, %+v on lo", c.engine.Name(), there, c.at.Interface, nowhere)
		}
	}
	// Header split is off in the lab; the probe says that a run turns it on.
	if err := pair.RX.Do(func() error {
		for _, e := range []endpoint.Engine{rx.Devmem(), rx.ZCRX()} {
			if v := e.Probe(pair.RX.Interface); v.Answer != feature.Yes || !strings.Contains(v.Reason, "tcp-data-split on") {
				t.Errorf("%s: the probe does not say what a run sets: %+v", e.Name(), v)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestLabDevmemRefused: each missing prerequisite is named in the kernel's own
// words, with the cure, and leaves nothing bound.
func TestLabDevmemRefused(t *testing.T) {
	pair := testutil.Lab(t)
	queues := testutil.Tune(t, pair, 1, 1, nil)
	attempt := func(iface string, options map[string]string) error {
		p := labParams(1)
		p.Interface, p.Options = iface, options
		return pair.RX.Do(func() error {
			s, err := rx.Devmem().Open(p)
			if err == nil {
				err = errors.Join(errors.New("it opened"), s.Close())
			}
			return err
		})
	}
	check := func(name string, err error, kind fault.Kind, say ...string) {
		t.Helper()
		if fault.Of(err) != kind {
			t.Errorf("%s: %v; kind %s, want %s", name, err, fault.Of(err), kind)
		}
		for _, s := range say {
			if err == nil || !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v\n  does not say %q", name, err, s)
			}
		}
		t.Logf("%s: %v", name, err)
	}
	one := queueOptions(queues, nil)
	ends := testutil.OpenEnds(t, pair, tx.Baseline(), rx.Devmem(), nil, one, labParams(1))
	check("queue taken", attempt("zc1", one), fault.Failed, "already", "choose another")
	ends.Close(t)
	check("queue out of range", attempt("zc1", map[string]string{"queue": "4000"}), fault.Failed, "queue", "/sys/class/net/zc1/queues")
	check("wrong device", attempt("lo", one), fault.Unsupported, "lo", "probe")
	check("too small", attempt("zc1", queueOptions(queues, map[string]string{"mem-size": "4K"})), fault.Failed, "too small")
	const limit = "/sys/module/udmabuf/parameters/size_limit_mb"
	old, err := os.ReadFile(limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("size_limit_mb is %s", old)
	setLimit := func(v []byte) {
		if err := os.WriteFile(limit, v, 0); err != nil {
			t.Fatal(err)
		}
	}
	setLimit([]byte("1"))
	check("above the limit", attempt("zc1", queueOptions(queues, map[string]string{"mem-size": "2M"})), fault.Unsupported, "echo 2 > "+limit)
	setLimit(old)
	split := func(to string) {
		t.Helper()
		if out, err := exec.Command("ip", "netns", "exec", "zcrx", "ethtool", "-G", "zc1", "tcp-data-split", to).CombinedOutput(); err != nil {
			t.Fatalf("header split %s: %v: %s", to, err, out)
		}
	}
	split("off")
	check("header split off", attempt("zc1", one), fault.Unsupported, "tcp-data-split is disabled", "ethtool -G zc1 tcp-data-split on")
	split("on")
	if bound := testutil.BoundQueues(t, pair); len(bound) != 0 {
		t.Errorf("queues %v are bound", bound)
	}
}

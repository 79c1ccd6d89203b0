package rx_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/internal/netpair"
	"zcbench/internal/testutil"
	"zcbench/internal/testutil/some"
	"zcbench/internal/uring"
	"zcbench/rx"
	"zcbench/tx"
)

// ringOptions are the options of zcrx for queues that Tune gave, a ring each.
func ringOptions(queues []uint32, more map[string]string) map[string]string {
	o := map[string]string{"nodev": "off", "queue": fmt.Sprint(queues[0]), "rings": strconv.Itoa(len(queues))}
	maps.Copy(o, more)
	return o
}

func copiedBytes(c *endpoint.Counters) uint64 { return c.Copied.Load() }

// zcrxMemory are the kinds of area and of buffer that zcrx receives into.
var zcrxMemory = []map[string]string{
	{},
	{"area": "huge"},
	{"area": "dmabuf"},
	{"area": "dmabuf", "mem": "hugepages"},
	{"area": "normal", "rx-buf-len": "32K"}, // in transparent huge pages
	{"area": "huge", "rx-buf-len": "32K"},
	{"area": "dmabuf", "mem": "hugepages", "rx-buf-len": "32K"},
	{"area": "huge", "rx-buf-len": "16K"},
}

// reserveHugePages has so many huge pages for the test.
func reserveHugePages(t *testing.T, n int) {
	t.Helper()
	const file = "/proc/sys/vm/nr_hugepages"
	old, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(strconv.Itoa(n)), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(file, old, 0); err != nil {
			t.Error(err)
		}
	})
}

// awaitHugePages waits until so many are free: the kernel gives back those of a
// closed ring by and by.
func awaitHugePages(t *testing.T, n int) {
	t.Helper()
	free := -1
	for begun := time.Now(); free < n && time.Since(begun) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile("/proc/meminfo")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "HugePages_Free:")
		line, _, _ := strings.Cut(rest, "\n")
		if free, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
			t.Fatal(err)
		}
	}
	if free < n {
		t.Fatalf("%d huge pages are free after 20 s, want %d", free, n)
	}
}

// unbound waits until ordinary memory backs all queues: the kernel takes a
// closed ring down by and by.
func unbound(t *testing.T, pair *netpair.Pair) {
	t.Helper()
	bound := testutil.BoundQueues(t, pair)
	for begun := time.Now(); len(bound) != 0 && time.Since(begun) < 10*time.Second; bound = testutil.BoundQueues(t, pair) {
		time.Sleep(20 * time.Millisecond)
	}
	if len(bound) != 0 {
		t.Errorf("queues %v are still bound", bound)
	}
}

// TestLabZCRX: every byte arrives, in order and without a copy, through NIC
// queues that zcrx owns, over either IP version, one or several flows and
// queues, with segments merged in software or by the NIC, into every kind of
// memory; and the queues are back to ordinary memory after it. The kinds of
// memory are spread so that each meets either value of everything else; the
// long form has them all everywhere.
func TestLabZCRX(t *testing.T) {
	pair := testutil.Lab(t)
	reserveHugePages(t, 160) // four areas of 64 MiB, and some that come back late
	long := os.Getenv("ZCBENCH_SOAK") != ""
	bytes := uint64(64 << 20)
	if long {
		bytes = 10 << 30 / 136 // 10 GiB over all
	}
	carry := func(t *testing.T, send, receive endpoint.Engine, options map[string]string, v6 bool, flows int) {
		awaitHugePages(t, 128)
		ends := testutil.OpenEnds(t, pair, send, receive, nil, options, labParams(flows))
		start := time.Now()
		out := ends.Carry(t, v6, bytes/uint64(flows))
		took := time.Since(start)
		whole(t, out)
		ends.Close(t)
		if k := testutil.Sum(out.RX, copiedBytes); receive.Name() == "zcrx" && k != 0 {
			t.Errorf("%d bytes received were copied", k)
		}
		if k := testutil.Sum(out.TX, copiedBytes); send.Name() == "sendzc" && k != 0 {
			t.Errorf("%d bytes sent were copied", k)
		}
		unbound(t, pair)
		t.Logf("%.2f Gbit/s", float64(testutil.Sum(out.RX, testutil.Bytes))*8/1e9/took.Seconds())
	}
	for h, hw := range []string{"on", "off"} {
		for q, n := range []int{1, 4} {
			t.Run(fmt.Sprintf("gro-hw-%s/%d", hw, n), func(t *testing.T) {
				queues := testutil.Tune(t, pair, n, n, map[string]string{"gro-hw": hw})
				type one struct {
					name string
					run  func(t *testing.T)
				}
				var all []one
				for v, v6 := range []bool{false, true} {
					all = append(all, one{fmt.Sprintf("sendzc-baseline-v6=%v", v6), func(t *testing.T) {
						carry(t, tx.SendZC(), rx.Baseline(), nil, v6, n)
					}})
					for s, send := range []endpoint.Engine{tx.SendZC(), tx.Baseline()} {
						cell := h<<3 | q<<2 | v<<1 | s
						memory := zcrxMemory[min(cell, 15-cell)]
						for _, m := range zcrxMemory {
							if !long && !maps.Equal(m, memory) {
								continue
							}
							all = append(all, one{fmt.Sprintf("%s-zcrx-v6=%v-%s", send.Name(), v6, words(m)), func(t *testing.T) {
								carry(t, send, rx.ZCRX(), ringOptions(queues, m), v6, n)
							}})
						}
					}
				}
				for _, c := range some.Of(t, 3, all) {
					t.Run(c.name, c.run)
				}
			})
		}
	}
}

// words names a set of options.
func words(m map[string]string) string {
	if len(m) == 0 {
		return "default"
	}
	return strings.Join(slices.Sorted(maps.Values(m)), "-")
}

// TestLabZCRXShared: several rings receive from one queue, and every byte
// arrives without a copy.
func TestLabZCRXShared(t *testing.T) {
	pair := testutil.Lab(t)
	for _, c := range []struct{ flows, rings, queues int }{{4, 4, 1}, {4, 4, 2}, {6, 2, 1}} {
		t.Run(fmt.Sprintf("%d-flows-%d-rings-%d-queues", c.flows, c.rings, c.queues), func(t *testing.T) {
			queues := testutil.Tune(t, pair, c.queues, c.flows, nil)
			options := ringOptions(queues, map[string]string{"rings": strconv.Itoa(c.rings), "queues": strconv.Itoa(c.queues)})
			ends := testutil.OpenEnds(t, pair, tx.Baseline(), rx.ZCRX(), nil, options, labParams(c.flows))
			out := ends.Carry(t, false, 32<<20/uint64(c.flows))
			whole(t, out)
			ends.Close(t)
			if k := testutil.Sum(out.RX, copiedBytes); k != 0 {
				t.Errorf("%d bytes received were copied", k)
			}
			unbound(t, pair)
		})
	}
}

// TestLabZCRXMisled: payload that comes by the queue of another ring can be
// neither given out nor copied, and none can be copied into a dma-buf: the run
// fails at once and says why. What comes by an ordinary queue is copied, and
// counted to the byte.
func TestLabZCRXMisled(t *testing.T) {
	pair := testutil.Lab(t)
	t.Run("to another ring", func(t *testing.T) {
		queues := testutil.Tune(t, pair, 2, 2, nil)
		p := labParams(2)
		p.Queues = []uint32{queues[1], queues[0]}
		ends := testutil.OpenEnds(t, pair, tx.Baseline(), rx.ZCRX(), nil, map[string]string{"nodev": "off", "rings": "2"}, p)
		out, err := ends.Try(t, false, 8<<20)
		ends.Close(t)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("not by queue %d of %s", queues[1], pair.RX.Interface)) {
			t.Errorf("%v after %d bytes, want an error about the queue", err, testutil.Sum(out.RX, testutil.Bytes))
		}
		unbound(t, pair)
	})
	for area, copies := range map[string]bool{"normal": true, "dmabuf": false} {
		t.Run("one flow by another queue than "+area, func(t *testing.T) {
			// Both flows are of the one ring; a rule leads only the first to it.
			queues := testutil.Tune(t, pair, 1, 1, nil)
			p := labParams(2)
			ends := testutil.OpenEnds(t, pair, tx.Baseline(), rx.ZCRX(), nil, ringOptions(queues, map[string]string{"area": area}), p)
			out, err := ends.Try(t, false, 8<<20)
			ends.Close(t)
			unbound(t, pair)
			if !copies {
				if err == nil || !strings.Contains(err.Error(), "flow 2 came by another queue") {
					t.Errorf("%v, want an error about flow 2", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			whole(t, out)
			if k, want := testutil.Sum(out.RX, copiedBytes), testutil.Bytes(out.RX[1]); k != want {
				t.Errorf("%d bytes were counted as copied, %d came by another queue", k, want)
			}
		})
	}
}

// TestLabZCRXGrows: an area that is too small becomes as large as it may while
// payload comes, whatever it is of and whichever of the rings that share it
// receives; every byte of the old and the new memory is right, and none is copied
// where there is a queue.
func TestLabZCRXGrows(t *testing.T) {
	pair := testutil.Lab(t)
	if !uring.QueryZeroCopyRX().Grow {
		t.Skip("needs Linux 7.3")
	}
	reserveHugePages(t, 40)
	queues := testutil.Tune(t, pair, 1, 4, nil)
	const most = 8 << 20
	for _, c := range []struct {
		first   int
		flows   int
		options map[string]string
	}{
		{256 << 10, 1, nil},
		{2 << 20, 4, map[string]string{"area": "huge"}},
		{256 << 10, 1, map[string]string{"area": "dmabuf"}},
		{256 << 10, 4, map[string]string{"rings": "2", "queues": "1"}},
		{256 << 10, 4, map[string]string{"rings": "4", "queues": "1", "area": "dmabuf"}},
		{64 << 10, 4, map[string]string{"nodev": "on"}},
	} {
		t.Run(fmt.Sprintf("%d flows %s", c.flows, words(c.options)), func(t *testing.T) {
			o := ringOptions(queues, map[string]string{"mem-size": strconv.Itoa(c.first), "grow": strconv.Itoa(most)})
			if c.options["nodev"] == "on" {
				delete(o, "queue")
			}
			maps.Copy(o, c.options)
			ends := testutil.OpenEnds(t, pair, tx.Baseline(), rx.ZCRX(), nil, o, labParams(c.flows))
			out := ends.Carry(t, false, 32<<20/uint64(c.flows))
			whole(t, out)
			ends.Close(t)
			unbound(t, pair)
			e := rx.ZCRX()
			grown, size := counter(t, e, out.RX, "area_grown"), uint64(0)
			for i := range out.RX { // connections of other rings may know of less
				size = max(size, counter(t, e, out.RX[i:i+1], "area_bytes_max"))
			}
			t.Logf("grown %d times to %d KiB; found empty %d times, %d times none to copy into", grown, size>>10,
				counter(t, e, out.RX, "area_empty_events"), counter(t, e, out.RX, "enomem"))
			if grown == 0 || size != uint64(min(most, c.first<<grown)) {
				t.Errorf("grown %d times from %d to %d bytes", grown, c.first, size)
			}
			if k := testutil.Sum(out.RX, copiedBytes); k != 0 && c.options["nodev"] != "on" {
				t.Errorf("%d bytes received were copied", k)
			}
		})
	}
}

// TestLabZCRXShort: a small area, refill queue and completion queue: slow at
// worst, never stuck, nothing is lost, and what was short is counted.
func TestLabZCRXShort(t *testing.T) {
	pair := testutil.Lab(t)
	queues := testutil.Tune(t, pair, 1, 1, nil)
	for name, c := range map[string]struct {
		options map[string]string
		counts  []string // that cannot be zero
	}{
		"area 1M":               {map[string]string{"mem-size": "1M"}, nil},
		"area 1M, CQ 16":        {map[string]string{"mem-size": "1M", "cq-entries": "16"}, []string{"rearms"}},
		"area 1M, refill 16":    {map[string]string{"mem-size": "1M", "rq-entries": "16"}, []string{"refill_stalls"}},
		"area 256K":             {map[string]string{"mem-size": "256K"}, []string{"area_empty_events"}},
		"one completion a time": {map[string]string{"wait-nr": "1"}, nil},
		"busy poll":             {map[string]string{"busy-poll": "200"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ends := testutil.OpenEnds(t, pair, tx.SendZC(), rx.ZCRX(), nil, ringOptions(queues, c.options), labParams(1))
			out := ends.Carry(t, false, 16<<20)
			whole(t, out)
			ends.Close(t)
			unbound(t, pair)
			e := rx.ZCRX()
			for _, name := range c.counts {
				if counter(t, e, out.RX, name) == 0 {
					t.Errorf("%s is 0", name)
				}
			}
			if k := testutil.Sum(out.RX, copiedBytes); k != 0 {
				t.Errorf("%d bytes received were copied", k)
			}
			t.Logf("%d re-arms, %d overflows of the completion queue, %d refill stalls, area empty %d times",
				counter(t, e, out.RX, "rearms"), counter(t, e, out.RX, "cq_overflows"), counter(t, e, out.RX, "refill_stalls"), counter(t, e, out.RX,
					"area_empty_events"))
		})
	}
}

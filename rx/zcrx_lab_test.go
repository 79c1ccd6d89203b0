package rx_test

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/internal/testutil"
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

// TestLabZCRX: every byte arrives, in order and without a copy, through NIC
// queues that zcrx owns, over either IP version, one or several flows and
// queues, with segments merged in software or by the NIC; and the queues are
// back to ordinary memory after it.
func TestLabZCRX(t *testing.T) {
	pair := testutil.Lab(t)
	bytes := uint64(64 << 20)
	if os.Getenv("ZCBENCH_SOAK") != "" {
		bytes = 10 << 30 / 24 // 10 GiB over all
	}
	for _, hw := range []string{"on", "off"} {
		for _, n := range []int{1, 4} {
			t.Run(fmt.Sprintf("gro-hw-%s/%d", hw, n), func(t *testing.T) {
				queues := testutil.Tune(t, pair, n, n, map[string]string{"gro-hw": hw})
				for _, c := range []struct {
					tx, rx endpoint.Engine
				}{{tx.SendZC(), rx.ZCRX()}, {tx.Baseline(), rx.ZCRX()}, {tx.SendZC(), rx.Baseline()}} {
					for _, v6 := range []bool{false, true} {
						t.Run(fmt.Sprintf("%s-%s-v6=%v", c.tx.Name(), c.rx.Name(), v6), func(t *testing.T) {
							var options map[string]string
							into := c.rx.Name() == "zcrx"
							if into {
								options = ringOptions(queues, nil)
							}
							ends := testutil.OpenEnds(t, pair, c.tx, c.rx, nil, options, labParams(n))
							start := time.Now()
							out := ends.Carry(t, v6, bytes/uint64(n))
							took := time.Since(start)
							whole(t, out)
							ends.Close(t)
							if k := testutil.Sum(out.RX, copiedBytes); into && k != 0 {
								t.Errorf("%d bytes received were copied", k)
							}
							if k := testutil.Sum(out.TX, copiedBytes); c.tx.Name() == "sendzc" && k != 0 {
								t.Errorf("%d bytes sent were copied", k)
							}
							// The kernel takes a closed ring down by and by.
							bound := testutil.BoundQueues(t, pair)
							for begun := time.Now(); len(bound) != 0 && time.Since(begun) < 10*time.Second; bound = testutil.BoundQueues(t, pair) {
								time.Sleep(50 * time.Millisecond)
							}
							if len(bound) != 0 {
								t.Errorf("queues %v are still bound", bound)
							}
							t.Logf("%.2f Gbit/s", float64(testutil.Sum(out.RX, testutil.Bytes))*8/1e9/took.Seconds())
						})
					}
				}
			})
		}
	}
}

// TestLabZCRXShort: a small area, refill queue and completion queue, and
// buffers larger than a page: slow at worst, never stuck, and nothing is lost.
func TestLabZCRXShort(t *testing.T) {
	pair := testutil.Lab(t)
	queues := testutil.Tune(t, pair, 1, 1, nil)
	for name, more := range map[string]map[string]string{
		"area 1M":               {"mem-size": "1M"},
		"area 1M, CQ 16":        {"mem-size": "1M", "cq-entries": "16"},
		"area 1M, refill 16":    {"mem-size": "1M", "rq-entries": "16"},
		"one completion a time": {"wait-nr": "1"},
	} {
		t.Run(name, func(t *testing.T) {
			ends := testutil.OpenEnds(t, pair, tx.SendZC(), rx.ZCRX(), nil, ringOptions(queues, more), labParams(1))
			out := ends.Carry(t, false, 8<<20)
			whole(t, out)
			ends.Close(t)
			e := rx.ZCRX()
			t.Logf("%d bytes copied, %d re-arms, %d overflows of the completion queue, %d refill stalls", testutil.Sum(out.RX, copiedBytes),
				counter(t, e, out.RX, "rearms"), counter(t, e, out.RX, "cq_overflows"), counter(t, e, out.RX, "refill_stalls"))
		})
	}
}

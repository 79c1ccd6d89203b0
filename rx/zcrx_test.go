package rx_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"zcbench/endpoint"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/testutil"
	"zcbench/internal/uring"
	"zcbench/rx"
	"zcbench/tx"
)

func TestZCRXWithoutAQueue(t *testing.T) {
	possible(t, rx.ZCRX())
	for _, send := range []endpoint.Engine{tx.Baseline(), tx.Uring(), tx.SendZC()} {
		for _, flows := range []int{1, 4} {
			for _, length := range []int{1, 999, 4096, 1 << 17, 1<<20 + 1} {
				t.Run(fmt.Sprintf("%s-%d-%d", send.Name(), flows, length), func(t *testing.T) {
					possible(t, send)
					out := validated(t, send, rx.ZCRX(), params(flows, length, nil))
					if n := testutil.Sum(out.RX, func(c *endpoint.Counters) uint64 { return c.ZeroCopied.Load() }); n != 0 {
						t.Errorf("%d bytes zero-copied without a queue", n)
					}
				})
			}
		}
	}
}

// TestZCRXOptions: small areas, refill and completion queues are slow, but
// neither stick nor lose.
func TestZCRXOptions(t *testing.T) {
	possible(t, rx.ZCRX())
	for _, o := range []map[string]string{
		{"mem-size": "64K"},
		{"mem-size": "1M", "cq-entries": "16"},
		{"mem-size": "1M", "rq-entries": "8"},
		{"mem-size": "64K", "rq-entries": "1", "cq-entries": "16"},
		{"rings": "3"},
		{"rings": "64", "mem-size": "1M"},
		{"area": "normal", "wait-nr": "1"},
		{"busy-poll": "50"},
	} {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			for _, flows := range []int{1, 4} {
				validated(t, tx.Baseline(), with{rx.ZCRX(), o}, params(flows, 100000, nil))
			}
		})
	}
}

func TestZCRXAborts(t *testing.T) { aborts(t, rx.ZCRX()) }

func TestZCRXDoesNotAllocate(t *testing.T) {
	possible(t, rx.ZCRX())
	doesNotAllocate(t, tx.Baseline(), rx.ZCRX(), params(1, 4096, nil))
}

// TestZCRXProbe: where the probe says no, Open says the same, with the reason
// and the kind that makes exit code 3.
func TestZCRXProbe(t *testing.T) {
	v := rx.ZCRX().Probe("lo")
	if v.Answer != feature.No {
		s, err := rx.ZCRX().Open(params(1, 4096, nil))
		if err != nil {
			t.Fatalf("the probe says %s, open: %v", v.Answer, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	if v.Reason == "" || v.Fix == "" {
		t.Errorf("no without a reason or a cure: %+v", v)
	}
	if strings.Contains(v.Reason, "7.1") && !strings.Contains(v.Reason, "lo has no queue API") {
		t.Errorf("%q does not speak of the interface", v.Reason)
	}
	p := params(1, 4096, nil)
	p.Interface = "lo"
	_, err := rx.ZCRX().Open(p)
	if fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), v.Reason) {
		t.Errorf("open: %v, want an unsupported error: %s", err, v.Reason)
	}
}

func TestZCRXRefuses(t *testing.T) {
	for _, c := range []struct {
		options map[string]string
		iface   string
		say     string
	}{
		{map[string]string{"areas": "1M"}, "", "areas"},
		{map[string]string{"mem-size": "1"}, "", "mem-size"},
		{map[string]string{"area": "small"}, "", "area"},
		{map[string]string{"nodev": "on", "area": "dmabuf"}, "", "dmabuf"},
		{map[string]string{"nodev": "on", "rx-buf-len": "32K"}, "", "rx-buf-len"},
		{map[string]string{"area": "huge", "mem": "udmabuf"}, "", "area=dmabuf"},
		{map[string]string{"mem-size": "1M", "grow": "512K"}, "", "grow=524288 is less"},
		{map[string]string{"grow": "2G"}, "", "grow"},
		{map[string]string{"area": "dmabuf", "mem": "fd", "grow": "64M"}, "", "inherited"},
		{map[string]string{"rx-buf-len": "5000"}, "", "rx-buf-len"},
		{map[string]string{"rx-buf-len": "1024"}, "", "rx-buf-len"},
		{map[string]string{"nodev": "off"}, "", "interface"},
		{map[string]string{"nodev": "off"}, "no-such-if", "no-such-if"},
	} {
		p := params(1, 4096, c.options)
		p.Interface = c.iface
		_, err := rx.ZCRX().Open(p)
		if fault.Of(err) == fault.Unsupported {
			continue // this kernel knows no RECV_ZC at all
		}
		if fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%v on %q: %v, want a usage error about %s", c.options, c.iface, err, c.say)
		}
	}
}

// TestZCRXGrowUnsupported: an area is never silently of a fixed size.
func TestZCRXGrowUnsupported(t *testing.T) {
	s, err := rx.ZCRX().Open(params(1, 4096, map[string]string{"nodev": "on", "grow": "128M"}))
	if s != nil {
		defer s.Close()
	}
	if uring.QueryZeroCopyRX().Grow {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "7.3") && rx.ZCRX().Probe("lo").Answer == feature.Yes {
		t.Errorf("%v, want an unsupported error that names the kernel it takes", err)
	}
}

// TestZCRXNeeds: a queue is asked for only where there is hardware, or where
// the user says so.
func TestZCRXNeeds(t *testing.T) {
	tuner := rx.ZCRX().(endpoint.Tuner)
	for _, c := range []struct {
		options map[string]string
		flows   int
		want    int
	}{
		{nil, 4, 0},
		{map[string]string{"nodev": "on"}, 4, 0},
		{map[string]string{"nodev": "off"}, 4, 1},
		{map[string]string{"nodev": "off", "rings": "3"}, 4, 3},
		{map[string]string{"nodev": "off", "rings": "8"}, 4, 4},
		{map[string]string{"nodev": "off", "rings": "4", "queues": "2"}, 4, 2},
		{map[string]string{"nodev": "off", "rings": "2", "queues": "8"}, 4, 2},
	} {
		p := params(c.flows, 4096, c.options)
		p.Interface = "lo"
		want, err := tuner.Needs(p)
		if err != nil || want.Queues != c.want || (want.Settings["tcp-data-split"] == "on") != (c.want > 0) {
			t.Errorf("%v: %+v, %v; want %d queues", c.options, want, err, c.want)
		}
	}
	if _, err := tuner.Needs(params(1, 4096, map[string]string{"nodev": "maybe"})); fault.Of(err) != fault.Usage {
		t.Errorf("a bad option: %v", err)
	}
}

// TestZCRXQueueOfLoopback: an interface without queues is unsupported, not a
// failure.
func TestZCRXQueueOfLoopback(t *testing.T) {
	runtime.LockOSThread() // as a worker's thread is
	defer runtime.UnlockOSThread()
	p := params(1, 4096, map[string]string{"nodev": "off"})
	p.Interface = "lo"
	s, err := rx.ZCRX().Open(p)
	if err != nil {
		t.Skip(err)
	}
	defer s.Close()
	_, err = s.Worker(0)
	if fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "queue 0 of lo") {
		t.Errorf("%v, want an unsupported error about queue 0 of lo", err)
	}
}

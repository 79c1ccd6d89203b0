package agent

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/results/caveat"
)

// What a NAPI thread used goes to its end where no end counts the CPU, is told where
// the other one does, and is uncertain where the thread may have been elsewhere.
func TestPollerPlace(t *testing.T) {
	for _, c := range []struct {
		name                    string
		may                     []int
		cpu                     int
		elsewhere, peer, unsure float64
		code                    caveat.Code
	}{
		{"on a CPU of its end", []int{1}, 1, 0, 0, 0, ""},
		{"on several of them", []int{0, 1}, 1, 0, 0, 0, ""},
		{"on one that nobody counts", []int{4, 5}, 4, 0.5, 0, 0, ""},
		{"on the other end's", []int{2}, 2, 0, 0.5, 0, caveat.NAPIThread},
		{"free to go anywhere", []int{0, 1, 2, 3, 4}, 4, 0.5, 0, 0.5, caveat.NAPIThread},
		{"of unknown affinity", nil, 1, 0, 0, 0.5, caveat.NAPIThread},
	} {
		clock := &pollers{set: []int{0, 1}, peer: []int{2, 3}, threads: []*poller{{name: "napi/eth1-1"}}}
		clock.place(clock.threads[0], 0.5, c.may, c.cpu)
		if elsewhere, peer, unsure := clock.sums(); elsewhere != c.elsewhere || peer != c.peer || unsure != c.unsure {
			t.Errorf("%s: %v elsewhere, %v at the other end, %v unsure", c.name, elsewhere, peer, unsure)
		}
		res := &wire.Result{Samples: []wire.Sample{{}, {At: 2e9, Busy: 1.5}}, Counters: map[string]float64{}}
		clock.report(endpoint.RX, res)
		var code caveat.Code
		if len(res.Warnings) > 0 {
			code = caveat.CodeOf(res.Warnings[0])
		}
		if code != c.code || math.Abs(res.CPUError-50*c.unsure) > 1e-9 || res.Counters["napi_elsewhere_seconds"] != c.elsewhere {
			t.Errorf("%s: error %v, counters %v, warnings %v", c.name, res.CPUError, res.Counters, res.Warnings)
		}
	}
	res := &wire.Result{Samples: []wire.Sample{{}, {At: 2e9, Busy: 1.5}}, Counters: map[string]float64{}}
	(&pollers{hidden: 2}).report(endpoint.RX, res)
	if len(res.Warnings) != 1 || caveat.CodeOf(res.Warnings[0]) != caveat.NAPIThread {
		t.Errorf("threads that cannot be seen: %v", res.Warnings)
	}
}

// Threads are found by their names where the kernel does not tell their numbers.
func TestPollersByName(t *testing.T) {
	proc := t.TempDir()
	for pid, name := range map[string]string{"7": "napi/eth1-8193", "9": "napi/eth1-8194", "11": "napi/eth10-8200", "13": "ksoftirqd/0",
		"self": "napi/eth1-1"} {
		if err := os.Mkdir(filepath.Join(proc, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "comm"), []byte(name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pids, err := pollersByName(proc, "eth1")
	slices.Sort(pids)
	if err != nil || !slices.Equal(pids, []int{7, 9}) {
		t.Errorf("%v, %v", pids, err)
	}
}

// frozen is a clock that always says the same.
type frozen struct{ cpuTime }

func (c frozen) read() (cpuTime, error) { return c.cpuTime, nil }

func (frozen) of(int) (float64, bool) { return 0, false }

func (frozen) close() {}

// What a thread had does not go when it ends: CPU time never goes back.
func TestPollerEnds(t *testing.T) {
	const nobody = 1 << 30 // beyond the kernel's PID_MAX_LIMIT
	clock := &pollers{cpuClock: frozen{cpuTime{busy: 1}}, threads: []*poller{{pid: nobody, read: true, was: 5e8, elsewhere: 0.5}}}
	if v, err := clock.read(); err != nil || v.busy != 1.5 {
		t.Errorf("busy for %v s, %v", v.busy, err)
	}
}

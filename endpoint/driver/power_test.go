package driver

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
)

func within(t *testing.T, what string, got *float64, want, share float64) {
	t.Helper()
	if got == nil {
		t.Errorf("%s: nothing", what)
	} else if math.Abs(*got-want) > share*math.Abs(want) {
		t.Errorf("%s: %v, want %v", what, *got, want)
	}
}

// TestPowerOfARun: one end's power rises all the time, so a mean of a wrong
// window is wrong; the other's is a counter.
func TestPowerOfARun(t *testing.T) {
	tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
	zero := time.Now()
	rise := "replay:" + endpointtest.MeterLog(t, "watts", 0.02, zero, func(s float64) float64 { return 500 + 5*s })
	count := "replay:" + endpointtest.MeterLog(t, "joules", 0.02, zero, func(s float64) float64 { return 50*s + math.Sin(s)/1e3 + 1e6 })
	third := pipeAgent(t, "meters", &agent.Agent{Allowed: []string{rise, count}})
	tr.TX = pipeAgent(t, "sender", &agent.Agent{TX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.TX}}, Allowed: []string{count}})
	tr.Power = []Metering{{endpoint.RX, rise, third}, {endpoint.TX, count, tr.TX}, {"", count, third}}
	tr.Baseline = 200 * time.Millisecond
	r, err := Drive(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	started, err := time.Parse(time.RFC3339Nano, r.Started)
	if err != nil {
		t.Fatal(err)
	}
	middle := started.Sub(zero).Seconds() + r.Window/2
	within(t, "receiver's watts", r.RX.Watts, 500+5*middle, 0.001)
	within(t, "sender's watts", r.TX.Watts, 50, 0.001)
	within(t, "both ends' watts", r.Total.Watts, 50, 0.001)
	within(t, "receiver's joules", &r.RX.Power.Joules, *r.RX.Watts*r.Window, 0.01)
	within(t, "receiver's J/GB", r.RX.Power.JoulesPerG, r.RX.Power.Joules/(float64(r.RX.Bytes)/1e9), 1e-9)
	within(t, "both ends' J/GB", r.Total.Power.JoulesPerG, r.Total.Power.Joules/(float64(r.Bytes)/1e9), 1e-9)
	within(t, "receiver's return", r.ROI.Power.RX, r.Gbps*r.Gbps / *r.RX.Watts, 1e-9)
	within(t, "both ends' return", r.ROI.Power.Total, r.Gbps*r.Gbps / *r.Total.Watts, 1e-9)
	if !r.TX.Power.Energy || r.RX.Power.Energy {
		t.Error("which is a counter?")
	}
	if b := r.RX.Power.Baseline; b == nil || *b >= *r.RX.Watts {
		t.Errorf("baseline %v of before the run, %v W in it", b, *r.RX.Watts)
	}
	// Intervals follow the rise, and add up to the whole.
	sum, before := 0.0, 0.0
	for _, s := range r.Samples {
		if s.Watts == nil {
			t.Fatalf("no watts in %+v", s)
		}
		if s.End != "rx" {
			continue
		}
		if *s.Watts <= before {
			t.Errorf("%v W after %v", *s.Watts, before)
		}
		before = *s.Watts
		sum += *s.Watts * s.Seconds
	}
	within(t, "sum of the intervals", &sum, r.RX.Power.Joules, 1e-5)

	// The same links, without meters: nothing is left of them.
	tr.Power, tr.Baseline = nil, 0
	if r, err = Drive(t.Context(), tr); err != nil || r.RX.Power != nil || r.Total.Watts != nil {
		t.Errorf("%v, %+v", err, r.RX)
	}
}

// TestPowerFails: a meter that dies, or never said anything, costs the power
// figures and nothing else.
func TestPowerFails(t *testing.T) {
	tier.Long(t)
	tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
	dies := "exec:for i in 1 2 3; do echo 100; sleep 0.05; done; echo broken >&2; exit 1"
	mute := "exec:sleep 100"
	third := pipeAgent(t, "meters", &agent.Agent{Power: []string{"exec:"}, Allowed: []string{dies, mute}})
	tr.Power = []Metering{{endpoint.RX, dies, third}, {endpoint.TX, mute, third}}
	_, err := Drive(t.Context(), tr)
	if err == nil || !strings.Contains(err.Error(), "no answer to watch") {
		// Drive asks only the ends for meters of their own.
		t.Fatalf("an agent with more meters than were asked of it: %v", err)
	}

	tr = trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
	good := "replay:" + endpointtest.MeterLog(t, "watts", 0.02, time.Now(), func(float64) float64 { return 80 })
	third = pipeAgent(t, "meters", &agent.Agent{Allowed: []string{dies, mute, good}})
	tr.RX = pipeAgent(t, "receiver", &agent.Agent{RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}, Power: []string{"exec:"}})
	tr.Power = []Metering{{endpoint.TX, dies, third}, {endpoint.TX, mute, third}, {endpoint.TX, good, third}}
	r, err := Drive(t.Context(), tr)
	if err != nil || r.Status != results.OK {
		t.Fatalf("%v, %+v", err, r)
	}
	if r.RX.Watts != nil || r.TX.Watts != nil || r.ROI.Power.TX != nil || r.TX.Power != nil {
		t.Errorf("watts of broken meters: %v %v", r.RX.Watts, r.TX.Watts)
	}
	if len(r.TX.Meters) != 1 || math.Abs(r.TX.Meters[0].Watts-80) > 1e-6 {
		t.Errorf("the one that is well: %+v", r.TX.Meters)
	}
	for _, want := range []string{"(the command ended: exit status 1: broken)", "tx, meter exec:sleep …: its watts are missing: it gave no " +
		"reading", "rx, meter exec: its watts are missing"} {
		if !strings.Contains(strings.Join(r.Warnings, "\n"), want) {
			t.Errorf("no warning has %q: %q", want, r.Warnings)
		}
	}

	for spec, kind := range map[string]fault.Kind{"nosuch:1": fault.Usage, "exec:exit 3": fault.Failed,
		"exec:": fault.Usage, "hwmon:no-such-chip-here": "", "rapl:nosuch": ""} {
		receiver := func() *Client {
			return pipeAgent(t, "receiver", &agent.Agent{RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}, Allowed: []string{spec}})
		}
		tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
		tr.RX = receiver()
		tr.Power = []Metering{{endpoint.RX, spec, tr.RX}}
		r, err := Drive(t.Context(), tr)
		if got := fault.Of(err); err == nil || kind != "" && got != kind || kind == "" && got != fault.Usage && got != fault.Unsupported {
			t.Errorf("%s: %v, %v", spec, got, err)
		}
		if r.Status == results.OK {
			t.Errorf("%s: the run went on", spec)
		}
		if err := CheckMeters(t.Context(), []Metering{{endpoint.RX, spec,
			pipeAgent(t, "meters", &agent.Agent{Allowed: []string{spec}})}}); err == nil {
			t.Errorf("%s: found well", spec)
		}
		// Nobody is there to mend it: what may pass does not cost the run, and
		// what cannot does.
		tr = trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
		tr.RX = receiver()
		tr.Power, tr.Unattended = []Metering{{endpoint.RX, spec, tr.RX}}, true
		r, err = Drive(t.Context(), tr)
		if (err == nil) != (kind == fault.Failed) || r.RX.Watts != nil || err == nil && len(r.Warnings) == 0 {
			t.Errorf("%s, unattended: %v, %q", spec, err, r.Warnings)
		}
	}
}

// TestPowerOfTheReceiversOwn: what the receiver's user reads is told to a
// driver that may ask for nothing.
func TestPowerOfTheReceiversOwn(t *testing.T) {
	spec := "replay:" + endpointtest.MeterLog(t, "watts", 0.02, time.Now(), func(float64) float64 { return 120 })
	var mu sync.Mutex
	var seen *results.Record
	a := &agent.Agent{
		RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}, Version: "test",
		DataPort: endpointtest.FreePorts(t, 1), Bind: "127.0.0.1", Power: []string{spec},
		Observe: func(e agent.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Record != nil {
				seen = e.Record
			}
		},
	}
	addr := server(t, a)
	tr := trial(t, 1, endpointtest.Plain{Role: endpoint.RX}, endpointtest.Plain{Role: endpoint.TX})
	c, err := dialServer(t, addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tr.RX = c
	tr.RXWant.DataPort, tr.RXWant.Bind = 0, ""
	tr.Baseline = 100 * time.Millisecond
	r, err := Drive(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "watts", r.RX.Watts, 120, 1e-9)
	within(t, "baseline", r.RX.Power.Baseline, 120, 1e-9)
	endpointtest.Eventually(t, "the receiver's own record", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return seen != nil && seen.RX.Watts != nil && math.Abs(*seen.RX.Watts-120) < 1e-6 && seen.ROI.Power.RX != nil
	})

	tr.Power = []Metering{{endpoint.RX, spec, c}}
	if _, err := Drive(t.Context(), tr); fault.Of(err) != fault.Denied || !strings.Contains(err.Error(), "without a token") {
		t.Errorf("a stranger's meter: %v", err)
	}
}

// TestPowerOfStrangers: a token lets in who may measure, not who may run
// commands.
func TestPowerOfStrangers(t *testing.T) {
	token := []byte("0123456789abcdef")
	addr := server(t, &agent.Agent{Version: "test", Token: token})
	known, err := dialServer(t, addr, token)
	if err != nil {
		t.Fatal(err)
	}
	defer known.Close()
	for _, spec := range []string{"exec:touch /nowhere", "replay:/etc/passwd", "scpi:192.0.2.1"} {
		if _, err := known.watch(t.Context(), wire.Watch{Specs: []string{spec}, Quiet: time.Second}); fault.Of(err) != fault.Denied {
			t.Errorf("%s: %v", spec, err)
		}
	}
	// Nor does an agent at a pipe, whose driver may have been let astray, but for
	// what its own command line says.
	ran := filepath.Join(t.TempDir(), "ran")
	allowed, other := "exec:echo 5; touch "+ran, "exec:echo 5; touch "+ran+"2"
	piped := pipeAgent(t, "agent", &agent.Agent{Allowed: []string{allowed}})
	if _, err := piped.watch(t.Context(), wire.Watch{Specs: []string{other}, Quiet: time.Second}); fault.Of(err) != fault.Denied {
		t.Errorf("a command named over the link: %v", err)
	}
	if _, err := piped.watch(t.Context(), wire.Watch{Specs: []string{allowed}, Quiet: time.Second}); err != nil {
		t.Errorf("a command of the agent's own: %v", err)
	}
	endpointtest.Eventually(t, "the command has run", func() bool { _, err := os.Stat(ran); return err == nil })
	if _, err := os.Stat(ran + "2"); err == nil {
		t.Error("the other command ran")
	}
	bounded := server(t, &agent.Agent{Version: "test", Limits: wire.Limits{Time: time.Minute}})
	c, err := dialServer(t, bounded, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.watch(t.Context(), wire.Watch{Quiet: time.Hour}); fault.Of(err) != fault.Denied {
		t.Errorf("quiet for an hour: %v", err)
	}
}

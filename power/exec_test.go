package power

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zcbench/internal/fault"
)

// TestExecOnce: a command that prints a number and ends well is run again, and
// what that takes is told; one that streams is not.
func TestExecOnce(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	m, err := openExec("echo x >>" + count + "; wc -l <" + count + "?interval=150ms&scope=wall")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var at []time.Time
	for want := 1.0; want <= 4; want++ {
		r := read(t, m)
		if *r.Watts != want {
			t.Errorf("%v W, want %v", *r.Watts, want)
		}
		at = append(at, r.At)
	}
	if took := at[3].Sub(at[1]); took < 200*time.Millisecond {
		t.Errorf("two intervals took %s", took)
	}
	if i := m.Info(); i.Interval != 150*time.Millisecond || i.Scope != Wall || !i.Pushed || !strings.Contains(i.Source,
		"run again each 150ms and takes ") || i.Cost <= 0 {
		t.Errorf("%+v", i)
	}

	// Later it fails, says nothing, or too much: each costs a reading, not all.
	step := filepath.Join(t.TempDir(), "step")
	script := "echo x >>" + step + "; case $(wc -l <" + step + ") in 1) printf 10.5;; 2) echo 20; echo oops >&2; exit 7;; 3) ;; 4) echo " +
		"340,5;; 5) echo 1; echo 2;; 6) printf '30\n\n';; esac"
	m, err = openExec(script + "?interval=100ms")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i, want := range []string{"10.5", "exit status 7: oops", "0 lines", "340,5", "2 lines", "30"} {
		r, err := m.Read(t.Context())
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(*r.Watts)
		}
		if errors.Is(err, io.EOF) || !strings.Contains(got, want) {
			t.Errorf("run %d: %s, want %s", i+1, got, want)
		}
	}

	stream, err := openExec("echo 5; echo 6; exec sleep 100")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if a, b := read(t, stream), read(t, stream); *a.Watts != 5 || *b.Watts != 6 {
		t.Errorf("%v %v", *a.Watts, *b.Watts)
	}
	if i := stream.Info(); i.Source != "a command that goes on printing" || i.Cost != 0 {
		t.Errorf("%+v", i)
	}
	for _, text := range []string{"echo 1; echo 2", "true", "printf 34; exit 1"} {
		m, err := openExec(text)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		for err == nil {
			var r Reading
			if r, err = m.Read(t.Context()); err == nil && *r.Watts == 34 {
				t.Errorf("%s: half a number was read", text)
			}
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"echo 1?interval=1ms", "echo 1?interval=-1s", "echo 1?scope=room", "?interval=1s"} {
		if _, err := openExec(text); fault.Of(err) != fault.Usage {
			t.Errorf("%s: %v", text, err)
		}
	}
	m, err = openExec("echo 'http://pdu/?interval=3' >/dev/null; echo 7")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if r := read(t, m); *r.Watts != 7 {
		t.Errorf("%v", *r.Watts)
	}
}

// TestStreamWithHoles: values that are none cost no time, so the others are of
// now.
func TestStreamWithHoles(t *testing.T) {
	m, err := openExec("while :; do echo 200; echo 200; echo nan; sleep 0.02; done")
	if err != nil {
		t.Fatal(err)
	}
	r := Record(m)
	defer r.Close()
	if err := r.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	from := time.Now()
	time.Sleep(1500 * time.Millisecond)
	to := time.Now()
	trace := r.Trace(t.Context(), to)
	p, warnings, err := trace.Over(Window{From: from, To: to})
	if err != nil || math.Abs(p.Watts-200) > 1e-9 || p.Samples < 10 || trace.Lost < 5 {
		t.Errorf("%+v, %d lost, %v", p, trace.Lost, err)
	}
	if text := strings.Join(warnings, "\n"); len(warnings) != 1 || !strings.Contains(text, "reads failed, the latest with: no value now: "+
		"NaN [power-lost]") {
		t.Errorf("warnings: %s", text)
	}
}

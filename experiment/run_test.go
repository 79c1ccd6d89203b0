package experiment

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
	"zcbench/rx"
	"zcbench/tx"
)

// bench is a site whose two ends are agents of this process, over loopback.
type bench struct {
	facts results.Facts
	fail  error           // of Open
	deaf  bool            // the agents take the handshake and nothing more
	open  func(int) error // called with the number of the run
	runs  int
}

func (b *bench) Survey(context.Context) (results.Pair[Survey], error) { return survey(), nil }
func (b *bench) Close() error                                         { return nil }

func (b *bench) Open(ctx context.Context, _ Trial) (Ends, error) {
	b.runs++
	if b.open != nil {
		if err := b.open(b.runs); err != nil {
			return Ends{}, err
		}
	}
	if b.fail != nil {
		return Ends{}, b.fail
	}
	var clients []*driver.Client
	var links []net.Conn
	for range 2 {
		ours, theirs := net.Pipe()
		a := &agent.Agent{
			RX: []endpoint.Engine{rx.Null()}, TX: []endpoint.Engine{tx.Null()}, Trusted: true, Version: "test", DataPort: 20000,
			Facts: func(string) results.Facts { return b.facts },
		}
		if b.deaf {
			a.Facts = func(string) results.Facts { <-ctx.Done(); return nil }
		}
		go func() { _ = a.Serve(context.Background(), theirs) }()
		c, err := driver.NewClient("end", ours, nil, "test")
		if err != nil {
			return Ends{}, err
		}
		clients, links = append(clients, c), append(links, ours)
	}
	return Ends{RX: clients[0], TX: clients[1], Close: func() {
		for i := range clients {
			clients[i].Close()
			links[i].Close()
		}
	}}, nil
}

// short makes trials that two agents on loopback can run.
func short(ports map[string]int) Resolver {
	return func(p Pair, f Flags, at results.Pair[Survey]) (Trial, error) {
		t, err := resolve(p, f, at)
		for _, e := range []*wire.Prepare{&t.RX, &t.TX} {
			e.Flows, e.Length, e.Time, e.Scope, e.DataPort = 1, 4096, 20*time.Millisecond, wire.ScopeThread, ports[p.Name]
			e.Pattern = endpoint.Pattern{Seed: 1, Period: 4096}
		}
		t.RX.Bind, t.TX.Host = "127.0.0.1", "127.0.0.1"
		return t, err
	}
}

// freePort is one that nobody listens on now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func runner(t *testing.T, text, dir string, sites map[string]*bench) *Runner {
	t.Helper()
	s := mustLoad(t, text)
	at := map[string]results.Pair[Survey]{}
	open, ports := map[string]Site{}, map[string]int{}
	for _, p := range s.Pairs {
		at[p.Name] = survey()
		open[p.Name], ports[p.Name] = sites[p.Name], freePort(t)
	}
	plan, err := s.Expand(at, short(ports))
	if err != nil {
		t.Fatal(err)
	}
	return &Runner{Plan: plan, Sites: open, Dir: dir, Resume: true, Version: "test", Stop: t.Context()}
}

func load(t *testing.T, dir string) []results.Record {
	t.Helper()
	all, bad, err := results.Load(filepath.Join(dir, StoreFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	return all
}

func TestRunner(t *testing.T) {
	dir := t.TempDir()
	b := &bench{facts: results.Facts{"cpu": map[string]any{"turbo": "on"}, "process": map[string]any{"command": "a"},
		"nic": map[string]any{"mtu": 1500}}}
	b.open = func(n int) error {
		if n == 6 { // the second repeat has begun
			b.facts = results.Facts{"cpu": map[string]any{"turbo": "off"}, "process": map[string]any{"command": "b"},
				"nic": map[string]any{"mtu": 9000}}
		}
		return nil
	}
	r := runner(t, "axes: {length: [1, 2, 3, 4]}\nrepeats: 2", dir, map[string]*bench{"": b})
	var ends []string
	var last Progress
	r.Show = func(e Event) {
		if e.End != nil {
			ends, last = append(ends, e.Run.Cell.String()), e.Progress
		}
	}
	p, err := r.Run(t.Context())
	if err != nil || p.Done != 8 || p.Total != 8 || last != p || p.Left != 0 {
		t.Fatalf("%+v %+v %v", p, last, err)
	}
	all := load(t, dir)
	var want []string
	for _, run := range r.Plan.Runs() {
		want = append(want, run.Cell.String())
	}
	if !slices.Equal(ends, want) {
		t.Errorf("ran %v, want %v", ends, want)
	}
	for i, rec := range all {
		if rec.Status != results.OK {
			t.Fatalf("%s: %s", rec.Status, rec.Reason)
		}
		text := strings.Join(rec.Warnings, "\n")
		drift := strings.Contains(text, `rx: cpu.turbo was "on" in the pair's first run and is "off" now`) &&
			strings.Contains(text, "tx: cpu.turbo")
		mtu := strings.Contains(text, `rx: nic.mtu was "1500" in the cell's first run and is "9000" now`)
		if drift != (i >= 5) || mtu != (i >= 5) || strings.Contains(text, "process") {
			t.Errorf("run %d warns: %s", i, text)
		}
	}
	// All is done: no site is asked.
	r.Sites[""] = nil
	if p, err := r.Run(t.Context()); err != nil || p.Done != 8 {
		t.Errorf("%+v %v", p, err)
	}
}

// What was torn by a crash is measured again, and a record of the same cell of
// another pair does not count.
func TestRunnerResumes(t *testing.T) {
	tier.Long(t)
	dir := t.TempDir()
	b := &bench{}
	r := runner(t, "axes: {length: [1, 2]}\nrepeats: 2", dir, map[string]*bench{"": b})
	if _, err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, StoreFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	torn := lines[0] + strings.Replace(lines[1], `"experiment":"some"`, `"experiment":"some","pair":"other"`, 1) + lines[2] + lines[3][:100]
	if err := os.WriteFile(path, []byte(torn), 0o644); err != nil {
		t.Fatal(err)
	}
	var notes []string
	r.Show = func(e Event) {
		if e.Note != "" {
			notes = append(notes, e.Note)
		}
	}
	b.runs = 0
	if _, err := r.Run(t.Context()); err != nil || b.runs != 2 {
		t.Errorf("%d runs, want 2: %v", b.runs, err)
	}
	if len(notes) != 2 || !strings.Contains(notes[0], "torn") || notes[1] != "2 of 4 runs done already" {
		t.Errorf("notes %q", notes)
	}
}

func TestRunnerKeepsItsDirectory(t *testing.T) {
	dir := t.TempDir()
	sites := map[string]*bench{"": {}}
	r := runner(t, "axes: {length: [1, 2]}", dir, sites)
	r.Show = func(e Event) {
		if e.Begin { // while one is at work
			if _, err := runner(t, "axes: {length: [1, 2]}", dir, sites).Run(t.Context()); err == nil || !strings.Contains(err.Error(),
				"another zcbench run") {
				t.Errorf("a second runner: %v", err)
			}
		}
	}
	if _, err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"axes: {length: [1, 3]}":              "1 cell not among those that were begun, 1 of those gone, as length=3",
		"axes: {length: [1, 2]}\nrepeats: 2":  "its name, repeats",
		"axes: {length: [1, 2]}\nname: other": "its name, repeats",
	} {
		if _, err := runner(t, text, dir, sites).Run(t.Context()); fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := os.Remove(filepath.Join(dir, StateFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := runner(t, "axes: {length: [1, 2]}", dir, sites).Run(t.Context()); err == nil || !strings.Contains(err.Error(),
		"something else") {
		t.Errorf("foreign results: %v", err)
	}
}

func TestRunnerWatchdog(t *testing.T) {
	dir := t.TempDir()
	r := runner(t, "repeats: 2", dir, map[string]*bench{"": {deaf: true}})
	r.grace = 300 * time.Millisecond
	_, err := r.Run(t.Context())
	if fault.Of(err) != fault.Failed {
		t.Error(err)
	}
	all := load(t, dir)
	if len(all) != 2 {
		t.Fatalf("%d records", len(all))
	}
	for _, rec := range all {
		if rec.Status != results.Failed || !strings.Contains(rec.Reason, "watchdog") {
			t.Errorf("%s: %s", rec.Status, rec.Reason)
		}
	}
}

// A host that has gone ends its pair's runs without a record, and no others.
func TestRunnerUnreachable(t *testing.T) {
	const text = `
hosts: {a: {ssh: a}, b: {ssh: b}, c: {ssh: c}, d: {ssh: d}}
pairs: [{name: x, tx: a, rx: b}, {name: y, tx: c, rx: d}]
repeats: 3
`
	dir := t.TempDir()
	x, y := &bench{}, &bench{}
	x.open = func(n int) error {
		// Once it hiccups, later it is gone.
		if n == 1 || n >= 3 {
			return fault.Errorf(fault.Unreachable, "no route to a")
		}
		return nil
	}
	sites := map[string]*bench{"x": x, "y": y}
	r := runner(t, text, dir, sites)
	r.again = []time.Duration{time.Millisecond}
	p, err := r.Run(t.Context())
	if fault.Of(err) != fault.Unreachable || !strings.Contains(err.Error(), "--resume") {
		t.Error(err)
	}
	count := map[string]int{}
	for _, rec := range load(t, dir) {
		count[fmt.Sprint(rec.Pair, " ", rec.Status)]++
	}
	if count["x ok"] != 1 || count["x failed"] != 0 || count["y ok"] != 3 || p.Done != 4 {
		t.Errorf("records %v, done %d", count, p.Done)
	}
	x.open = nil
	if p, err := runner(t, text, dir, sites).Run(t.Context()); err != nil || p.Done != 6 {
		t.Errorf("%+v %v", p, err)
	}
}

func TestRunnerFailures(t *testing.T) {
	dir := t.TempDir()
	b := &bench{}
	b.open = func(n int) error {
		switch n {
		case 1:
			return fault.Errorf(fault.Usage, "it makes no sense")
		case 2:
			return fault.Errorf(fault.Unsupported, "it cannot")
		}
		return nil
	}
	_, err := runner(t, "repeats: 3", dir, map[string]*bench{"": b}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1 of 3 runs failed") {
		t.Error(err)
	}
	var got []string
	for _, rec := range load(t, dir) {
		got = append(got, string(rec.Status)+" "+rec.Reason)
	}
	if !slices.Equal(got, []string{"failed it makes no sense", "skipped it cannot", "ok "}) {
		t.Errorf("%q", got)
	}
}

// Hosts that fail whatever the cell end the pair, without a record.
func TestRunnerGivesUp(t *testing.T) {
	b := &bench{fail: errors.New("zcbench is another version there")}
	r := runner(t, "repeats: 3", t.TempDir(), map[string]*bench{"": b})
	r.again = []time.Duration{0, 0}
	p, err := r.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "another version there; what is left can be run with --resume") || p.Done != 0 ||
		b.runs != 3 {
		t.Errorf("%+v after %d attempts: %v", p, b.runs, err)
	}
	if all := load(t, r.Dir); len(all) != 0 {
		t.Errorf("%d records", len(all))
	}
}

func TestRunnerStops(t *testing.T) {
	for _, c := range []struct {
		name    string
		hard    bool
		records int
	}{{"softly", false, 1}, {"at once", true, 0}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			why := fault.Errorf(fault.Interrupted, "enough")
			soft, stop := context.WithCancelCause(t.Context())
			hard, kill := context.WithCancelCause(t.Context())
			b := &bench{open: func(int) error {
				stop(why)
				if c.hard {
					kill(why)
				}
				return nil
			}}
			r := runner(t, "repeats: 3", dir, map[string]*bench{"": b})
			r.Stop = soft
			p, err := r.Run(hard)
			if !errors.Is(err, why) || p.Done != c.records || len(load(t, dir)) != c.records {
				t.Errorf("%+v %v, %d records", p, err, len(load(t, dir)))
			}
		})
	}
}

func TestRunnerHooks(t *testing.T) {
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	text := fmt.Sprintf(`
name: hooked
axes: {length: [1]}
repeats: 2
hooks:
  before: echo before $ZCBENCH_EXPERIMENT >> %[1]s
  before-run: 'echo run $ZCBENCH_AXIS_LENGTH $ZCBENCH_REPEAT >> %[1]s; test $ZCBENCH_REPEAT = 0'
  after-run: echo ran $ZCBENCH_REPEAT >> %[1]s; echo seen
  after: echo after >> %[1]s; false
`, log)
	r := runner(t, text, dir, map[string]*bench{"": {}})
	var notes []string
	r.Show = func(e Event) {
		if e.Note != "" {
			notes = append(notes, e.Note)
		}
	}
	_, err := r.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "hook after (") {
		t.Error(err)
	}
	got, err := os.ReadFile(log)
	if err != nil || string(got) != "before hooked\nrun 1 0\nran 0\nrun 1 1\nran 1\nafter\n" {
		t.Errorf("%q %v", got, err)
	}
	all := load(t, dir)
	if len(all) != 2 || all[0].Status != results.OK || all[1].Status != results.Failed || !strings.Contains(all[1].Reason, "hook before-run") {
		t.Errorf("%+v", all)
	}
	if !slices.Equal(notes, []string{"after-run: seen", "after-run: seen"}) {
		t.Errorf("notes %q", notes)
	}
	// A hook that hangs is ended, and what it started with it.
	r = runner(t, "hooks: {before-run: sleep 60 | sleep 60}", t.TempDir(), map[string]*bench{"": {}})
	r.grace = 200 * time.Millisecond
	_, _ = r.Run(t.Context())
	if all := load(t, r.Dir); len(all) != 1 || !strings.Contains(all[0].Reason, "watchdog") {
		t.Errorf("%+v", all)
	}
}

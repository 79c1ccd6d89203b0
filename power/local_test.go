package power

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
)

// tree makes files of a made-up sysfs.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// server is a machine of two sockets as powercap shows it: packages with their
// cores and memory, the platform, and the first package's counter once more.
func serverTree(t *testing.T) string {
	files := map[string]string{}
	for zone, of := range map[string]struct{ name, energy, top string }{
		"intel-rapl:0":      {"package-0", "1000000", "262143328850"},
		"intel-rapl:0:0":    {"core", "400000", "262143328850"},
		"intel-rapl:0:1":    {"dram", "200000", "65712999613"},
		"intel-rapl:1":      {"package-1", "262143328850", "262143328850"},
		"intel-rapl:1:0":    {"dram", "65712999612", "65712999613"},
		"intel-rapl:2":      {"psys", "5000000", "262143328850"},
		"intel-rapl-mmio:0": {"package-0", "1000000", "262143328850"},
	} {
		dir := "class/powercap/" + zone + "/"
		files[dir+"name"], files[dir+"energy_uj"], files[dir+"max_energy_range_uj"] = of.name, of.energy, of.top
	}
	return tree(t, files)
}

func put(t *testing.T, root, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, name), []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, m Meter) Reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := m.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRAPL(t *testing.T) {
	sys := serverTree(t)
	m, err := openRAPL(sys, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, m); *got.Joules != 0 || got.Watts != nil {
		t.Errorf("begins with %v J", *got.Joules)
	}
	// 3 J and 0.5 J by the first package and its memory, 2 J and 1 J by the
	// second across their wraps; cores and platform are not added.
	put(t, sys, "class/powercap/intel-rapl:0/energy_uj", "4000000")
	put(t, sys, "class/powercap/intel-rapl:0:0/energy_uj", "900000")
	put(t, sys, "class/powercap/intel-rapl:0:1/energy_uj", "700000")
	put(t, sys, "class/powercap/intel-rapl:1/energy_uj", "1999999")
	put(t, sys, "class/powercap/intel-rapl:1:0/energy_uj", "999998")
	put(t, sys, "class/powercap/intel-rapl:2/energy_uj", "9000000")
	if got := *read(t, m).Joules; math.Abs(got-6.5) > 1e-9 {
		t.Errorf("%v J, want 6.5", got)
	}
	if i := m.Info(); i.Scope != Package || i.Range != 0 || i.Name != "rapl:" {
		t.Errorf("%+v", i)
	}
	// Unread for longer than a wrap may take, it says so once.
	m.(*rapl).last = time.Now().Add(-time.Hour)
	if _, err := m.Read(context.Background()); err == nil || !strings.Contains(err.Error(), "more than once") {
		t.Errorf("after an hour: %v", err)
	}
	read(t, m)

	p, err := openRAPL(sys, "psys")
	if err != nil {
		t.Fatal(err)
	}
	put(t, sys, "class/powercap/intel-rapl:2/energy_uj", "9500000")
	if got := *read(t, p).Joules; got != 0.5 || p.Info().Scope != Other {
		t.Errorf("psys: %v J, %+v", got, p.Info())
	}
	if _, err := openRAPL(sys, "gpu"); fault.Of(err) != fault.Usage || !strings.Contains(err.Error(),
		"there are: core dram package-0 package-1 psys") {
		t.Errorf("an unknown zone: %v", err)
	}
	if _, err := openRAPL(t.TempDir(), ""); fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "modprobe") {
		t.Errorf("without counters: %v", err)
	}
	found, err := findRAPL(sys)
	if err != nil || len(found) != 1 || found[0].About != "package-0 + dram + package-1 + dram, energy counters" {
		t.Errorf("found %+v, %v", found, err)
	}
	put(t, sys, "class/powercap/intel-rapl:1/energy_uj", "nonsense")
	if _, err := m.Read(context.Background()); err == nil {
		t.Error("nonsense was read")
	}
}

// TestRAPLRootOnly: the kernel lets only root read the counters, and says no
// more than EACCES.
func TestRAPLRootOnly(t *testing.T) {
	sys := serverTree(t)
	if err := os.Chmod(filepath.Join(sys, "class/powercap/intel-rapl:0/energy_uj"), 0); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{sys, filepath.Dir(sys)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan error, 1)
	go func() {
		runtime.LockOSThread()            // its file system user ends with the thread
		_, _ = unix.SetfsuidRetUid(65534) // one that is not root has it already
		_, err := openRAPL(sys, "")
		got <- err
	}()
	if err := <-got; fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "run as root, or let others: chmod a+r ") {
		t.Errorf("not readable: %v", err)
	}
}

func TestHwmon(t *testing.T) {
	sys := tree(t, map[string]string{
		"class/hwmon/hwmon0/name":                            "coretemp",
		"class/hwmon/hwmon0/temp1_input":                     "45000",
		"class/hwmon/hwmon1/name":                            "power_meter",
		"class/hwmon/hwmon1/power1_average":                  "213500000",
		"class/hwmon/hwmon1/power1_average_interval":         "1000",
		"class/hwmon/hwmon2/name":                            "amdgpu",
		"class/hwmon/hwmon2/power1_average":                  "75000000",
		"class/hwmon/hwmon2/power1_input":                    "80000000",
		"class/hwmon/hwmon2/power1_label":                    "PPT",
		"class/hwmon/hwmon3/name":                            "amd_energy",
		"class/hwmon/hwmon3/energy1_input":                   "123456789",
		"class/hwmon/hwmon3/energy1_label":                   "Esocket0",
		"class/hwmon/hwmon4/name":                            "ina3221",
		"class/hwmon/hwmon4/power1_input":                    "1500000",
		"class/hwmon/hwmon4/power2_input":                    "2500000",
		"class/hwmon/hwmon4/power2_label":                    "VDD_IN",
		"class/hwmon/hwmon4/update_interval":                 "35",
		"class/hwmon/hwmon5/name":                            "xe",
		"class/hwmon/hwmon5/power1_input":                    "9000000",
		"class/hwmon/hwmon5/energy1_input":                   "77000000",
		"class/hwmon/hwmon7/name":                            "nouveau",
		"class/hwmon/hwmon7/power1_input":                    "1000000",
		"class/hwmon/hwmon8/name":                            "nouveau",
		"class/hwmon/hwmon8/power1_input":                    "2000000",
		"class/hwmon/hwmon6/device_that_is_being_taken_away": "",
	})
	for _, c := range []struct {
		address string
		name    string
		scope   Scope
		watts   float64
		joules  float64
		every   time.Duration
		late    time.Duration
		err     string
	}{
		{address: "power_meter", name: "hwmon:power_meter/power1", scope: Other, watts: 213.5, every: time.Second, late: time.Second / 2},
		{address: "amdgpu", name: "hwmon:amdgpu/power1", scope: GPU, watts: 75},
		{address: "hwmon2/PPT", name: "hwmon:amdgpu/power1", scope: GPU, watts: 75},
		{address: "amd_energy", name: "hwmon:amd_energy/energy1", scope: Package, joules: 123.456789},
		{address: "ina3221/VDD_IN", name: "hwmon:ina3221/power2", scope: Other, watts: 2.5, every: 35 * time.Millisecond},
		{address: "xe", name: "hwmon:xe/energy1", scope: GPU, joules: 77},
		{address: "xe/power1", name: "hwmon:xe/power1", scope: GPU, watts: 9},
		{address: "hwmon8", name: "hwmon:hwmon8/power1", scope: GPU, watts: 2},
		{address: "nouveau", err: "2 sensors"},
		{address: "ina3221", err: `2 sensors are called "ina3221"`},
		{address: "", err: "power_meter/power1 (power_meter), "},
		{address: "coretemp", err: "0 sensors"},
	} {
		m, err := openHwmon(sys, c.address)
		if c.err != "" {
			if fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: %v", c.address, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.address, err)
			continue
		}
		defer m.Close()
		if i := m.Info(); i.Name != c.name || i.Scope != c.scope || i.Interval != c.every || i.Latency != c.late {
			t.Errorf("%q: %+v", c.address, i)
		}
		r := read(t, m)
		if c.watts > 0 && (r.Watts == nil || *r.Watts != c.watts || r.Joules != nil) || c.joules > 0 &&
			(r.Joules == nil || *r.Joules != c.joules || r.Watts != nil) {
			t.Errorf("%q: %v W %v J", c.address, r.Watts, r.Joules)
		}
	}
	found, err := findHwmon(sys)
	if err != nil || len(found) != 9 {
		t.Errorf("found %+v, %v", found, err)
	}
	for _, f := range found {
		if _, err := openHwmon(sys, strings.TrimPrefix(f.Meter, "hwmon:")); err != nil {
			t.Errorf("listed and cannot be opened: %v", err)
		}
	}
	if _, err := openHwmon(t.TempDir(), ""); fault.Of(err) != fault.Unsupported {
		t.Errorf("without sensors: %v", err)
	}
	m, err := openHwmon(sys, "power_meter")
	if err != nil {
		t.Fatal(err)
	}
	put(t, sys, "class/hwmon/hwmon1/power1_average", "-5")
	if _, err := m.Read(context.Background()); err == nil {
		t.Error("a negative power was read")
	}
}

func TestExec(t *testing.T) {
	m, err := openExec("echo 10.5; echo ' 2e2 '; echo twelve; echo oops >&2; exit 7")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if a, b := read(t, m), read(t, m); *a.Watts != 10.5 || *b.Watts != 200 || b.At.Before(a.At) {
		t.Errorf("%v %v", a, b)
	}
	if _, err := m.Read(context.Background()); !errors.Is(err, errNoValue) || errors.Is(err, io.EOF) {
		t.Errorf("a word: %v", err)
	}
	for range 2 {
		if _, err := m.Read(context.Background()); !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "exit status 7: oops") {
			t.Errorf("after its end: %v", err)
		}
	}
	if _, err := openExec(" "); fault.Of(err) != fault.Usage {
		t.Errorf("no command: %v", err)
	}
}

// TestExecLeavesNothing: what the command started ends with the meter.
func TestExecLeavesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	m, err := openExec("sleep 1000 & echo $! >" + file + "; echo 5; wait")
	if err != nil {
		t.Fatal(err)
	}
	read(t, m)
	pid, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	status := filepath.Join("/proc", strings.TrimSpace(string(pid)), "stat")
	deadline := time.Now().Add(10 * time.Second)
	for {
		b, err := os.ReadFile(status)
		if err != nil || strings.Contains(string(b), ") Z ") {
			return // gone, or waits for its parent's look
		}
		if time.Now().After(deadline) {
			t.Fatalf("still there: %s", b)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestReplay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.csv")
	put(t, "", path, "Time, note, Watts, "+
		"joules\n2026-03-01T12:00:00.5Z,x,80.5,1000\n\n1772366401.25,,,1100.5\n1772366402,y,oops,\nyesterday,z,5,6\n1772366403")
	m, err := openReplay(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	first := read(t, m)
	if !first.At.Equal(when(0.5)) || *first.Watts != 80.5 || *first.Joules != 1000 {
		t.Errorf("%v", first)
	}
	second := read(t, m)
	if d := second.At.Sub(when(1.25)); d.Abs() > time.Microsecond || second.Watts != nil || *second.Joules != 1100.5 {
		t.Errorf("%v is %v off", second, d)
	}
	for _, want := range []string{"line 5", "line 6", "line 7"} {
		if _, err := m.Read(context.Background()); !errors.Is(err, errNoValue) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s: %v", want, err)
		}
	}
	// What is appended is read, and half a line not before its end.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("1772366404,,9"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if r, err := m.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("half a line: %v %v", r, err)
	}
	if _, err := f.WriteString("1,\n"); err != nil {
		t.Fatal(err)
	}
	if r := read(t, m); *r.Watts != 91 || !r.At.Equal(when(4)) {
		t.Errorf("%v", r)
	}
	for _, text := range []string{"a,b,c", "time,note", "watts", "time;watts"} {
		bad := filepath.Join(t.TempDir(), "bad.csv")
		put(t, "", bad, text)
		if _, err := openReplay(bad); fault.Of(err) != fault.Usage {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := openReplay(filepath.Join(t.TempDir(), "none")); fault.Of(err) != fault.Usage {
		t.Errorf("no file: %v", err)
	}
}

// smi stands for nvidia-smi as of driver 570, and as of one before 530 where
// old is set.
func smi(t *testing.T, old bool) {
	dir := t.TempDir()
	refuse := ""
	if old {
		refuse = `*power.draw.instant*) echo 'Field "power.draw.instant" is not a valid field to query.'; exit 2;;`
	}
	script := `#!/bin/sh
case "$*" in
*index,uuid,name*) echo '0, GPU-aaaa, NVIDIA H200, the first'; echo '1, GPU-bbbb, NVIDIA T4'; exit;;
` + refuse + `
*"-i 0 "*query-gpu=uuid*|*"-i GPU-aaaa "*query-gpu=uuid*) echo GPU-aaaa; exit;;
*"-i 1"*) echo '[N/A]'; exit;;
*"-i 7"*) echo 'No devices were found'; exit 6;;
*"-i 8"*) echo 'Unable to determine the device handle for GPU: GPU is lost.'; exit 15;;
*"-i 9"*) kill -KILL $$;;
*--loop-ms=100*) echo 118.30; echo '[Unknown Error]'; echo 119.07; exec sleep 1000;;
*) echo 118.20;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestNVIDIA(t *testing.T) {
	for _, old := range []bool{false, true} {
		smi(t, old)
		m, err := openNVIDIA(t.Context(), "0")
		if err != nil {
			t.Fatal(err)
		}
		if r := read(t, m); *r.Watts != 118.3 {
			t.Errorf("%v W", *r.Watts)
		}
		if _, err := m.Read(t.Context()); !errors.Is(err, errNoValue) {
			t.Errorf("no value: %v", err)
		}
		if r := read(t, m); *r.Watts != 119.07 {
			t.Errorf("%v W", *r.Watts)
		}
		if i := m.Info(); i.Scope != GPU || i.Name != "nvml:0" || (i.Latency > 0) != old {
			t.Errorf("%+v", i)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if _, err := openNVIDIA(t.Context(), ""); fault.Of(err) != fault.Usage {
			t.Errorf("one of two: %v", err)
		}
		if _, err := openNVIDIA(t.Context(), "1"); old && fault.Of(err) != fault.Unsupported {
			t.Errorf("a GPU that tells no power: %v", err)
		}
		for gpu, why := range map[string]string{"8": "exit status 15: Unable to determine the device handle for GPU: GPU is lost.",
			"9": "signal: killed"} {
			if _, err := openNVIDIA(t.Context(), gpu); fault.Of(err) != fault.Failed || err == nil || !strings.Contains(err.Error(),
				"nvidia-smi: "+why) {
				t.Errorf("a GPU whose nvidia-smi fails: %v, of kind %s", err, fault.Of(err))
			}
		}
		if _, err := openNVIDIA(t.Context(), "7"); fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "No devices were found") {
			t.Errorf("no such GPU: %v", err)
		}
	}
	found, err := findNVIDIA()
	if err != nil || len(found) != 2 || found[0].Meter != "nvml:0" || found[0].About != "NVIDIA H200, the first, watts" {
		t.Errorf("found %+v, %v", found, err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := openNVIDIA(t.Context(), "0"); fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "no nvidia-smi") {
		t.Errorf("without nvidia-smi: %v", err)
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.csv")
	put(t, "", path, "time,watts")
	for spec, late := range map[string]time.Duration{"replay": 0, "replay+3s": 3 * time.Second, "replay-250ms": -250 * time.Millisecond} {
		m, err := Open(t.Context(), spec+":"+path)
		if err != nil {
			t.Fatal(err)
		}
		if i := m.Info(); i.Latency != late || i.Name != "replay:log.csv" {
			t.Errorf("%s: %+v", spec, i)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, spec := range []string{"", "nosuch:x", "replay+soon:" + path, "+3s:x", "-:"} {
		if _, err := Open(t.Context(), spec); fault.Of(err) != fault.Usage {
			t.Errorf("%q: %v", spec, err)
		}
		if _, err := Describe(spec); fault.Of(err) != fault.Usage {
			t.Errorf("%q: %v", spec, err)
		}
	}
	k, err := Describe("exec:x")
	if err != nil || !k.Local || !k.AsUser || k.Name != "exec" {
		t.Errorf("%+v, %v", k, err)
	}
}

// TestList: each kind has an answer, and nothing found has a reason.
func TestList(t *testing.T) {
	names := map[string]bool{}
	for _, s := range List() {
		if s.Name == "" || s.About == "" || s.Address == "" || names[s.Name] {
			t.Errorf("%+v", s)
		}
		names[s.Name] = true
		if !s.AsUser && s.Local && len(s.Found) == 0 && s.Lacks == "" {
			t.Errorf("%s: neither found nor lacking", s.Name)
		}
	}
	if !names["rapl"] || !names["exec"] {
		t.Errorf("%v", names)
	}
}

// scripted is a meter that gives what it is told to.
type scripted struct {
	info Info
	next func() (Reading, error)
	shut bool
}

func (s *scripted) Info() Info                            { return s.info }
func (s *scripted) Read(context.Context) (Reading, error) { return s.next() }
func (s *scripted) Close() error                          { s.shut = true; return nil }

func TestRecorder(t *testing.T) {
	n := 0
	m := &scripted{info: Info{Name: "x"}}
	m.info.Interval = time.Nanosecond // as fast as a recorder asks
	m.next = func() (Reading, error) {
		n++
		w := float64(n)
		switch n {
		case 2:
			return Reading{}, errNoValue
		case 3:
			w = math.NaN()
		case 4:
			return Reading{At: time.Now()}, nil
		case 6:
			return Reading{}, io.EOF
		}
		return Reading{At: time.Now(), Watts: &w}, nil
	}
	r := Record(m)
	got := r.Trace(t.Context(), time.Now().Add(time.Hour))
	if len(got.Readings) != 2 || *got.Readings[1].Watts != 5 || got.Lost != 3 || !errors.Is(got.Err, io.EOF) {
		t.Errorf("%+v", got)
	}
	if err := r.Close(); err != nil || !m.shut {
		t.Errorf("closed %v, %v", m.shut, err)
	}
}

// TestRecorderWaits: a trace reaches the moment that it was asked for, of the
// meter's own time.
func TestRecorderWaits(t *testing.T) {
	w := 1.0
	m := &scripted{info: Info{Latency: 300 * time.Millisecond}, next: func() (Reading, error) {
		return Reading{At: time.Now(), Watts: &w},
			nil
	}}
	m.info.Interval = time.Nanosecond
	r := Record(m)
	defer r.Close()
	until := time.Now()
	got := r.Trace(t.Context(), until)
	if last := got.Readings[len(got.Readings)-1].At; last.Before(until.Add(300 * time.Millisecond)) {
		t.Errorf("ends %v early", until.Sub(last))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Trace(ctx, time.Now().Add(time.Hour)) // returns
}

func TestRecorderForgetsEvenly(t *testing.T) {
	n := 0
	m := &scripted{info: Info{Pushed: true}}
	m.next = func() (Reading, error) {
		if n++; n > most+most/4 {
			return Reading{}, io.EOF
		}
		w := float64(n)
		return Reading{At: when(w), Watts: &w}, nil
	}
	r := Record(m)
	defer r.Close()
	got := r.Trace(t.Context(), when(1e9))
	if k := len(got.Readings); k != most/2+most/4 {
		t.Fatalf("%d readings kept", k)
	}
	for i := 1; i < len(got.Readings); i++ {
		if d := *got.Readings[i].Watts - *got.Readings[i-1].Watts; d > 2 || d < 1 {
			t.Fatalf("reading %d is %v after the one before", i, d)
		}
	}
}

func FuzzReplay(f *testing.F) {
	f.Add("time,watts", "2026-03-01T12:00:00Z,5")
	f.Add("joules,x,time", "1,2,1772366401.25")
	f.Fuzz(func(t *testing.T, head, line string) {
		c, err := parseReplayHead(head)
		if err != nil {
			return
		}
		if r, err := c.parse(line); err == nil && r.Watts == nil && r.Joules == nil {
			t.Errorf("%q %q: a reading of nothing", head, line)
		}
	})
}

func FuzzNVIDIA(f *testing.F) {
	f.Add("0, GPU-aaaa, NVIDIA H200\n118.3\n[N/A]")
	f.Fuzz(func(t *testing.T, out string) {
		for _, g := range parseNVIDIAList(out) {
			if strings.Contains(g.index, "\n") {
				t.Errorf("%q", g.index)
			}
		}
		if _, err := parseNVIDIA(out); err != nil && !errors.Is(err, errNoValue) {
			t.Errorf("%v", err)
		}
	})
}

func FuzzSpec(f *testing.F) {
	f.Add("rapl+3s:")
	f.Add("replay-2s:a@b")
	f.Fuzz(func(t *testing.T, spec string) {
		if _, err := Describe(spec); err != nil && fault.Of(err) != fault.Usage {
			t.Errorf("%q: %v", spec, err)
		}
	})
}

// BenchmarkRAPL is what a reading costs, ten of which are made a second.
func BenchmarkRAPL(b *testing.B) {
	sys := b.TempDir()
	for name, text := range map[string]string{"name": "package-0", "energy_uj": "1000000", "max_energy_range_uj": "262143328850"} {
		path := filepath.Join(sys, "class/powercap/intel-rapl:0", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	m, err := openRAPL(sys, "")
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Read(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// isLike says that an error is another one, or of its kind where that has one.
func isLike(err, want error) bool {
	return errors.Is(err, want) || fault.Known(want) && fault.Of(err) == fault.Of(want)
}

package cpuclock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"zcbench/internal/procfile"
	"zcbench/internal/testutil/tier"
)

func TestSchedstat(t *testing.T) {
	const domain = "domain0 MC 3 0 0 0 7 0 0 0 0 0 0 0 0 0 0 0 0\n"
	text := func(version int) string {
		return fmt.Sprintf("version %d\ntimestamp 4294894331\ncpu0 0 0 0 0 0 0 5352398214 2552460341 2341\n%scpu1 1 0 5 2 9 4 77 3 2\n%scpu10 "+
			"0 0 0 0 0 0 18446744073709551615 0 0\n", version, domain, domain)
	}
	for _, version := range []int{15, 16, 17} {
		to := make([]int64, 3)
		if err := parseSchedstat([]byte(text(version)), to); err != nil || to[0] != 5352398214 || to[1] != 77 || to[2] != 0 {
			t.Errorf("version %d: %v, %v", version, to, err)
		}
	}
	for name, bad := range map[string]string{
		"older": text(14), "newer": text(18), "empty": "", "no version": "cpu0 0 0 0 0 0 0 1 2 3\n",
		"short": "version 17\ncpu0 1 2 3\n", "no number": "version 17\ncpu0 0 0 0 0 0 0 x 2 3\n",
	} {
		if err := parseSchedstat([]byte(bad), make([]int64, 1)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func write(t *testing.T, root, path, text string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What each method makes of the same files.
func TestMethods(t *testing.T) {
	root := t.TempDir()
	write(t, root, "proc/stat", "cpu 9 9 9 9 9 9 9 9\ncpu1 10 1 20 300 7 2 30 5 0 0\n")
	write(t, root, "proc/schedstat", "version 15\ncpu1 0 0 0 0 0 0 123456 0 0\n")
	write(t, root, "sys/devices/system/cpu/cpu1/cpuidle/state0/time", "1000\n")
	write(t, root, "sys/devices/system/cpu/cpu1/cpuidle/state1/time", "2000000\n")
	stat, err := procfile.OpenStat(root)
	if err != nil {
		t.Fatal(err)
	}
	defer stat.Close()
	if err := stat.Read(); err != nil {
		t.Fatal(err)
	}
	write(t, root, "proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n32 31 0:29 / "+
		"/sys/fs/cgroup/acct rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct\n")
	write(t, root, "sys/fs/cgroup/acct/cpuacct.usage_percpu", "77 654321 \n")
	write(t, root, "sys/fs/cgroup/acct/cgroup.sane_behavior", "0\n")
	for name, want := range map[string]int64{Ticks: 680e6, Idle: 5e9 - 3070e6, Schedstat: 123456, CPUAcct: 654321, CPUIdle: 5e9 - 2001e6} {
		m, err := open(name, root, []int{1})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		to := make([]int64, 2)
		if err := m.read(5e9, stat, to); err != nil || to[1] != want || to[0] > 0 && name != Ticks && name != Idle && name != CPUAcct {
			t.Errorf("%s: %v, %v; want %d", name, to, err, want)
		}
		m.close()
	}
	if err := os.Remove(filepath.Join(root, "sys/fs/cgroup/acct/cgroup.sane_behavior")); err != nil {
		t.Fatal(err)
	}
	if _, err := open(CPUAcct, root, []int{1}); err == nil {
		t.Error("the time of a container is taken for the host's")
	}
	empty := t.TempDir()
	for _, name := range []string{Schedstat, CPUIdle, SchedstatInterrupts, CPUAcct, CPUAcctInterrupts, "sundial"} {
		if _, err := open(name, empty, []int{1}); err == nil {
			t.Errorf("%s on a host without it: no error", name)
		}
	}
}

// Trials as they were measured: which clock is taken.
func TestJudge(t *testing.T) {
	names := func(l ...string) (list list) {
		for _, n := range l {
			list = append(list, candidate{name: n, aid: n == "interrupts"})
		}
		return list
	}
	tr := func(load string, low, high float64, said ...float64) trial {
		return trial{load: load, low: low, high: high, said: said}
	}
	exact := func(l ...trial) []trial {
		for i := range l {
			l[i].exact = true
		}
		return l
	}
	for _, c := range []struct {
		name           string
		list           list
		trials         []trial
		method, second string
		least, most    float64 // of the error
		noisy          bool
	}{
		{"6.18", names(Idle, Ticks, "interrupts"), []trial{
			tr("30", 22.6, 23.8, 22.3, 21.0, 2.6), tr("100", 44.7, 46.9, 44.9, 41.3, 1.9), tr("2000", 49.7, 49.7, 50.9, 38.8, 0.4), tr("softirq",
				30.1, 40.6, 29.4, 25.9, 18.3),
		}, Idle, "", 1, 1.3, false},
		{"7.3", names(Idle, SchedstatInterrupts, Schedstat, Ticks, "interrupts"), []trial{
			tr("30", 45.1, 58.7, 16.9, 47.7, 37.6, 20.7, 9.9), tr("100", 53.5, 70.1, 28.6, 57.8, 49.5, 33.3, 8.1), tr("2000", 52.6, 54.9, 32.4, 56.4,
				52.8, 40, 3.9), tr("softirq", 78.2, 85.1, 75.5, 78.2, 75.3, 67.1, 2.9),
		}, SchedstatInterrupts, "", 1, 1.6, false},
		{"7.3, a user without rights: softirqs out of idle are in nobody's time", names(Idle, Schedstat, Ticks), []trial{
			tr("30", 25, 30, 2, 25, 1), tr("100", 45, 50, 1, 45.5, 1), tr("2000", 50, 50, 31, 50, 47), tr("softirq", 30, 45, 16, 16, 12),
		}, Schedstat, "", 13.9, 14.1, false},
		{"two are right", names(Idle, SchedstatInterrupts, Schedstat, Ticks, "interrupts"), []trial{
			tr("30", 23, 25, 23, 23.5, 21, 7, 2), tr("softirq", 35, 40, 36, 35, 16, 20, 19),
		}, Idle, SchedstatInterrupts, 1, 1, false},
		{"ticks that are exact", names(Idle, Ticks), []trial{tr("30", 23, 25, 1, 23.5), tr("softirq", 35, 40, 22, 36)}, Ticks, "", 1, 1, false},
		{"a stranger in one of two tries", names(Idle, Ticks), []trial{
			tr("30", 23, 25, 43, 40), tr("100", 45, 47, 46, 46), tr("30", 23, 25, 24, 8), tr("100", 45, 47, 66, 60),
		}, Idle, "", 1, 1, false},
		// Then the error is what may be by what was seen, strangers included.
		{"strangers all the time, and ticks that missed a load", names(Idle, Ticks), []trial{tr("30", 23, 25, 43, 12), tr("100", 45, 47, 66, 60)},
			Idle, "", 21, 21, true},
		{"strangers all the time", names(Idle, Schedstat, Ticks), []trial{tr("30", 23, 25, 99, 98, 80), tr("100", 45, 47, 100, 99, 98)},
			Schedstat, "", 75, 75, true},
		{"strangers in all tries, fewer in one of a load", names(Idle, Ticks), []trial{tr("30", 23, 25, 99, 90), tr("30", 23, 25, 29, 12),
			tr("100", 45, 47, 51, 40)}, Idle, "", 6, 6, true},
		{"strangers that the watch saw, and idle time may have missed", names(Idle, Ticks), []trial{{load: "30", low: 23, high: 25, others: 30,
			said: []float64{28, 9}}}, Idle, "", 27, 27, true},
		{"strangers, whom ticks miss by as much as makes them seem right", names(Idle, Ticks), []trial{tr("30", 23, 25, 29, 26),
			tr("100", 45, 47, 50, 46), tr("softirq", 35, 40, 44, 39)}, Idle, "", 9, 9, true},
		{"ticks that were right by chance confirm nothing", names(Idle, Ticks), []trial{tr("30", 23, 25, 24, 23), tr("100", 45, 47, 46, 45)},
			Idle, "", 1, 1, false},
		{"a guess between two", names(Idle, SchedstatInterrupts, Schedstat, Ticks), []trial{tr("30", 23, 25, 90, 98, 99, 99)},
			SchedstatInterrupts, "", 75, 75, true},
		{"7.3, a user without rights beside strangers: idle time said too little once", names(Idle, Schedstat, Ticks),
			[]trial{tr("30", 25, 30, 60, 61, 30), tr("100", 45, 50, 41, 80, 50)}, Schedstat, "", 36, 36, true},
		{"nothing could be tried", names(Idle, Ticks), nil, Idle, "", 0, 0, true},
		{"nothing could be tried, without rights", names(Idle, Schedstat, Ticks), nil, Schedstat, "", 0, 0, true},
		{"strangers, of whom all is known", names(Idle, Ticks), exact(tr("30", 63, 65, 64, 40), tr("100", 75, 77, 76, 60)), Idle, "", 1, 1,
			false},
		{"a clock that says too much", names(Idle, Ticks), exact(tr("30", 63, 65, 69, 40), tr("100", 75, 77, 78, 60)), Idle, "", 4, 4, false},
		{"none is right", names(Idle, Ticks), []trial{tr("30", 23, 25, 12, 8)}, Idle, "", 11, 11, false},
	} {
		loads := map[string]bool{}
		for _, t := range c.trials {
			loads[t.load] = true
		}
		got := judge(c.list, c.trials, max(1, len(loads)))
		if got := judge(c.list, c.trials, len(loads)+1); !got.Noisy || got.Error != 0 || got.Second != "" {
			t.Errorf("%s, and a load that could not be tried: %+v", c.name, got)
		}
		if got.Method != c.method || got.Second != c.second || got.Error < c.least || got.Error > c.most || got.Noisy != c.noisy {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestLine(t *testing.T) {
	var l line
	if l.slope() != 0 {
		t.Error("no points")
	}
	for x := range 100 {
		l.add(point{float64(x), 1e15 + float64(3*x/10*10)}) // in steps of 10
	}
	if v := l.slope(); v < 2.98 || v > 3.02 {
		t.Errorf("slope %g", v)
	}
}

// What is kept holds for its own boot, kernel and user, and nothing else is
// obeyed.
func TestStore(t *testing.T) {
	here := key{Boot: "b", Kernel: "k", Stat: 4, Methods: []string{Idle, Schedstat, Ticks}}
	good := stored{here, time.Now(), Calibration{Method: Idle, Error: 1.2, Second: Schedstat}}
	path := filepath.Join(t.TempDir(), "cpuclock.json")
	if err := keep(path, good); err != nil {
		t.Fatal(err)
	}
	if c, ok := restore(path, here); !ok || c.Method != Idle || c.Second != Schedstat || c.Error != 1.2 {
		t.Fatalf("%+v, %v", c, ok)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	for name, k := range map[string]key{
		"another boot":   {"c", "k", 4, here.Methods},
		"another kernel": {"b", "l", 4, here.Methods},
		"another /proc":  {"b", "k", 5, here.Methods},
		"more rights":    {"b", "k", 4, []string{Idle, SchedstatInterrupts, Schedstat, Ticks}},
	} {
		if c, ok := restore(path, k); ok {
			t.Errorf("%s: %+v", name, c)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(name string) {
		t.Helper()
		if c, ok := restore(path, here); ok {
			t.Errorf("%s: %+v", name, c)
		}
	}
	put := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, s := range map[string]string{
		"torn": string(text[:len(text)/2]), "empty": "", "a list": "[1]",
		"a clock that is not there": strings.ReplaceAll(string(text), `"method":"idle"`, `"method":"sundial"`),
		"no clock":                  strings.ReplaceAll(string(text), `"method":"idle"`, `"method":""`),
		"an error below zero":       strings.ReplaceAll(string(text), "1.2", "-1"),
		"an error that is none":     strings.ReplaceAll(string(text), "1.2", "1e9"),
		"an endless one":            strings.Repeat(" ", 1<<20) + string(text),
	} {
		if s == string(text) {
			t.Fatalf("%s: nothing is changed", name)
		}
		put(s)
		refuse(name)
	}
	put(string(text))
	if err := os.Chmod(path, 0o620); err != nil {
		t.Fatal(err)
	}
	refuse("others may write it")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 65534, -1); err != nil {
			t.Fatal(err)
		}
		refuse("another user's")
	}
	os.Remove(path)
	put(string(text))
	if err := os.Rename(path, path+".other"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path+".other", path); err != nil {
		t.Fatal(err)
	}
	refuse("a link")
	os.Remove(path)
	guess := good
	guess.Noisy = true
	for age, want := range map[time.Duration]bool{0: true, soon / 2: true, 2 * soon: false, -time.Hour: false} {
		guess.Time = time.Now().Add(-age)
		if err := keep(path, guess); err != nil {
			t.Fatal(err)
		}
		if _, ok := restore(path, here); ok != want {
			t.Errorf("a guess %v old: %v", age, ok)
		}
	}
}

// The first asks the kernel, the others ask the file; two at once ask once.
func TestFor(t *testing.T) {
	tier.Long(t)
	dir := t.TempDir()
	cpus := allowed(t)
	type answer struct {
		c   Calibration
		err error
	}
	answers := make(chan answer, 2)
	for range 2 {
		go func() {
			c, err := For(context.Background(), dir, cpus, cpus)
			answers <- answer{c, err}
		}()
	}
	a, b := <-answers, <-answers
	if a.err != nil || b.err != nil || a.c.Method == "" || a.c.Method != b.c.Method || a.c.Error != b.c.Error {
		t.Fatalf("%+v, %+v", a, b)
	}
	t.Logf("%+v", a.c)
	text, err := os.ReadFile(filepath.Join(dir, "cpuclock.json"))
	var s stored
	if err != nil || json.Unmarshal(text, &s) != nil || s.Method != a.c.Method {
		t.Fatalf("%s, %v", text, err)
	}
	// What is kept serves, and nothing is tried anew.
	const mark = 7.375
	s.Error = mark
	if text, err = json.Marshal(s); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cpuclock.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := For(context.Background(), dir, cpus, cpus); err != nil || c.Method != a.c.Method || c.Error != mark && !a.c.Noisy {
		t.Errorf("%+v, %v", c, err)
	}
	// A directory that is none costs a calibration, not the run.
	if c, err := For(context.Background(), os.DevNull, cpus, cpus); err != nil || c.Method == "" {
		t.Errorf("%+v, %v", c, err)
	}
}

func allowed(t testing.TB) (cpus []int) {
	t.Helper()
	stat, err := procfile.OpenStat("/")
	if err != nil {
		t.Fatal(err)
	}
	defer stat.Close()
	if err := stat.Read(); err != nil {
		t.Fatal(err)
	}
	for n, on := range stat.Online {
		if on && onCPU(n, func() error { return nil }) == nil {
			cpus = append(cpus, n)
		}
	}
	return cpus
}

// What is kept is kept for those methods that would be tried, and is asked for
// before each run: that must not touch the kernel's tracepoints.
func TestAvailable(t *testing.T) {
	cpus := allowed(t)
	l := candidates("/", cpus)
	l.close()
	var want []string
	for _, m := range l {
		want = append(want, m.name)
	}
	if got := available("/", cpus); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Reading allocates nothing, with every method that is here.
func TestReadAllocates(t *testing.T) {
	stat, err := procfile.OpenStat("/")
	if err != nil {
		t.Fatal(err)
	}
	defer stat.Close()
	cpus := allowed(t)
	l := candidates("/", cpus)
	l.close()
	for _, m := range l {
		if m.aid {
			continue
		}
		k, err := Open(Calibration{Method: m.name, Second: Ticks}, cpus)
		if err != nil {
			t.Fatal(err)
		}
		read := func() {
			if err := k.Read(stat); err != nil {
				t.Fatal(err)
			}
			k.Busy()
			k.Second()
		}
		read()
		if n := testing.AllocsPerRun(50, read); n != 0 {
			t.Errorf("%s: %g allocations", m.name, n)
		}
		k.Close()
	}
	if _, err := Open(Calibration{Method: "sundial"}, cpus); err == nil {
		t.Error("an unknown clock opens")
	}
	k, err := Open(Calibration{Method: Ticks}, []int{1 << 13})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Read(stat); err == nil || !slices.Contains(strings.Fields(err.Error()), "8192") {
		t.Errorf("a CPU that is not there: %v", err)
	}
}

// TestBareNamespace: where the loopback interface is down, clocks are tried on what
// there is.
func TestBareNamespace(t *testing.T) {
	tier.Long(t)
	const inside = "ZCBENCH_TEST_BARE"
	if os.Getenv(inside) != "" {
		if got := possible(); len(got) != len(loads)-1 {
			t.Errorf("loads: %v", got)
		}
		if c, err := calibrate([]int{0}, []int{0}); err != nil || c.Method == "" {
			t.Errorf("%+v, %v", c, err)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestBareNamespace$")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("needs the right to make network namespaces (root)")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

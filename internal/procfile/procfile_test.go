package procfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

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

func TestFile(t *testing.T) {
	root := t.TempDir()
	long := strings.Repeat("0123456789abcdef", 200)
	write(t, root, "sys/x", "1\n")
	f, err := Open(root, "sys/x")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, want := range []string{"1\n", long, "", long + "!", "2"} {
		write(t, root, "sys/x", want)
		got, err := f.Read()
		if err != nil || string(got) != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
	}
	if _, err := Open(root, "sys/y"); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "/sys/y: ") {
		t.Errorf("no file: %v", err)
	}
	write(t, root, "sys/x", long)
	if _, err := f.Read(); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := f.Read(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a reading", n)
	}
}

func TestInt(t *testing.T) {
	root := t.TempDir()
	for text, want := range map[string]int64{"0\n": 0, "42": 42, "-5000\n": -5000, "9223372036854775807\n": 1<<63 - 1} {
		write(t, root, "v", text)
		f, err := Open(root, "v")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.Int(); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
		f.Close()
	}
	for _, text := range []string{"", "\n", "x", "1 2", "1\n2\n", "-", "18446744073709551616", "9223372036854775808", "0x10"} {
		write(t, root, "v", text)
		f, err := Open(root, "v")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.Int(); err == nil {
			t.Errorf("%q is %d", text, got)
		}
		f.Close()
	}
}

// On the real kernel the figures are those that procfs reads.
func TestStat(t *testing.T) {
	s, err := OpenStat("/")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Read(); err != nil {
		t.Fatal(err)
	}
	them, err := fs.Stat()
	if err != nil {
		t.Fatal(err)
	}
	before := float64(s.Total.Busy())
	if err := s.Read(); err != nil {
		t.Fatal(err)
	}
	c := them.CPUTotal
	busy := (c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal) * Hz
	const rounding = 0.5
	if busy < before-rounding || busy > float64(s.Total.Busy())+rounding {
		t.Errorf("busy: procfs read %v between %v and %d", busy, before, s.Total.Busy())
	}
	if s.Interrupts < them.IRQTotal || s.Switches < them.ContextSwitches {
		t.Errorf("%d interrupts and %d switches after %d and %d", s.Interrupts, s.Switches, them.IRQTotal, them.ContextSwitches)
	}
	for n, on := range s.Online {
		if _, ok := them.CPU[int64(n)]; ok != on {
			t.Errorf("CPU %d: online %v, procfs %v", n, on, ok)
		}
	}
	if n := testing.AllocsPerRun(10, func() {
		if err := s.Read(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a reading", n)
	}
}

const stat = `cpu  10 20 30 40 50 60 70 80 5 6
cpu0 1 2 3 4 5 6 7 8 0 0
cpu2 9 18 27 36 45 54 63 72 0 0
intr 500 1 2 3
ctxt 700
btime 1
softirq 9 1 2
`

func TestStatGap(t *testing.T) {
	var s Stat
	if err := s.parse([]byte(stat)); err != nil {
		t.Fatal(err)
	}
	if s.Interrupts != 500 || s.Switches != 700 || s.Total.Busy() != 10+20+30+60+70+80 || len(s.CPUs) != 3 || s.Online[1] ||
		s.CPUs[2].Steal != 72 {
		t.Errorf("%+v", s)
	}
	// CPU 2 goes away.
	if err := s.parse([]byte("cpu 1 1 1 1 1 1 1 1\ncpu0 1 1 1 1 1 1 1 1\n")); err != nil || s.Online[2] || !s.Online[0] {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "cpu0 1 2 3 4 5 6 7 8\n", "cpu 1 2 3\n", "cpu a\n", "cpux 1 2 3 4 5 6 7 8\n",
		"cpu99999 1 2 3 4 5 6 7 8\n"} {
		if err := s.parse([]byte(bad)); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

// Nothing that a file can hold makes it hold more than the CPUs there can be.
func FuzzStat(f *testing.F) {
	f.Add([]byte(stat))
	f.Add([]byte("cpu  1 2 3 4 5 6 7 8\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Stat
		if err := s.parse(bytes.Clone(b)); err != nil {
			return
		}
		if len(s.CPUs) > maxCPU || len(s.Online) != len(s.CPUs) {
			t.Fatalf("%d CPUs", len(s.CPUs))
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add([]byte("0a 12\tff\n 7"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			line := Line(&b)
			for len(line) > 0 {
				before := len(line)
				v, rest, ok := Hex(line)
				if d, _, dec := Uint(line); dec && !ok && d < 10 {
					t.Fatalf("%q is decimal %d and not hexadecimal %d", line, d, v)
				}
				if w := Word(&line); len(line) != len(rest) || len(line) >= before && len(w) > 0 {
					t.Fatalf("%q: %d left, then %d", w, len(rest), len(line))
				}
			}
		}
	})
}

// BenchmarkStat compares with the library that reads the same for everybody
// else, in one run.
func BenchmarkStat(b *testing.B) {
	ours, err := OpenStat("/")
	if err != nil {
		b.Fatal(err)
	}
	defer ours.Close()
	theirs, err := procfs.NewDefaultFS()
	if err != nil {
		b.Fatal(err)
	}
	var here, there time.Duration
	for b.Loop() {
		start := time.Now()
		if err := ours.Read(); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		if _, err := theirs.Stat(); err != nil {
			b.Fatal(err)
		}
		here, there = here+middle.Sub(start), there+time.Since(middle)
	}
	b.ReportMetric(float64(here.Nanoseconds())/float64(b.N), "ns/reading")
	b.ReportMetric(float64(there)/float64(here), "times-faster-than-procfs")
}

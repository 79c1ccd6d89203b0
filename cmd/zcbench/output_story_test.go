package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"zcbench/endpoint/wire"
)

// printing are command lines that print results, one for each way to do so.
func printing(t *testing.T, records string) [][]string {
	out, spec := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "spec.yaml")
	if err := os.WriteFile(spec, []byte("base: {time: 0.3, omit: 0}\naxes: {mode: [baseline]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for _, line := range []string{
		"--help", "version", "report --help", "probe", "probe --json", "tune show", "tune show --json", "tune apply --set " +
			"sysctl.net.core.busy_poll=0 --dry-run",
		"power list", "power list --json", "plan quick", "plan quick --json",
		"report " + records, "report --format html " + records, "report --format csv " + records, "report --format runs " + records,
		"report --format markdown " + records, "report --format json " + records, "report --format benchfmt " + records,
		"report --explain cellmsgzc " + records, "compare " + records + " " + records,
		"local -t 0.3 -O 0", "local -t 0.3 -O 0 -J", "local -t 0.3 -O 0 --json-stream",
		"run " + spec + " -J -o " + out, "run " + spec + " -o " + out + "2",
	} {
		all = append(all, strings.Fields(line))
	}
	return all
}

// TestStoryFullDisk: results that could not be written are a failure, whoever
// prints them.
func TestStoryFullDisk(t *testing.T) {
	t.Parallel() // it judges no rate
	needNamespaces(t)
	dir := t.TempDir()
	study(t, dir, 1)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	tried := map[string]bool{"agent": true, "rx": true, "tx": true, "demo": true} // a link, and what local and run print
	for _, args := range printing(t, dir) {
		tried[args[0]] = true
		cmd := program(t, args...)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &errs
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != exitFailed || strings.Count(errs.String(),
			"write the output: no space left on device") != 1 {
			t.Errorf("%s: exit %d, it said %s", args, code, errs.String())
		}
	}
	for _, c := range commands() {
		if !tried[c.name] {
			t.Errorf("%s prints results too, and is not tried", c.name)
		}
	}
}

// TestStoryClosedPipe: who has read enough ends a command, without a word, and
// nothing is left behind.
func TestStoryClosedPipe(t *testing.T) {
	needNamespaces(t)
	dir := t.TempDir()
	study(t, dir, 1)
	links := interfaces(t)
	for _, args := range append(printing(t, dir), []string{"local", "-t", "40"}) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd := program(t, args...)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &errs
		_ = cmd.Run()
		w.Close()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !status.Signaled() || status.Signal() != syscall.SIGPIPE || strings.Contains(errs.String(), "pipe") || strings.Contains(errs.String(),
			"output") {
			t.Errorf("%s: %s, it said %s", args, cmd.ProcessState, errs.String())
		}
	}
	waitGone(t, 2*time.Second)
	if now := interfaces(t); now != links {
		t.Errorf("interfaces before: %s, after: %s", links, now)
	}
}

// TestStoryInterruptedReading: a signal ends at once what reads, however much there
// is, and leaves no file that looks whole.
func TestStoryInterruptedReading(t *testing.T) {
	dir := t.TempDir()
	study(t, dir, 1)
	fifo := filepath.Join(dir, "endless.yaml")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	was := []byte("what was there before")
	for _, args := range [][]string{{"report", fifo}, {"report", fifo, "-o"}, {"compare", dir, fifo}, {"compare", dir, fifo, "-o"},
		{"plan", fifo}, {"run", fifo}} {
		out := filepath.Join(t.TempDir(), "out.md")
		if last := len(args) - 1; args[last] == "-o" {
			args = append(slices.Clone(args), out)
			if err := os.WriteFile(out, was, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := program(t, args...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // once it reads
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // with nothing to read, and no end
		w.Close()
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%s: exit %d, it said %q", args, code, errs.String())
		}
		left, err := os.ReadDir(filepath.Dir(out))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 1 {
			if b, err := os.ReadFile(out); err != nil || !bytes.Equal(b, was) {
				t.Errorf("%s: %q %v", args, b, err)
			}
		} else if len(left) != 0 {
			t.Errorf("%s left %v", args, left)
		}
	}
}

// TestStoryWholeFile: a report takes the place of another of its name when it is
// whole; one that cannot be made leaves it.
func TestStoryWholeFile(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	study(t, dir, 1)
	page, link := filepath.Join(to, "page.md"), filepath.Join(to, "link.md")
	if err := os.WriteFile(page, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("page.md", link); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := run(t, "report", dir, "-o", page, "--metric", "nix"); code != exitUsage {
		t.Errorf("exit %d: %s", code, errs)
	}
	if b, _ := os.ReadFile(page); string(b) != "old" {
		t.Errorf("%q", b)
	}
	if _, errs, code := run(t, "report", dir, "-o", link); code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	b, err := os.ReadFile(page)
	st, _ := os.Lstat(link)
	if err != nil || !bytes.Contains(b, []byte("| msgzc")) || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%s, %v: %q", st.Mode(), err, b)
	}
	if left, _ := os.ReadDir(to); len(left) != 2 {
		t.Errorf("%v", left)
	}
	// What is no file is written to itself.
	if out, err := exec.Command("sh", "-c", `"$0" report "$1" -o /dev/stdout --format csv`, built(t), dir).Output(); err != nil ||
		!bytes.Contains(out, []byte("gbps")) {
		t.Errorf("%v: %s", err, out)
	}
}

// The version says what two ends must share, and which source it is.
func TestVersion(t *testing.T) {
	for want, settings := range map[string][]debug.BuildSetting{
		"revision unknown, go":            nil,
		"revision c0ffee, go":             {{Key: "vcs.revision", Value: "c0ffee"}, {Key: "vcs.modified", Value: "false"}},
		"revision c0ffee and changes, go": {{Key: "vcs.revision", Value: "c0ffee"}, {Key: "vcs.modified", Value: "true"}},
	} {
		want = fmt.Sprintf("%s, control protocol %d, %s", version, wire.Protocol, want)
		if got := build(&debug.BuildInfo{Settings: settings}); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if out, err := spoken("--version"); err != nil || !strings.HasPrefix(out, "zcbench "+version+", control protocol") {
		t.Errorf("%q, %v", out, err)
	}
}

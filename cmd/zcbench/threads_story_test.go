package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zcbench/internal/testutil/tier"
)

// TestStoryFewThreads: where a limit leaves too few threads a line says so, and Go's
// runtime does not end the process with a page of stacks.
func TestStoryFewThreads(t *testing.T) {
	tier.Root(t, "to become another user and to make a cgroup")
	path := built(t)
	check := func(what, limit string, cmd *exec.Cmd) {
		t.Helper()
		var errs bytes.Buffer
		cmd.Stderr = &errs
		_ = cmd.Run()
		// The other end of a run is told by a line too.
		if code, text := cmd.ProcessState.ExitCode(), errs.String(); code != exitFailed || !strings.Contains(text, limit) ||
			strings.Count(text, "\n") > 2 {
			t.Errorf("%s: exit %d: %s", what, code, text)
		}
	}
	for dir := filepath.Dir(path); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const stranger = 54_321 // nobody else's
	for _, most := range []int{8, 11} {
		cmd := program(t, "probe")
		cmd.Path, cmd.Args = "/bin/bash", []string{"bash", "-c", fmt.Sprintf("ulimit -u %d; exec %s probe", most, path)}
		cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}, "/"
		check(fmt.Sprintf("ulimit -u %d", most), "ulimit -u", cmd)
	}
	for _, parent := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/pids"} {
		dir := filepath.Join(parent, fmt.Sprintf("zcbench-test-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		defer os.Remove(dir)
		if _, err := os.Stat(filepath.Join(dir, "pids.max")); err != nil {
			continue // it is of other controllers, or of no cgroup's
		}
		for _, most := range []string{"10", "20", "30"} { // itself, an end, the workers
			if err := os.WriteFile(filepath.Join(dir, "pids.max"), []byte(most), 0); err != nil {
				t.Fatal(err)
			}
			cmd := program(t, "local", "-t", "0.3", "-O", "0", "-P", "16")
			cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", fmt.Sprintf("echo $$ >%s/cgroup.procs; exec %s local -t 0.3 -O 0 -P 16", dir, path)}
			check("pids.max of "+most, "pids.max", cmd)
		}
		return
	}
	t.Log("no cgroup with a limit of threads could be made: only ulimit -u was tried")
}

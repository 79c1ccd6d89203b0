package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// family reaps what a step leaves behind: a process whose parent is gone becomes a
// child of process 1, and stays a zombie until that waits for it. The status of a
// step's own process is for the step.
type family struct {
	mu  sync.Mutex
	own map[int]bool
}

// start starts a process whose status is not taken away.
func (f *family) start(cmd *exec.Cmd) error {
	f.mu.Lock() // so that it cannot end unknown
	defer f.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	f.own[cmd.Process.Pid] = true
	return nil
}

// over says that a process has been waited for.
func (f *family) over(cmd *exec.Cmd) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.own, cmd.Process.Pid)
}

// watch reaps from now on.
func (f *family) watch() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	go func() {
		for {
			f.reap()
			<-ended
		}
	}()
}

// reap waits for the orphans that have ended.
func (f *family) reap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, pid := range zombies(os.Getpid()) {
		if !f.own[pid] {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
}

// zombies are the children of a process that have ended (proc_pid_stat(5)).
func zombies(parent int) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	var all []int
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has gone
		}
		// The name is in parentheses, and may hold others.
		_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
		f := strings.Fields(rest)
		if len(f) > 1 && f[0] == "Z" && f[1] == fmt.Sprint(parent) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}

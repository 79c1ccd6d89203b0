package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStoryFewDescriptors: where a limit leaves few descriptors, strangers do not take
// those that a run needs, nor keep a sender with the token out. With ZCBENCH_CROWD set
// each of 20 runs begins within 3 s, for which the machine must be quiet.
func TestStoryFewDescriptors(t *testing.T) {
	runs, full := 3, os.Getenv("ZCBENCH_CROWD") != ""
	if full {
		runs = 20
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("what only the two of them know"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := freePort(t)
	port := strconv.Itoa(n)
	rx := program(t, "rx")
	rx.Args = []string{"sh", "-c", `ulimit -n 96; exec "$0" "$@"`, rx.Path, "rx", "-p", port, "--token-file", token}
	rx.Path = "/bin/sh"
	var errs words
	rx.Stderr = &errs
	if err := rx.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = rx.Process.Signal(syscall.SIGINT)
		_ = rx.Wait()
	}()
	waitFor(t, "the receiver listens", func() bool { return strings.Contains(errs.String(), "waiting") })
	const length = 300 * time.Millisecond
	send := func() (out, said string, code int) {
		return run(t, "tx", "127.0.0.1", "-p", port, "--token-file", token, "-O", "0", "-t", length.String(), "-J")
	}
	if _, said, code := send(); code != 0 { // and the clock of CPU time is calibrated
		t.Fatalf("without strangers: exit %d: %s", code, said)
	}
	quit := make(chan struct{})
	defer close(quit)
	for i := range 200 {
		go func() {
			at := net.JoinHostPort("127.0.0.1", strconv.Itoa(n+i%2))
			for {
				c, err := net.Dial("tcp4", at)
				if err == nil {
					go func() { <-quit; c.Close() }()
					for err == nil { // idle, until it is sent away
						_, err = c.Read(make([]byte, 64))
					}
				}
				select {
				case <-quit:
					return
				case <-time.After(time.Second):
				}
			}
		}()
	}
	time.Sleep(time.Second)
	for i := range runs {
		begun := time.Now()
		out, said, code := send()
		took := time.Since(begun) - length
		if code != 0 {
			t.Fatalf("run %d: exit %d: %s\n%s", i+1, code, said, errs.String())
		}
		if strings.Contains(out, "too many open files") || strings.Contains(said+errs.String(), "too many open files") {
			t.Errorf("run %d lacked descriptors: %s", i+1, out)
		}
		if full && took > 3*time.Second {
			t.Errorf("run %d took %s beside its window", i+1, took)
		}
		t.Logf("run %d took %s beside its window", i+1, took)
	}
}

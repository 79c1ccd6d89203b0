package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStoryGoodbye: an end that is interrupted says so to the other.
func TestStoryGoodbye(t *testing.T) {
	for _, leaves := range []string{"rx", "tx"} {
		rx, port, heard := service(t)
		tx := program(t, "tx", "127.0.0.1", "-p", port, "-t", "30")
		var errs bytes.Buffer
		tx.Stderr = &errs
		if err := tx.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the run begins", func() bool { return strings.Contains(heard.String(), "run from 127.0.0.1") })
		time.Sleep(300 * time.Millisecond)
		first, second := rx, tx
		if leaves == "tx" {
			first, second = tx, rx
		}
		_ = first.Process.Signal(syscall.SIGINT)
		_ = first.Wait()
		if code := first.ProcessState.ExitCode(); code != exitInterrupted {
			t.Errorf("%s was interrupted: exit %d", leaves, code)
		}
		if leaves == "tx" {
			waitFor(t, "the receiver hears of it", func() bool {
				return strings.Contains(heard.String(), "it was interrupted (ended by signal: interrupt)")
			})
			_ = rx.Process.Signal(syscall.SIGINT)
		}
		_ = second.Wait()
		if said := errs.String(); leaves == "rx" && (tx.ProcessState.ExitCode() != exitFailed ||
			!strings.Contains(said, "receiver 127.0.0.1:"+port+": it was interrupted (ended by signal: interrupt)")) {
			t.Errorf("the sender: exit %d, %s", tx.ProcessState.ExitCode(), said)
		}
	}
}

// TestStoryRefusalsName: a receiver says whom it refused, and strangers do not fill its
// screen.
func TestStoryRefusalsName(t *testing.T) {
	dir := t.TempDir()
	var tokens []string
	for _, name := range []string{"right", "wrong"} {
		tokens = append(tokens, filepath.Join(dir, name))
		if err := os.WriteFile(tokens[len(tokens)-1], []byte(name+" token, that is long enough"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, port, heard := service(t, "--token-file", tokens[0])
	for _, args := range [][]string{{"--token-file", tokens[1]}, nil} {
		if _, _, code := run(t, append([]string{"tx", "127.0.0.1", "-p", port}, args...)...); code != exitFailed {
			t.Errorf("tx %q: exit %d", args, code)
		}
	}
	for _, want := range []string{"zcbench rx: peer 127.0.0.1: turned away: the receiver wants a token, and this is not it",
		"zcbench rx: peer 127.0.0.1: turned away: it left when it was asked for the token"} {
		waitFor(t, want, func() bool { return strings.Contains(heard.String(), want) })
	}
	for range 100 {
		c, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		_, _ = c.Read(make([]byte, 100))
		c.Close()
	}
	if n := strings.Count(heard.String(), "\n"); n < 2 || n > 11 {
		t.Errorf("%d lines of 102 refusals", n)
	}
}

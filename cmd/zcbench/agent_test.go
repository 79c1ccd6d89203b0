package main

import (
	"bufio"
	"crypto/rand"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zcbench/internal/testutil/tier"
	"zcbench/ringcfg"
)

// An agent that waits for controllers puts back at once what one that was killed left.
func TestAgentRecovers(t *testing.T) {
	tier.Long(t)
	e := &veth(t).RX
	if out, stderr, code := inside(t, e, "tune", "apply", "-i", e.Interface, "--set", "mtu=4148"); code != 0 {
		t.Fatalf("apply: exit %d\n%s%s", code, out, stderr)
	}
	t.Cleanup(func() { inside(t, e, "tune", "restore", "-i", e.Interface) })
	// Without the note that they outlive their process they are a killed run's.
	dir, err := ringcfg.Journal("").Dir()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	paths, _ := filepath.Glob(filepath.Join(dir, "*.journal"))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		const kept = `{"kept":true}` + "\n"
		if err != nil || !strings.Contains(string(text), `"interface":"`+e.Interface+`"`) || !strings.HasSuffix(string(text), kept) {
			continue
		}
		if err := os.WriteFile(path, []byte(strings.TrimSuffix(string(text), kept)), 0o600); err != nil {
			t.Fatal(err)
		}
		found = true
	}
	if !found {
		t.Fatalf("no journal in %s", dir)
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(rand.Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	agent := program(t, "agent", "--listen", "127.0.0.1:0", "--token-file", token, "--key", filepath.Join(t.TempDir(), "key.pem"))
	stderr, err := agent.StderrPipe()
	if err == nil {
		err = e.Do(agent.Start)
	}
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(stderr); !strings.Contains(said, "waiting at") && lines.Scan(); {
		said += lines.Text() + "\n"
	}
	mtu := 0
	if err := e.Do(func() error {
		i, err := net.InterfaceByName(e.Interface)
		if err == nil {
			mtu = i.MTU
		}
		return err
	}); err != nil || mtu != 1500 || !strings.Contains(said, "link.mtu: 4148 → 1500, put back") {
		t.Errorf("MTU %d, %v; it said:\n%s", mtu, err, said)
	}
	if err := agent.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, stderr)
	if err := agent.Wait(); agent.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("the agent: %v", err)
	}
}

// Package remote reaches zcbench on other machines: it owns the system's ssh
// and the copy of this program at its other end, and TLS with a pinned key for
// agents that listen.
package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"zcbench/internal/fault"
)

// CommandEnv names the environment variable with the ssh command to use, words
// separated by spaces: "ssh -F ./config".
const CommandEnv = "ZCBENCH_SSH"

// Host is a machine that ssh reaches and where this program's copy lies.
type Host struct {
	destination string
	sudo        bool
	program     string // path of the copy
	stderr      io.Writer
}

// Bounds of what ssh may take. The keep-alives notice a network that was cut;
// they are one small packet in each interval and no other.
const (
	connectWait = 15 * time.Second
	copyWait    = 5 * time.Minute
)

var sshOptions = []string{
	"-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10",
	"-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
}

// Open makes sure that a host has this very program, in a cache of the user
// that ssh logs in as, and copies it there if not. With sudo, the program is run
// as root. What agents there say on stderr goes to stderr.
func Open(ctx context.Context, destination string, sudo bool, stderr io.Writer) (*Host, error) {
	h := &Host{destination: destination, sudo: sudo, stderr: stderr}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, fault.Errorf(fault.Failed, "open this program: %w", err)
	}
	defer self.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, self)
	if err != nil {
		return nil, fault.Errorf(fault.Failed, "read this program: %w", err)
	}
	name := "zcbench-" + hex.EncodeToString(sum.Sum(nil)[:8])
	out, err := h.shell(ctx, connectWait, nil, `d=${XDG_CACHE_HOME:-$HOME/.cache}/zcbench
mkdir -p "$d" && cd "$d" || exit 1
echo zcbench-host; uname -s; uname -m; pwd; if [ -x `+name+` ]; then touch `+name+` && echo there; fi`)
	if err != nil {
		return nil, err
	}
	_, out, _ = strings.Cut("\n"+out, "\nzcbench-host\n")
	said := strings.Split(strings.TrimSpace(out), "\n")
	if len(said) < 3 {
		return nil, fault.Errorf(fault.Unsupported, "host does not fit: its shell does not do what it is told")
	}
	if err := suits(said[0], said[1]); err != nil {
		return nil, err
	}
	h.program = said[2] + "/" + name
	if len(said) > 3 {
		return h, nil
	}
	if _, err := self.Seek(0, io.SeekStart); err != nil {
		return nil, fault.Errorf(fault.Failed, "read this program: %w", err)
	}
	// Only a whole copy gets the name, also when two come at once. Copies that
	// nobody has used for a month go.
	_, err = h.shell(ctx, copyWait, self, fmt.Sprintf(`umask 077; t=.new.$$; cd %s || exit 1
if cat >"$t" && [ $(wc -c <"$t") -eq %d ] && chmod 700 "$t" && mv "$t" %s; then
find . -name 'zcbench-*' -mtime +30 -exec rm -f {} + ; else rm -f "$t"; exit 1; fi`, quote(said[2]), size, name))
	if err != nil {
		return nil, fmt.Errorf("copy zcbench (%d MiB) to %s there: %w", size>>20, said[2], err)
	}
	return h, nil
}

// machines are uname's names of what Go calls otherwise.
var machines = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

func suits(system, machine string) error {
	want := machines[runtime.GOARCH]
	if want == "" {
		want = runtime.GOARCH
	}
	if system != "Linux" || machine != want {
		return fault.Errorf(fault.Unsupported, "host does not fit: it is %s on %s, this program is for Linux on %s; build one for it, and run "+
			"it there with agent --listen", system, machine, want)
	}
	return nil
}

// Agent starts an agent there, with arguments.
func (h *Host) Agent(ctx context.Context, arguments ...string) (*Link, error) {
	const mark = "zcbench-agent"
	run := "exec "
	if h.sudo {
		run += "sudo -n "
	}
	run += quote(h.program) + " agent --stdio"
	for _, a := range arguments {
		run += " " + quote(a)
	}
	cmd := h.ssh(context.Background(), "echo "+mark+"; "+run)
	l, err := Command(cmd, h.stderr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, connectWait, fmt.Errorf("ssh has not connected within %s", connectWait))
	defer cancel()
	if err := l.await(ctx, mark); err != nil {
		l.Close()
		l.Wait(0)
		return nil, fmt.Errorf("ssh %s: %w", h.destination, err)
	}
	return l, nil
}

// shell runs a script there and gives what it printed.
func (h *Host) shell(ctx context.Context, limit time.Duration, stdin io.Reader, script string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("ssh is not done after %s", limit))
	defer cancel()
	cmd := h.ssh(ctx, script)
	var out bytes.Buffer
	said := &said{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, said
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if err = here(err); ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if text := said.last(); text != "" {
			err = errors.New(text)
		}
		return "", fmt.Errorf("ssh %s: %w", h.destination, err)
	}
	return out.String(), nil
}

// ssh runs a script in a plain shell, whichever shell the user has there.
func (h *Host) ssh(ctx context.Context, script string) *exec.Cmd {
	words := strings.Fields(os.Getenv(CommandEnv))
	if len(words) == 0 {
		words = []string{"ssh"}
	}
	words = append(words, sshOptions...)
	words = append(words, "--", h.destination, "sh -c "+quote(script))
	return exec.CommandContext(ctx, words[0], words[1:]...)
}

// quote makes one word of v for a shell.
func quote(v string) string { return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'" }

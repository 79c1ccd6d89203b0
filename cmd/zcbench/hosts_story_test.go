package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"zcbench/experiments"
	"zcbench/internal/remote"
	"zcbench/results"
)

// twoHosts are two network namespaces that stand for machines: each has an sshd
// of its own, a link to this one for control, and one to the other for payload.
type twoHosts struct {
	t       *testing.T
	dir     string
	names   [2]string // namespaces
	control [2]string // addresses of the links for control
	sshd    [2]*exec.Cmd
}

// made counts them: each has names and addresses of its own, so that their tests,
// which wait most of the time, need not wait for each other too.
var made atomic.Int32

// The ranges of RFC 2544, beside the one that local uses.
const (
	controlNet = "198.19.7"
	payloadNet = "198.19.8"
)

func newHosts(t *testing.T) *twoHosts {
	t.Helper()
	t.Parallel()
	needNamespaces(t)
	if os.Geteuid() != 0 || os.Getenv("ZCBENCH_LAB") != "" {
		t.Skip("needs root of a whole system, for sshd")
	}
	for _, c := range []string{"ssh", "ssh-keygen", "/usr/sbin/sshd", "ip"} {
		if _, err := exec.LookPath(c); err != nil {
			t.Skipf("needs %s (Debian: openssh-server openssh-client iproute2)", c)
		}
	}
	h := &twoHosts{t: t, dir: t.TempDir()}
	number := int(made.Add(1))
	must := func(words ...string) {
		t.Helper()
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
		}
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", h.dir+"/user")
	client, known := "", ""
	for i := range h.names {
		ns := fmt.Sprintf("zct%d%c%c", os.Getpid(), 'a'+number, 'a'+i)
		h.names[i] = ns
		subnet := 8*number + 4*i
		h.control[i] = fmt.Sprintf("%s.%d", controlNet, subnet+2)
		must("ip", "netns", "add", ns)
		t.Cleanup(func() {
			// Sessions whose network was cut stay.
			out, _ := exec.Command("ip", "netns", "pids", ns).Output()
			for _, pid := range strings.Fields(string(out)) {
				if n, err := strconv.Atoi(pid); err == nil {
					_ = syscall.Kill(n, syscall.SIGKILL)
				}
			}
			must("ip", "netns", "del", ns)
		})
		must("ip", "-n", ns, "link", "set", "lo", "up")
		must("ip", "link", "add", ns, "type", "veth", "peer", "name", "control", "netns", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "link", "del", ns).Run() }) // it may have gone with its peer
		must("ip", "addr", "add", fmt.Sprintf("%s.%d/30", controlNet, subnet+1), "dev", ns)
		must("ip", "-n", ns, "addr", "add", h.control[i]+"/30", "dev", "control")
		must("ip", "link", "set", ns, "up")
		must("ip", "-n", ns, "link", "set", "control", "up")
	}
	must("ip", "-n", h.names[0], "link", "add", "payload", "type", "veth", "peer", "name", "payload", "netns", h.names[1])
	for i, ns := range h.names {
		must("ip", "-n", ns, "addr", "add", fmt.Sprintf("%s.%d/24", payloadNet, i+1), "dev", "payload")
		must("ip", "-n", ns, "link", "set", "payload", "up")
	}
	for i, ns := range h.names {
		key := fmt.Sprintf("%s/host%d", h.dir, i)
		must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
		address := h.control[i]
		config := fmt.Sprintf(`Port 22
ListenAddress %s
HostKey %s
PidFile none
AuthorizedKeysFile %s/user.pub
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
SetEnv XDG_CACHE_HOME=%s/cache%d
`, address, key, h.dir, h.dir, i)
		path := fmt.Sprintf("%s/sshd%d", h.dir, i)
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		cmd := exec.Command("ip", "netns", "exec", ns, "/usr/sbin/sshd", "-D", "-e", "-f", path)
		cmd.Stderr = &said
		cmd.WaitDelay = time.Second // its sessions hold its stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		h.sshd[i] = cmd
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("sshd of host %d: %s", i, said.String())
			}
		})
		pub, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		known += address + " " + string(pub)
		client += fmt.Sprintf("Host host%c\n  HostName %s\n", 'a'+i, address)
	}
	client += fmt.Sprintf("Host *\n  User root\n  IdentityFile %[1]s/user\n  IdentitiesOnly yes\n  UserKnownHostsFile %[1]s/known\n  "+
		"LogLevel ERROR\n", h.dir)
	for name, text := range map[string]string{"config": client, "known": known} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range h.names {
		deadline := time.Now().Add(10 * time.Second)
		for {
			out, err := exec.Command("ssh", "-F", h.dir+"/config", "-o", "BatchMode=yes", fmt.Sprintf("host%c", 'a'+i), "true").CombinedOutput()
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("sshd of host %d: %v\n%s", i, err, out)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return h
}

// ssh is the command by which the hosts are reached.
func (h *twoHosts) ssh() string { return "ssh -F " + h.dir + "/config" }

// program is zcbench that reaches the hosts.
func (h *twoHosts) program(args ...string) *exec.Cmd {
	h.t.Helper()
	cmd := program(h.t, args...)
	cmd.Env = append(cmd.Env, remote.CommandEnv+"="+h.ssh())
	return cmd
}

// run gives what it printed and its exit code.
func (h *twoHosts) run(args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	return finish(h.t, h.program(args...))
}

const sshHosts = `
hosts:
  left: {ssh: hosta, iface: payload}
  right: {ssh: hostb, iface: payload}
pairs:
  - {name: bench, tx: left, rx: right}
`

// spec writes an experiment of 4 cells × 2 that changes the MTU.
func (h *twoHosts) spec(hosts string) string {
	h.t.Helper()
	path := filepath.Join(h.dir, "two.yaml")
	text := hosts + `
base: {time: 0.4, omit: 0.2, length: 64K}
axes:
  mode: [baseline, msgzc]
  mtu:
    small: {set: [mtu=1500]}
    page: {set: [mtu=4148]}
repeats: 2
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// settings is what both hosts are tuned to.
func (h *twoHosts) settings() string {
	h.t.Helper()
	path := built(h.t)
	var all strings.Builder
	for _, ns := range h.names {
		out, err := exec.Command("ip", "netns", "exec", ns, path, "tune", "show", "-i", "payload", "--json").CombinedOutput()
		if err != nil {
			h.t.Fatalf("tune show: %v\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, `"link.`) || strings.Contains(line, `"feature.`) { // others are the whole machine's
				all.WriteString(line)
			}
		}
	}
	return all.String()
}

// unchanged holds the settings against what they were.
func (h *twoHosts) unchanged(before string) {
	h.t.Helper()
	now := strings.Split(h.settings(), "\n")
	was := strings.Split(before, "\n")
	for i := range was {
		if i >= len(now) || now[i] != was[i] {
			h.t.Errorf("a setting was %s and is now %s", strings.TrimSpace(was[i]),
				strings.TrimSpace(strings.Join(now[min(i, len(now)):min(i+1, len(now))], "")))
			return
		}
	}
}

// agents are the processes of zcbench agent that live in the namespaces.
func (h *twoHosts) agents() (pids []string) {
	h.t.Helper()
	for _, ns := range h.names {
		out, err := exec.Command("ip", "netns", "pids", ns).Output()
		if err != nil {
			h.t.Fatal(err)
		}
		for _, pid := range strings.Fields(string(out)) {
			line, err := os.ReadFile("/proc/" + pid + "/cmdline")
			if err == nil && strings.Contains(string(line), "agent\x00--stdio") && !strings.Contains(string(line), "-c\x00") {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// quiet waits until no agent is left.
func (h *twoHosts) quiet(limit time.Duration) {
	h.t.Helper()
	deadline := time.Now().Add(limit)
	for len(h.agents()) > 0 {
		if time.Now().After(deadline) {
			h.t.Fatalf("agents %v are still there after %s", h.agents(), limit)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// complete checks that a store holds each of the 8 runs once.
func (h *twoHosts) complete(dir string) []results.Record {
	h.t.Helper()
	return h.holds(dir, 8)
}

// holds checks that a store holds each of so many runs once.
func (h *twoHosts) holds(dir string, runs int) []results.Record {
	h.t.Helper()
	all, bad, err := results.Load(filepath.Join(dir, "results.jsonl"))
	if err != nil || len(bad) > 0 {
		h.t.Fatalf("results: %v %v", err, bad)
	}
	seen := map[string]int{}
	for _, r := range all {
		seen[fmt.Sprint(r.Cell, r.Repeat)]++
		if r.Status != results.OK {
			h.t.Errorf("%s run %d: %s: %s", r.Cell, r.Repeat, r.Status, r.Reason)
		}
	}
	if len(all) != runs || len(seen) != runs {
		h.t.Errorf("%d records of %d runs, want %d of as many", len(all), len(seen), runs)
	}
	return all
}

func TestStoryHosts(t *testing.T) {
	h := newHosts(t)
	before := h.settings()
	spec, dir := h.spec(sshHosts), filepath.Join(h.dir, "out")
	if out, errs, code := h.run("plan", spec); code != 0 || !strings.Contains(out, "4") {
		t.Fatalf("plan: exit %d\n%s%s", code, out, errs)
	}
	if out, errs, code := h.run("run", spec, "-o", dir); code != 0 {
		t.Fatalf("run: exit %d\n%s%s", code, out, errs)
	}
	for _, r := range h.complete(dir) {
		if r.Pair != "bench" || r.Settings["transport"] != "tcp" || len(r.Facts.RX) == 0 || len(r.Facts.TX) == 0 {
			t.Errorf("record: pair %q, settings %v", r.Pair, r.Settings)
		}
	}
	h.quiet(5 * time.Second)
	h.unchanged(before)
	copies, err := filepath.Glob(h.dir + "/cache?/zcbench/*")
	if err != nil || len(copies) != 2 {
		t.Errorf("copies on the hosts: %v", copies)
	}
}

// A host's own meters are read by the agent there.
func TestStoryHostsPower(t *testing.T) {
	h := newHosts(t)
	spec, dir := filepath.Join(h.dir, "power.yaml"), filepath.Join(h.dir, "power")
	there := "ip link show payload >/dev/null && while echo %d; do sleep 0.02; done"
	text := sshHosts + fmt.Sprintf("base:\n  time: 0.4\n  omit: 0.2\n  meter:\n    - 'rx=exec:"+there+"'\n    - 'tx=exec:"+there+"'\n", 60, 40)
	if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := h.run("run", spec, "-o", dir); code != 0 {
		t.Fatalf("run: exit %d\n%s%s", code, out, errs)
	}
	all, _, err := results.Load(filepath.Join(dir, "results.jsonl"))
	if err != nil || len(all) != 1 {
		t.Fatalf("%d records, %v", len(all), err)
	}
	about(t, "the receiver's power", all[0].RX.Watts, 60)
	about(t, "the sender's power", all[0].TX.Watts, 40)
	if t.Failed() {
		t.Logf("warnings: %q", all[0].Warnings)
	}
	h.quiet(5 * time.Second)
}

// A controller that is killed leaves nothing on the hosts, and another one goes
// on where it was.
func TestStoryHostsKilled(t *testing.T) {
	h := newHosts(t)
	before := h.settings()
	spec := h.spec(sshHosts)
	rounds := 1
	if os.Getenv("ZCBENCH_SOAK") != "" {
		rounds = 10
	}
	kills := 0
	for round := range rounds {
		dir := filepath.Join(h.dir, fmt.Sprintf("killed%d", round))
		for try := 0; ; try++ {
			args := []string{"run", spec, "-o", dir}
			if begun, _ := os.ReadDir(dir); len(begun) > 0 {
				args = append(args, "--resume")
			}
			cmd := h.program(args...)
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if try >= 3 { // it may end now
				if err := cmd.Wait(); err != nil {
					t.Fatalf("%v: %v\n%s", args, err, said.String())
				}
				break
			}
			time.Sleep(500*time.Millisecond + time.Duration(rand.Int64N(int64(3500*time.Millisecond))))
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				kills++
			}
			h.quiet(10 * time.Second)
			h.unchanged(before)
		}
		h.complete(dir)
	}
	if kills == 0 {
		t.Error("every controller ended before it was killed")
	}
	t.Logf("%d kills in %d rounds", kills, rounds)
}

// TestStoryHostsQuick is the long form: the matrix that zcbench comes with, whole
// and with ten kills.
func TestStoryHostsQuick(t *testing.T) {
	if os.Getenv("ZCBENCH_SOAK") == "" {
		t.Skip("takes five minutes: ZCBENCH_SOAK=1 runs it")
	}
	h := newHosts(t)
	before := h.settings()
	quick, err := experiments.Files.ReadFile("quick.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const within = "pairs:\n  - link: veth\n"
	if !strings.Contains(string(quick), within) {
		t.Fatal("quick.yaml has other pairs than it had")
	}
	spec := filepath.Join(h.dir, "quick.yaml")
	if err := os.WriteFile(spec, []byte(strings.Replace(string(quick), within, sshHosts, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	path := built(t)
	for _, kills := range []int{0, 10} {
		dir := filepath.Join(h.dir, fmt.Sprintf("quick%d", kills))
		begun := time.Now()
		for kill := 0; ; kill++ {
			args := []string{"run", spec, "-o", dir}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				args = append(args, "--resume")
			}
			cmd := exec.Command(path, args...)
			cmd.Env = append(os.Environ(), remote.CommandEnv+"="+h.ssh())
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if kill < kills {
				time.Sleep(time.Second + time.Duration(rand.Int64N(int64(10*time.Second))))
				_ = cmd.Process.Kill()
			}
			err := cmd.Wait()
			h.quiet(20 * time.Second)
			h.unchanged(before)
			if kill >= kills {
				if err != nil {
					t.Fatalf("%v\n%s", err, said.String())
				}
				break
			}
		}
		h.holds(dir, 32)
		t.Logf("%d kills: %s", kills, time.Since(begun).Round(time.Second))
	}
}

// A network that is cut between the controller and its hosts is noticed on both
// sides: the agents end and put everything back.
func TestStoryHostsCut(t *testing.T) {
	h := newHosts(t)
	before := h.settings()
	path := built(t)
	cmd := exec.Command(path, "run", h.spec(sshHosts), "-o", filepath.Join(h.dir, "cut"))
	cmd.Env = append(os.Environ(), remote.CommandEnv+"="+h.ssh())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // unless it has ended
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for h.settings() == before { // a run has the MTU changed
		if time.Now().After(deadline) {
			t.Fatal("no run has begun")
		}
	}
	for _, ns := range h.names {
		if out, err := exec.Command("ip", "link", "set", ns, "down").CombinedOutput(); err != nil {
			t.Fatalf("cut: %v\n%s", err, out)
		}
	}
	h.quiet(90 * time.Second)
	h.unchanged(before)
	if os.Getenv("ZCBENCH_SOAK") == "" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return
	}
	// The controller, after several tries, has no hosts left: it says so, and how
	// to go on.
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() < 1 || !strings.Contains(said.String(), "--resume") {
		t.Errorf("the controller ended with %v and said\n%s", err, said.String())
	}
}

func TestStoryHostsBeyondReach(t *testing.T) {
	h := newHosts(t)
	for _, c := range []struct {
		name, hosts string
		ssh         string
		code        int
		want        string
	}{
		{"nobody there", strings.Replace(sshHosts, "hosta", "root@"+controlNet+".2", 1), h.ssh(), exitUnreachable, "sender left"},
		{"a password is wanted", sshHosts, h.ssh() + " -o PubkeyAuthentication=no", exitUnreachable, "Permission denied"},
		{"an unknown host key", sshHosts, h.ssh() + " -o UserKnownHostsFile=/dev/null", exitUnreachable, "Host key verification failed"},
		{"no such interface", strings.Replace(sshHosts, "iface: payload", "iface: nope", 1), h.ssh(), exitUsage, "no interface nope"},
		{"no ssh", sshHosts, "/nonexistent/ssh", exitUnreachable, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := program(t, "run", h.spec(c.hosts), "-o", filepath.Join(h.dir, "never"))
			cmd.Env = append(cmd.Env, remote.CommandEnv+"="+c.ssh)
			out, errs, code := finish(t, cmd)
			if code != c.code || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d, want %d and %q in\n%s%s", code, c.code, c.want, out, errs)
			}
			if n := strings.Count(strings.TrimSpace(errs), "\n"); n > 0 {
				t.Errorf("%d lines of errors:\n%s", n+1, errs)
			}
		})
	}
}

// Agents that listen serve who has the token, and are known by their key.
func TestStoryAgentListens(t *testing.T) {
	h := newHosts(t)
	before := h.settings()
	token := filepath.Join(h.dir, "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef0123"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := built(t)
	hosts := "hosts:\n"
	for i, name := range []string{"left", "right"} {
		address := h.control[i] + ":5301"
		said, theirs, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("ip", "netns", "exec", h.names[i], path, "agent", "--listen", address, "--token-file", token, "--key",
			fmt.Sprintf("%s/key%d.pem", h.dir, i))
		cmd.Stderr = theirs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		})
		theirs.Close()
		buf := make([]byte, 4096)
		n, _ := said.Read(buf)
		go func() { // what it says later must not block it
			for {
				if _, err := said.Read(make([]byte, 4096)); err != nil {
					return
				}
			}
		}()
		_, pin, ok := strings.Cut(string(buf[:n]), "pin: ")
		if !ok {
			t.Fatalf("the agent says %q", buf[:n])
		}
		hosts += fmt.Sprintf("  %s: {agent: '%s', pin: '%s', token-file: %s, iface: payload}\n", name, address, strings.TrimSpace(pin), token)
	}
	hosts += "pairs:\n  - {tx: left, rx: right}\n"
	dir := filepath.Join(h.dir, "out")
	if out, errs, code := h.run("run", h.spec(hosts), "-o", dir); code != 0 {
		t.Fatalf("run: exit %d\n%s%s", code, out, errs)
	}
	h.complete(dir)
	h.unchanged(before)
	for _, c := range []struct {
		name, from, to string
		code           int
		want           string
	}{
		{"another key", "sha256:", "sha256:", exitUnreachable, "another key than the pinned one"},
		{"no pin", "sha256:", "md5:", exitUsage, "is not a pin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.Replace(hosts, c.from, c.to, 1)
			if c.from == c.to { // turn the first digit of the pin
				i := strings.Index(hosts, c.from) + len(c.from)
				digit := "0"
				if hosts[i] == '0' {
					digit = "1"
				}
				changed = hosts[:i] + digit + hosts[i+1:]
			}
			out, errs, code := h.run("run", h.spec(changed), "-o", filepath.Join(h.dir, "never"))
			if code != c.code || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d, want %d and %q in\n%s%s", code, c.code, c.want, out, errs)
			}
		})
	}
	// What plan promises run does: an agent takes no commands from who has its
	// token, and a host has the meters it has.
	for _, c := range []struct{ meter, want string }{
		{"rx=exec:echo 5", "a peer is let measure"},
		{"tx=nvml:", "nvidia-smi"},
	} {
		t.Run("meter "+c.meter, func(t *testing.T) {
			if _, err := exec.LookPath("nvidia-smi"); err == nil && strings.Contains(c.meter, "nvml") {
				t.Skip("this host may have that meter")
			}
			spec := filepath.Join(h.dir, "meter.yaml")
			text := hosts + fmt.Sprintf("base:\n  time: 0.4\n  omit: 0.2\n  meter: '%s'\n", c.meter)
			if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			plan, errs, _ := h.run("plan", spec)
			if !strings.Contains(plan+errs, c.want) {
				t.Errorf("plan says %s%s", plan, errs)
			}
			out, errs, code := h.run("run", spec, "-o", filepath.Join(h.dir, "unmetered"))
			if code == 0 || code == exitFailed || !strings.Contains(errs, c.want) {
				t.Errorf("run: exit %d\n%s%s", code, out, errs)
			}
		})
	}
	t.Run("a second controller", func(t *testing.T) {
		first := h.program("run", h.spec(hosts), "-o", filepath.Join(h.dir, "first"))
		var said bytes.Buffer
		first.Stdout, first.Stderr = &said, &said
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(time.Minute)
		for h.settings() == before {
			if time.Now().After(deadline) {
				t.Fatal("no run has begun")
			}
		}
		_, errs, code := h.run("run", h.spec(hosts), "-o", filepath.Join(h.dir, "second"))
		if code == 0 || !strings.Contains(errs, "another") {
			t.Errorf("exit %d, and it says %s", code, errs)
		}
		if err := first.Wait(); err != nil {
			t.Errorf("the first controller: %v\n%s", err, &said)
		}
	})
}

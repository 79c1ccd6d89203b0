package labtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/lab/pair"
)

// port is the number of a side's interface.
func (s side) port() int { return int(s.Interface[2] - '0') }

func (s side) up(t testing.TB) {
	t.Helper()
	if err := pair.Up(s.port()); err != nil {
		t.Fatal(err)
	}
}

func (s side) down(t testing.TB) {
	t.Helper()
	s.run(t, "ip", "link", "set", s.Interface, "down")
}

func TestLinkFlapsUnderTraffic(t *testing.T) {
	r := newRig(t)
	l := r.load(t, 4, 0)
	for range 3 {
		for _, s := range []side{r.rx, r.tx} {
			s.down(t)
			s.up(t)
			l.moves(t)
		}
	}
	l.stop(t)
}

func TestCarrierFollowsThePeer(t *testing.T) {
	r := newRig(t)
	running := func(want bool) {
		t.Helper()
		got := !want
		for range 100 {
			if err := r.rx.Do(func() error {
				ifi, err := net.InterfaceByName("zc1")
				if err == nil {
					got = ifi.Flags&net.FlagRunning != 0
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if got == want {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("zc1 runs: %v, want %v", got, want)
	}
	running(true)
	r.tx.down(t)
	running(false)
	r.tx.up(t)
	running(true)
}

// TestPagePoolsEndWithTheLink looks for buffers that something still holds.
func TestPagePoolsEndWithTheLink(t *testing.T) {
	r := newRig(t)
	r.transfer(t, 8<<20, 0, false)
	r.transfer(t, 8<<20, 0, true)
	for _, s := range []side{r.rx, r.tx} {
		s.down(t)
		s.settled(t, true)
		s.up(t)
	}
	r.transfer(t, 1<<20, 0, false)
}

// The main thread cannot end, so a goroutine that dies on it would leave it in
// the namespace it entered, and that namespace alive. Locked from the start,
// the main thread serves nobody else.
func init() { runtime.LockOSThread() }

// inNamespace runs f in a named network namespace, without holding on to it.
func inNamespace(t testing.TB, name string, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies here
		done <- func() error {
			fd, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	if err := <-done; err != nil {
		t.Fatalf("in namespace %s: %v", name, err)
	}
}

// deleteNamespace deletes zcrx while zc0 sends to it as fast as it can, and a
// process in it receives; then it makes the namespace again. Nothing of this
// process may hold the namespace.
func deleteNamespace(t testing.TB) {
	t.Helper()
	var receiver *exec.Cmd
	inNamespace(t, "zcrx", func() error {
		receiver = exec.Command("nc", "-u", "-l", "-p", "9000")
		return receiver.Start()
	})
	var c net.Conn
	inNamespace(t, "zctx", func() (err error) { c, err = net.Dial("udp", "198.18.0.2:9000"); return err })
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				c.Write(block[:1400]) // refused, unreachable: the point is to go on
			}
		}
	}()
	time.Sleep(100 * time.Millisecond)
	if err := pair.IP("", "netns del zcrx"); err != nil {
		t.Fatal(err)
	}
	receiver.Process.Kill()
	receiver.Wait()
	// The namespace ends, and the port comes back to the first one.
	for range 1500 {
		if _, err := os.Stat("/sys/class/net/zc1"); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	close(stop)
	<-stopped
	c.Close()
	if err := pair.Connect(1); err != nil {
		t.Fatal(err)
	}
	// What zc0 asked its peer while there was none fails later otherwise.
	if err := pair.IP("zctx", "neigh flush dev zc0"); err != nil {
		t.Fatal(err)
	}
}

func TestNamespaceDeletedUnderTraffic(t *testing.T) {
	needLab(t)
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			deleteNamespace(t)
			newRig(t).transfer(t, 1<<20, 0, false)
		})
	}
}

// reload unloads the module, with traffic on if there is any, and loads it
// again with these parameters.
func reload(t testing.TB, args string) {
	t.Helper()
	if err := pair.Reload(args); err != nil {
		t.Fatal(err)
	}
}

func TestModuleUnloadsUnderTraffic(t *testing.T) {
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			r := newRig(t)
			l := r.load(t, 4, 0)
			l.moves(t)
			reload(t, "")
			l.cancel()
			newRig(t).transfer(t, 1<<20, 0, false)
		})
	}
}

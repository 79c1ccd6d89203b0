package netif

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"zcbench/internal/testutil/captures"
)

// bench is a namespace with a bridge and its port, which have the same
// link-local address, a veth pair into another namespace, an address on lo that
// the pair leads to, and alternative names.
func bench(t *testing.T) (here, there netns.NsHandle) {
	t.Helper()
	runtime.LockOSThread() // and never unlock: the namespaces go with the thread
	var err error
	if there, err = netns.New(); errors.Is(err, unix.EPERM) {
		t.Skip("making a network namespace needs CAP_SYS_ADMIN")
	} else if err != nil {
		t.Fatal(err)
	}
	ip(t, "link set lo up")
	if here, err = netns.New(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close(); there.Close() })
	for _, line := range []string{
		"link set lo up",
		"link add br9 type bridge",
		"link add port9 type veth peer name far9",
		"link set port9 master br9",
		"link set br9 address 02:00:00:00:00:09",
		"addr add fe80::9/64 dev port9 nodad",
		"addr add fe80::9/64 dev br9 nodad",
		"addr add 198.18.9.1/24 dev br9",
		"addr add 203.0.113.9/32 dev lo",
		"link property add dev br9 altname bench9",
		"link property add dev br9 altname a-name-that-is-far-longer-than-sixteen",
		"link set br9 up", "link set port9 up",
	} {
		ip(t, line)
	}
	far, err := net.InterfaceByName("far9")
	if err != nil {
		t.Fatal(err)
	}
	move(t, far.Index, there)
	in(t, there, func() {
		ip(t, "addr add fe80::a/64 dev far9 nodad")
		ip(t, "addr add 198.18.9.2/24 dev far9")
		ip(t, "link set far9 up")
		ip(t, "route add 203.0.113.9/32 dev far9")
	})
	return here, there
}

func ip(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", line, err, out)
	}
}

// in runs f on this thread in another namespace.
func in(t *testing.T, ns netns.NsHandle, f func()) {
	t.Helper()
	here, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if err := netns.Set(ns); err != nil {
		t.Fatal(err)
	}
	f()
	if err := netns.Set(here); err != nil {
		t.Fatal(err)
	}
}

func TestNames(t *testing.T) {
	bench(t)
	for _, name := range []string{"br9", "bench9", "a-name-that-is-far-longer-than-sixteen"} {
		if got, err := Name(name); got != "br9" || err != nil {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if got, err := Name("nosuch9"); err == nil || !strings.Contains(err.Error(), "nosuch9") {
		t.Errorf("nosuch9 is %q, %v", got, err)
	}
	for in, want := range map[string]string{
		"fe80::1%bench9": "fe80::1%br9", "fe80::1%br9": "fe80::1%br9", "fe80::1%nosuch9": "fe80::1%nosuch9", "host": "host",
		"198.18.9.2": "198.18.9.2",
	} {
		if got := Zoned(in); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

func TestRoute(t *testing.T) {
	bench(t)
	for _, c := range []struct{ to, from, want string }{
		{"198.18.9.2", "", "br9"},
		{"198.18.9.2", "203.0.113.9", "br9"}, // though lo has the address
		{"fe80::a%br9", "", "br9"},
		{"fe80::a%bench9", "", "br9"},
		{"198.18.9.1", "", "lo"}, // one's own: it never leaves
	} {
		from, _ := netip.ParseAddr(c.from)
		if got, err := To(netip.MustParseAddr(c.to), from); got != c.want || err != nil {
			t.Errorf("to %s from %q: %q, %v, want %s", c.to, c.from, got, err, c.want)
		}
	}
	if got, err := To(netip.MustParseAddr("192.0.2.1"), netip.Addr{}); err == nil {
		t.Errorf("a route out of nothing: %q", got)
	}
}

func TestHolder(t *testing.T) {
	bench(t)
	if got, err := Holder(netip.MustParseAddr("198.18.9.1")); got != "br9" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := Holder(netip.MustParseAddr("fe80::9%port9")); got != "port9" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	got, err := Holder(netip.MustParseAddr("fe80::9"))
	if err == nil || !strings.Contains(err.Error(), "br9") || !strings.Contains(err.Error(), "port9") {
		t.Errorf("of two that have it: %q, %v", got, err)
	}
	if got, err := Holder(netip.MustParseAddr("192.0.2.1")); err == nil {
		t.Errorf("of none that has it: %q", got)
	}
}

// The interface of an accepted connection is where it came by, whatever else
// has its address.
func TestFrom(t *testing.T) {
	_, there := bench(t)
	for _, c := range []struct{ at, to, want string }{
		{"[fe80::9%br9]:0", "fe80::9%far9", "br9"},
		{"[::]:0", "fe80::9%far9", "br9"},
		{"[::]:0", "198.18.9.1", "br9"}, // IPv4 on a socket of both
		{"198.18.9.1:0", "198.18.9.1", "br9"},
		{"[::]:0", "203.0.113.9", "br9"}, // lo has it
	} {
		l, err := net.Listen("tcp", c.at)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		fd := -1
		in(t, there, func() { fd = connect(t, netip.MustParseAddr(c.to), port) })
		a, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := From(a); got != c.want || err != nil {
			t.Errorf("%s at %s: came by %q, %v, want %s", c.to, c.at, got, err, c.want)
		}
		a.Close()
		l.Close()
		unix.Close(fd)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, c := range []net.Conn{d, a} {
		if got, err := From(c); got != "lo" || err != nil {
			t.Errorf("over the loopback: %q, %v", got, err)
		}
	}
}
func move(t *testing.T, index int, ns netns.NsHandle) {
	t.Helper()
	l, err := netlink.LinkByIndex(index)
	if err == nil {
		err = netlink.LinkSetNsFd(l, int(ns))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// connect is on the calling thread, as net.Dial may not be.
func connect(t *testing.T, to netip.Addr, port string) int {
	t.Helper()
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	family, sa := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: n})
	if to.Is4() {
		sa.(*unix.SockaddrInet4).Addr = to.As4()
	} else {
		index, err := zoneIndex(to.Zone())
		if err != nil {
			t.Fatal(err)
		}
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: n, Addr: to.As16(), ZoneId: uint32(index)}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, sa); err != nil {
		t.Fatalf("connect to %s: %v", to, err)
	}
	return fd
}

// What stands in the way is told by the index: another interface may have the name.
func TestDown(t *testing.T) {
	bench(t)
	port, err := net.InterfaceByName("port9")
	if err != nil {
		t.Fatal(err)
	}
	down := func(want string) {
		t.Helper()
		if got := Down(port.Index, "port9"); !strings.HasPrefix(got, want) || (got == "") != (want == "") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for end := time.Now().Add(10 * time.Second); Down(port.Index, "port9") != "" && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // its carrier comes late
	}
	down("")
	ip(t, "link set port9 down")
	down("interface port9 is down")
	ip(t, "link del port9")
	ip(t, "link add port9 type veth peer name far8")
	down("interface port9 is not here any more")
}

// What cuts this host off from another is told: the address, or the route.
func TestCut(t *testing.T) {
	bench(t)
	cut := func(local, remote, want string) {
		t.Helper()
		if got := Cut(netip.MustParseAddr(local), netip.MustParseAddr(remote)); !strings.HasPrefix(got, want) || (got == "") != (want == "") {
			t.Errorf("%s to %s: got %q, want %q", local, remote, got, want)
		}
	}
	cut("198.18.9.1", "198.18.9.2", "")
	cut("::ffff:198.18.9.1", "::ffff:198.18.9.2", "")
	cut("127.0.0.3", "127.0.0.1", "")
	cut("fe80::9", "fe80::a", "")
	cut("198.18.9.1", "192.0.2.1", "this host has no route to 192.0.2.1 any more (network is unreachable)")
	ip(t, "route add unreachable 198.18.9.2/32")
	cut("198.18.9.1", "198.18.9.2", "this host has no route to 198.18.9.2 any more (no route to host)")
	ip(t, "addr del 198.18.9.1/24 dev br9")
	cut("198.18.9.1", "198.18.9.2", "this host does not have the address 198.18.9.1 any more")
}

// That the kernel cannot be asked says nothing of an interface.
func TestDownUnasked(t *testing.T) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: l.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	text := Down(1, "lo")
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if text != "" {
		t.Errorf("without a descriptor: %s", text)
	}
}

// What is cut off of an interface's description is no end of the program.
func TestMalformed(t *testing.T) {
	from := captures.Load(t, "zcnic-like-mlx5")
	for _, a := range from.Answers() {
		if a.Ask != "link" {
			continue
		}
		whole, bad := a.Messages[0], 0
		for n := range whole {
			if _, err := parse(a.Of, whole[:n]); n >= unix.SizeofIfInfomsg && err != nil {
				bad++
			}
		}
		if d, err := parse(a.Of, whole); err != nil || d.Attrs().MTU != 1500 || bad == 0 {
			t.Errorf("%+v, %v; refused %d", d, err, bad)
		}
		return
	}
	t.Error("no link in the capture")
}

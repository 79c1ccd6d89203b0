package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/netif"
)

// Data sockets are made by hand: engines need blocking descriptors that the
// Go netpoller has never seen.

// openSocket makes a TCP socket with the run's options, which must be set
// before it listens or connects to shape the window and the MSS.
func openSocket(family int, p *wire.Prepare) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("make a TCP socket: %w", err)
	}
	set := func(level, name, value int, what string) {
		if err == nil && value != 0 {
			if e := unix.SetsockoptInt(fd, level, name, value); e != nil {
				err = fault.Errorf(fault.Usage, "set %s to %d: %w", what, value, e)
			}
		}
	}
	set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, "SO_REUSEADDR")
	if err == nil && p.Window != 0 {
		err = endpoint.SetReceiveBuffer(fd, p.Window)
	}
	if p.Window != 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, p.Window) != nil {
		set(unix.SOL_SOCKET, unix.SO_SNDBUF, p.Window, "SO_SNDBUF")
	}
	set(unix.IPPROTO_TCP, unix.TCP_MAXSEG, p.MSS, "TCP_MAXSEG")
	if p.NoDelay {
		set(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1, "TCP_NODELAY")
	}
	if err == nil && p.Congestion != "" {
		if e := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, p.Congestion); e != nil {
			err = noCongestion(p.Congestion, e)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// noCongestion says why a congestion control cannot be had.
func noCongestion(name string, err error) error {
	have, e := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if e != nil || !errors.Is(err, unix.ENOENT) {
		kind := fault.Failed
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) { // that, or not this user's
			kind = fault.Unsupported
		}
		return fault.Errorf(kind, "congestion control %q: %w (available: sysctl net.ipv4.tcp_available_congestion_control)", name, err)
	}
	return fault.Errorf(fault.Unsupported, "this host has no congestion control %q; it has %s, and others as modules (modprobe tcp_NAME)",
		name, strings.TrimSpace(string(have)))
}

// TrySocket finds what this host refuses of a run's sockets, before anybody is
// asked: a local address that it has not, or a congestion control. What was given is
// wrong here, so it is of kind Usage.
func TrySocket(p *wire.Prepare) error {
	from := netip.IPv4Unspecified()
	if p.Bind != "" {
		var err error
		if from, err = netip.ParseAddr(p.Bind); err != nil {
			return fault.Errorf(fault.Usage, "bind address: %w", err)
		}
	}
	sa, family := sockaddr(netip.AddrPortFrom(from, 0))
	fd, err := openSocket(family, p)
	if err != nil {
		if fault.Of(err) == fault.Unsupported {
			err = fault.Wrap(fault.Usage, err)
		}
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, sa); err != nil {
		return fault.Errorf(fault.Usage, "bind to %s: %w: it must be an address of this host (ip address lists them)", from, err)
	}
	return nil
}

// zoneID turns a link-local zone, by name or number, into an interface index.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if name, err := netif.Name(zone); err == nil {
		if i, err := net.InterfaceByName(name); err == nil {
			return uint32(i.Index)
		}
	}
	n, _ := strconv.ParseUint(zone, 10, 32) // 0 when it is neither: the kernel then says so
	return uint32(n)
}

func sockaddr(a netip.AddrPort) (unix.Sockaddr, int) {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}, unix.AF_INET
	}
	sa := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	sa.ZoneId = zoneID(a.Addr().Zone())
	return sa, unix.AF_INET6
}

func fromSockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// listen opens one listener for each flow on consecutive ports, so that a
// flow can be steered by its port alone.
func listen(p *wire.Prepare) (fds []int, err error) {
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	any := netip.IPv6Unspecified()
	if p.Bind != "" {
		if any, err = netip.ParseAddr(p.Bind); err != nil {
			return nil, fault.Errorf(fault.Usage, "bind address: %w", err)
		}
	} else if p.Family == 4 {
		any = netip.IPv4Unspecified()
	}
	for i := range p.Flows {
		port := p.DataPort + i
		fd, err := listenOne(netip.AddrPortFrom(any, uint16(port)), p)
		if errors.Is(err, unix.EAFNOSUPPORT) && p.Bind == "" && p.Family == 0 {
			any = netip.IPv4Unspecified() // a host without IPv6
			fd, err = listenOne(netip.AddrPortFrom(any, uint16(port)), p)
		}
		if err != nil {
			return fds, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// backlog is for strangers who come before the sender does.
const backlog = 128

func listenOne(at netip.AddrPort, p *wire.Prepare) (int, error) {
	sa, family := sockaddr(at)
	fd, err := openSocket(family, p)
	if err != nil {
		return -1, err
	}
	if family == unix.AF_INET6 {
		only := 0
		if p.Family == 6 {
			only = 1
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EADDRINUSE) {
			return -1, fault.Errorf(fault.Failed, "data port %d is in use; end what holds it (ss -ltnp 'sport = :%d') or choose another with --port",
				at.Port(), at.Port())
		}
		return -1, fmt.Errorf("listen on %s: %w", at, err)
	}
	return fd, nil
}

// accept takes one connection from each listener: the peer is a plain TCP program,
// and whoever comes first is meant.
func accept(ctx context.Context, listeners []int) (fds []int, err error) {
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	for i, l := range listeners {
		for {
			if err := poll(ctx, l, unix.POLLIN); err != nil {
				return fds, fault.Errorf(fault.Failed, "data connection %d of %d never came: %w", i+1, len(listeners), err)
			}
			fd, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return fds, fmt.Errorf("accept data connection %d: %w", i+1, err)
			}
			fds = append(fds, fd)
			break
		}
	}
	return fds, nil
}

// dial begins a connection for a flow.
func dial(to netip.AddrPort, flow int, p *wire.Prepare) (int, error) {
	sa, family := sockaddr(to)
	fd, err := openSocket(family, p)
	if err != nil {
		return -1, err
	}
	if p.Bind != "" || p.SourcePort != 0 {
		from := netip.IPv6Unspecified()
		if family == unix.AF_INET {
			from = netip.IPv4Unspecified()
		}
		if p.Bind != "" {
			if from, err = netip.ParseAddr(p.Bind); err != nil {
				unix.Close(fd)
				return -1, fault.Errorf(fault.Usage, "bind address: %w", err)
			}
		}
		port := uint16(0)
		if p.SourcePort != 0 {
			port = uint16(p.SourcePort + flow)
		}
		local, _ := sockaddr(netip.AddrPortFrom(from, port))
		if err := unix.Bind(fd, local); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("bind the source address %s port %d: %w", from, port, err)
		}
	}
	if err = unix.Connect(fd, sa); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return -1, fault.Errorf(fault.Unreachable, "connect data flow %d to %s: %w", flow+1, to, err)
	}
	return fd, nil
}

// errWait is a peer that stayed away.
var errWait = errors.New("timed out")

// pollStep bounds a wait, so that a cancelled run is noticed.
const pollStep = 50 * time.Millisecond

// poll waits for events.
func poll(ctx context.Context, fd int, events int16) error {
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		pfd := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(pfd, int(pollStep/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
		if n > 0 {
			return nil
		}
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// InterfaceTo names the interface that packets to host leave by, or nothing
// when that cannot be told.
func InterfaceTo(host string) string {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	name, err := netif.To(a, netip.Addr{})
	if err != nil {
		return ""
	}
	return name
}

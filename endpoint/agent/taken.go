package agent

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/egress"
	"zcbench/results"
	"zcbench/results/caveat"
	"zcbench/ringcfg"
)

// What was asked for is one thing, what the kernel gave another: it clamps
// socket buffers (socket(7)) and segments (tcp(7)) without a word. So both are
// read back from the data connections.

// taken is what they have.
type taken struct {
	results.Socket
	congestion string
	// Since the connections began, sums: time with data to send, and of it
	// what waited for the receiver's window or the send buffer.
	busy, waited uint64 // µs
	napi         bool   // payload came by a queue that can be polled
	v4           bool   // over IPv4
}

// unlimited is SO_MAX_PACING_RATE where there is none (net/core/sock.c).
const unlimited = ^uint64(0)

// readBack looks at the data connections.
func readBack(fds []int) (taken, error) {
	var t taken
	var controls []string
	for i, fd := range fds {
		var err error
		get := func(level, name int) int {
			v, e := unix.GetsockoptInt(fd, level, name)
			if e != nil && err == nil {
				err = e
			}
			return v
		}
		one := results.Socket{
			RcvBuf:  get(unix.SOL_SOCKET, unix.SO_RCVBUF),
			SndBuf:  get(unix.SOL_SOCKET, unix.SO_SNDBUF),
			MSS:     get(unix.IPPROTO_TCP, unix.TCP_MAXSEG),
			NoDelay: get(unix.IPPROTO_TCP, unix.TCP_NODELAY) != 0,
		}
		// Where no queue has a NAPI instance of its own, as on veth, it is 0.
		if n, e := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID); e == nil && n != 0 {
			t.napi = true
		}
		if sa, e := unix.Getsockname(fd); e == nil && fromSockaddr(sa).Addr().Is4() {
			t.v4 = true
		}
		control, e := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err == nil {
			err = e
		}
		info, e := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			err = e
		}
		if err != nil {
			return t, fmt.Errorf("read back the socket of flow %d: %w", i+1, err)
		}
		one.RcvMSS = int(info.Rcv_mss)
		one.Pacing, one.MaxPacing = info.Pacing_rate, info.Max_pacing_rate
		if one.MaxPacing == unlimited {
			one.MaxPacing = 0
		}
		if control = strings.TrimRight(control, "\x00"); !slices.Contains(controls, control) {
			controls = append(controls, control)
		}
		t.busy += info.Busy_time
		t.waited += info.Rwnd_limited + info.Sndbuf_limited
		t.add(one, i == 0)
	}
	slices.Sort(controls)
	t.congestion = strings.Join(controls, "+")
	return t, nil
}

// add takes in one connection more.
func (t *taken) add(s results.Socket, first bool) {
	if first {
		t.Socket = s
		return
	}
	t.RcvBuf, t.SndBuf = min(t.RcvBuf, s.RcvBuf), min(t.SndBuf, s.SndBuf)
	t.MSS, t.RcvMSS = min(t.MSS, s.MSS), min(t.RcvMSS, s.RcvMSS)
	t.NoDelay = t.NoDelay && s.NoDelay
	t.Pacing = plus(t.Pacing, s.Pacing)
	if t.MaxPacing != 0 {
		if s.MaxPacing == 0 {
			t.MaxPacing = 0
		} else {
			t.MaxPacing = plus(t.MaxPacing, s.MaxPacing)
		}
	}
}

// plus adds rates, of which one may be without limit.
func plus(a, b uint64) uint64 {
	if a > unlimited-b {
		return unlimited
	}
	return a + b
}

// settle puts into the result what the sockets had before the payload and when
// the window closed, and warns of what was not as asked.
func (r *run) settle(res *wire.Result, first, last taken) {
	s := last.Socket
	s.FirstRcvBuf, s.FirstSndBuf = first.RcvBuf, first.SndBuf
	res.Socket, res.Congestion = &s, last.congestion
	warn := func(code caveat.Code, format string, args ...any) {
		res.Warnings = append(res.Warnings, caveat.Warn(code, string(r.p.Role)+": "+format, args...))
	}
	if asked := r.p.Window; asked != 0 {
		for _, b := range []struct {
			name, limit string
			first, last int
		}{{"receive", "rmem_max", s.FirstRcvBuf, s.RcvBuf}, {"send", "wmem_max", s.FirstSndBuf, s.SndBuf}} {
			switch {
			case b.first < 2*asked:
				warn(caveat.SettingNotTaken, "--window %d was asked for, and the %s buffer has %d bytes (the kernel counts both twice): allow it, "+
					"sysctl -w net.core.%s=%d, or run as root, who need not ask", asked, b.name, b.first/2, b.limit, asked)
			case b.first > 2*asked:
				warn(caveat.SettingNotTaken, "--window %d was asked for, and the %s buffer has %d bytes, the least there is", asked, b.name, b.first/2)
			case b.last != b.first:
				warn(caveat.SettingNotTaken, "--window %d was asked for, and the engine %s set the %s buffer to %d bytes", asked, r.engine.Name(),
					b.name, b.last/2)
			}
		}
	}
	// The kernel's MSS leaves out the options that every segment has, which
	// TCP_MAXSEG as it is set does not.
	headers := 20 + 20 // of IPv4 and TCP, without options
	if !last.v4 {
		headers = 40 + 20
	}
	if asked := r.p.MSS; asked != 0 && (s.MSS > asked || s.MSS < asked-mostOptions) {
		warn(caveat.SettingNotTaken, "--set-mss %d was asked for, and segments have %d bytes: the path or the other end allows no more; it "+
			"takes an MTU of %d on both ends", asked, s.MSS, asked+headers)
	}
	if r.p.NoDelay && !s.NoDelay {
		warn(caveat.SettingNotTaken, "--no-delay was asked for, and the sockets are without it: the engine %s took it off", r.engine.Name())
	}
	if text := r.bigTCP(last.v4); text != "" {
		warn(caveat.SettingNotTaken, "%s", text)
	}
	if asked := r.p.Congestion; asked != "" && asked != last.congestion {
		warn(caveat.SettingNotTaken, "--congestion %s was asked for, and the connections used %s", asked, last.congestion)
	}
	res.Options, res.Traits = r.took.all(), r.engine.Layout().Traits()
	for _, name := range slices.Sorted(maps.Keys(res.Options)) {
		given, ok := r.p.Options[name]
		if !ok {
			continue
		}
		if n, err := endpoint.ParseSize(given); err == nil && n != 0 && n != res.Options[name] {
			warn(caveat.SettingNotTaken, "%s=%s was asked for, and the engine %s took %d (zcbench probe --options says why)", name, given,
				r.engine.Name(), res.Options[name])
		}
	}
	if n, err := endpoint.ParseSize(r.p.Options["busy-poll"]); err == nil && n != 0 && !last.napi {
		warn(caveat.SettingNotTaken, "busy-poll=%d was asked for, and there was nothing to poll: the payload came by an interface whose queues "+
			"have no NAPI instances (veth, loopback)", n)
	}
	if warning := recontrolled(r.p.Role, first, last); warning != "" {
		res.Warnings = append(res.Warnings, warning)
	}
	if r.p.Role == endpoint.TX {
		if w := pacing(res, last, r.way); w != "" {
			warn(caveat.PacingLimited, "%s", w)
		}
	}
}

// bigTCP says that frames above 64 KiB were asked for of an interface in a way
// that holds for IPv6 alone, and the run was over IPv4, which has a limit of its
// own (ip-link(8), gso_ipv4_max_size; Linux 6.3).
func (r *run) bigTCP(v4 bool) string {
	kind := "gso"
	if r.p.Role == endpoint.RX {
		kind = "gro"
	}
	name, own := "link."+kind+"-max-size", "link."+kind+"-ipv4-max-size"
	asked, err := strconv.Atoi(r.p.Settings[name])
	if err != nil || !v4 || asked <= legacyFrame {
		return ""
	}
	now, err := ringcfg.Snapshot(r.p.Interface)
	if err != nil {
		return ""
	}
	if n, err := strconv.Atoi(now[own]); err == nil && n >= asked {
		return ""
	}
	return fmt.Sprintf("%s=%d was asked for, and the run was over IPv4, whose frames keep to %s, which is %s: set that too", name, asked, own,
		now[own])
}

// legacyFrame is up to where the first limit is that of IPv4 too
// (GSO_LEGACY_MAX_SIZE, linux/netdevice.h).
const legacyFrame = 65536

// mostOptions is how many bytes of options a TCP header has at most.
const mostOptions = 40

// pacing says whether TCP itself kept the flows from going faster, as far as
// the kernel tells. It keeps a pacing rate for every connection, but holds to it
// only where the congestion control paces itself (bbr) or a program or fq set a
// limit; elsewhere the rate is many times what goes. A bbr that the receiver's
// window or the send buffer held back was not what limited, nor one that fills
// its link: it then paces by what the link carries.
func pacing(res *wire.Result, t taken, way egress.Rate) string {
	_, gbps := res.Rate()
	at := float64(t.Pacing) * 8 / 1e9
	limit := float64(t.MaxPacing) * 8 / 1e9
	link, flows := way.All/1e9, way.Flow/1e9*float64(max(1, len(res.Flows)))
	switch {
	case gbps == 0:
	case limit > 0 && gbps > 0.8*limit:
		return fmt.Sprintf("the sockets are limited to %.3g Gbit/s (SO_MAX_PACING_RATE), and %.3g went: some program of this host sets that",
			limit, gbps)
	case flows > 0 && gbps > 0.8*flows:
		return fmt.Sprintf("%s holds each flow to %.3g Gbit/s, and %.3g went over %d: take that limit off (tc qdisc), or take more flows (-P)",
			way.By, way.Flow/1e9, gbps, len(res.Flows))
	case link > 0 && gbps > fullLink*link:
	case strings.Contains(t.congestion, "bbr") && at < nearPacing*gbps && t.waited < t.busy/2:
		return fmt.Sprintf("%s paces the flows by what it takes for the path's rate, %.3g Gbit/s when the window closed, and %.3g went: a link "+
			"of that rate limited the run, or %[1]s did where the link could carry more, but not the engines; compare with --congestion reno",
			t.congestion, at, gbps)
	}
	return ""
}

// fullLink is which share of a link's rate payload can have: of 1538 bytes on a
// wire 1448 are payload, and of smaller segments less.
const fullLink = 0.9

// nearPacing is how many times as fast as it goes bbr lets a connection go that
// it paces: up to 2.9 at the start, 1.25 later, over bursts of twice the mean.
// With reno and cubic over veth it is 10 and more.
const nearPacing = 3

// took is what engines say of their options; workers may, side by side.
type took struct {
	mu     sync.Mutex
	values map[string]int
}

func (t *took) note(option string, value int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.values == nil {
		t.values = map[string]int{}
	}
	if was, ok := t.values[option]; !ok || value < was {
		t.values[option] = value
	}
}

func (t *took) all() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.values)
}

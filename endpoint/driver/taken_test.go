package driver

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
	"zcbench/results/caveat"
)

// coded are the warnings of a record with a code of settings.
func coded(r *results.Record) (w []string) {
	for _, text := range r.Warnings {
		switch caveat.CodeOf(text) {
		case caveat.SettingNotTaken, caveat.CongestionDiffers, caveat.BuffersHeld:
			w = append(w, text)
		}
	}
	return w
}

// The record has what the sockets have, and warns where that is not what was
// asked, by the end and the setting.
func TestSettingsAreReadBack(t *testing.T) {
	tier.Long(t)
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	usual := strings.TrimSpace(string(b))
	shrink := func(fd int, _ *endpoint.Params) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 20000) }
	limit := func(fd int, _ *endpoint.Params) {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, 10e6)
	}
	other := func(fd int, _ *endpoint.Params) {
		_ = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, map[bool]string{true: "cubic", false: "reno"}[usual == "reno"])
	}
	for name, tc := range map[string]struct {
		rx, tx endpointtest.Plain
		both   func(*wire.Prepare)
		want   []string // in the warnings, each in the one of its turn
		check  func(t *testing.T, r *results.Record)
	}{
		"nothing was asked": {check: func(t *testing.T, r *results.Record) {
			if r.RX.Congestion != usual || r.TX.Congestion != usual {
				t.Errorf("congestion control %q and %q, the host's is %q", r.TX.Congestion, r.RX.Congestion, usual)
			}
			if s := r.RX.Socket; s == nil || s.RcvBuf == 0 || s.MSS == 0 || s.RcvMSS == 0 || s.NoDelay || s.MaxPacing != 0 {
				t.Errorf("socket %+v", s)
			}
		}},
		"all is taken": {
			both: func(p *wire.Prepare) { p.Window, p.MSS, p.Congestion, p.NoDelay = 50000, 1400, "reno", true },
			check: func(t *testing.T, r *results.Record) {
				for _, e := range []*results.End{r.RX, r.TX} {
					s := e.Socket
					if s.RcvBuf != 100000 || s.SndBuf != 100000 || s.FirstRcvBuf != 100000 || s.MSS > 1400 || s.MSS < 1360 || !s.NoDelay ||
						e.Congestion != "reno" {
						t.Errorf("%s: %+v", e.Congestion, s)
					}
				}
			},
		},
		"a window below the least": {both: func(p *wire.Prepare) { p.Window = 100 },
			want: []string{"rx: --window 100 was asked for, and the receive buffer", "rx: --window 100 was asked for, and the send buffer",
				"tx: --window 100 was asked for, and the receive buffer", "tx: --window 100 was asked for, and the send buffer"}},
		"an engine overrides the window": {rx: endpointtest.Plain{Begin: shrink}, both: func(p *wire.Prepare) { p.Window = 50000 },
			want: []string{"rx: --window 50000 was asked for, and the engine plain set the receive buffer to 20000 bytes"}},
		"segments beyond the path": {both: func(p *wire.Prepare) { p.MSS = 32767 }, check: func(t *testing.T, r *results.Record) {
			// The MTU of loopback is 65536.
			if s := r.TX.Socket; s.MSS > 32767 || s.MSS < 32767-40 {
				t.Errorf("MSS %d", s.MSS)
			}
		}},
		"the ends differ": {rx: endpointtest.Plain{Begin: other}, want: []string{"tx: the sender's congestion control is " + usual}},
		"the ends differ as was asked": {tx: endpointtest.Plain{Begin: other}, both: func(p *wire.Prepare) { p.Congestion = usual },
			want: []string{"tx: --congestion " + usual + " was asked for"}},
		"an option is bounded": {
			rx: endpointtest.Plain{Known: []endpoint.Option{{Name: "depth", Default: "4", Max: 100}},
				Begin: func(_ int, p *endpoint.Params) { p.Took("depth", 8) }},
			tx: endpointtest.Plain{Known: []endpoint.Option{{Name: "depth", Default: "4", Max: 100}},
				Begin: func(_ int, p *endpoint.Params) { p.Took("depth", 9); p.Took("depth", 7) }},
			both: func(p *wire.Prepare) {
				p.Options = map[string]string{"depth": "9"}
				if p.Role == endpoint.RX {
					p.Options["depth"] = "8"
				}
			},
			want: []string{"tx: depth=9 was asked for, and the engine plain took 7"},
			check: func(t *testing.T, r *results.Record) {
				if r.RX.Options["depth"] != 8 || r.TX.Options["depth"] != 7 {
					t.Errorf("options %v and %v", r.RX.Options, r.TX.Options)
				}
			},
		},
		"an option left to the engine": {
			rx: endpointtest.Plain{Known: []endpoint.Option{{Name: "depth", Default: "4", Max: 100}},
				Begin: func(_ int, p *endpoint.Params) { p.Took("depth", 8) }},
		},
		"nothing to poll": {
			rx: endpointtest.Plain{Known: []endpoint.Option{{Name: "busy-poll", Default: "0", Max: 100}}},
			both: func(p *wire.Prepare) {
				if p.Role == endpoint.RX {
					p.Options = map[string]string{"busy-poll": "50"}
				}
			},
			want: []string{"rx: busy-poll=50 was asked for, and there was nothing to poll"},
		},
		"paced by somebody": {tx: endpointtest.Plain{Begin: limit}, check: func(t *testing.T, r *results.Record) {
			if r.TX.Socket.MaxPacing != 20e6 {
				t.Errorf("limited to %d bytes/s", r.TX.Socket.MaxPacing)
			}
			found := false
			for _, w := range r.Warnings {
				found = found || caveat.CodeOf(w) == caveat.PacingLimited
			}
			if !found {
				t.Errorf("%.3f Gbit/s: %q", r.Gbps, r.Warnings)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.rx.Role, tc.tx.Role = endpoint.RX, endpoint.TX
			tr := trial(t, 2, tc.rx, tc.tx)
			if tc.both != nil {
				tc.both(&tr.RXWant)
				tc.both(&tr.TXWant)
			}
			r, err := Drive(t.Context(), tr)
			if err != nil {
				t.Fatal(err)
			}
			got := coded(&r)
			if len(got) != len(tc.want) {
				t.Fatalf("warnings %q, want %q", got, tc.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tc.want[i]) {
					t.Errorf("warning %q, want %q", got[i], tc.want[i])
				}
			}
			if tc.check != nil {
				tc.check(t, &r)
			}
		})
	}
}

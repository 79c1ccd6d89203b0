package main

import (
	"strings"
	"testing"

	"zcbench/internal/testutil"
	"zcbench/results/caveat"
)

// TestLabDevmemWindow: devmem keeps a window that its dma-buf has room for, and
// tells of one that it must make smaller, in the kernel's own figure.
func TestLabDevmemWindow(t *testing.T) {
	testutil.Lab(t)
	for _, tc := range []struct {
		args   string
		rcvbuf int // 0: TCP's own
		want   []string
	}{
		{"", 0, nil},
		{"-w 200K", 400 << 10, nil},
		{"-w 64M --mem udmabuf:16M", 8 << 20, []string{"rx: receive buffers were held to 8388608 bytes",
			"rx: --window 67108864 was asked for, and the engine devmem set the receive buffer to 4194304 bytes"}},
		{"--mem udmabuf:16M", 8 << 20, []string{"rx: receive buffers were held to 8388608 bytes"}},
	} {
		r := measured(t, append([]string{"local", "--link", "zc0,zc1", "--mode", "devmem", "-t", "1"}, strings.Fields(tc.args)...)...)
		if got := r.RX.Socket.RcvBuf; tc.rcvbuf != 0 && got != tc.rcvbuf {
			t.Errorf("%q: the receive buffer has %d bytes, want %d", tc.args, got, tc.rcvbuf)
		}
		got := append(with(r, caveat.BuffersHeld), with(r, caveat.SettingNotTaken)...)
		if len(got) != len(tc.want) {
			t.Errorf("%q: warnings %q, want %q", tc.args, got, tc.want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], tc.want[i]) {
				t.Errorf("%q: warning %q, want %q", tc.args, got[i], tc.want[i])
			}
		}
	}
}

// TestLabBusyPoll: on queues that can be polled, polling is what was asked for.
func TestLabBusyPoll(t *testing.T) {
	testutil.Lab(t)
	r := measured(t, "local", "--link", "zc0,zc1", "--mode", "iouring", "-t", "1", "--busy-poll", "50", "--rq-entries", "1000")
	if got := with(r, caveat.SettingNotTaken); len(got) != 1 || !strings.HasPrefix(got[0],
		"rx: rq-entries=1000 was asked for, and the engine zcrx took 1024") {
		t.Errorf("warnings %q", got)
	}
	r = measured(t, "local", "--link", "veth", "--rx", "uring", "-t", "1", "--busy-poll", "50")
	if got := with(r, caveat.SettingNotTaken); len(got) != 1 || !strings.HasPrefix(got[0],
		"rx: busy-poll=50 was asked for, and there was nothing to poll") {
		t.Errorf("warnings %q", got)
	}
}

package ringcfg

import (
	"strings"
	"testing"
)

func TestParseSysctl(t *testing.T) {
	now := Settings{"sysctl.net.ipv4.tcp_rmem": "4096 131072 6291456", "sysctl.net.ipv4.tcp_adv_win_scale": "1",
		"sysctl.net.core.rps_default_mask": "3",
		"shared.net.core.rmem_max":         "212992", "sysctl.net.ipv4.tcp_congestion_control": "cubic"}
	loaded, err := readFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ set, says string }{
		{"sysctl.net.ipv4.tcp_rmem=4096 87380 536870912", ""},
		{"sysctl.net.ipv4.tcp_rmem=x", `is 3 whole numbers, such as "4096 131072 6291456", and not "x"`},
		{"sysctl.net.ipv4.tcp_rmem=4096 87380", "is 3 whole numbers"},
		{"sysctl.net.ipv4.tcp_rmem=4096 87380 1G", "is 3 whole numbers"},
		{"sysctl.net.ipv4.tcp_adv_win_scale=-2", ""},
		{"sysctl.net.core.rps_default_mask=ff", ""},
		{"shared.net.core.rmem_max=lots", "is 1 whole number"},
		{"sysctl.net.ipv4.tcp_congestion_control=" + strings.Fields(loaded)[0], ""},
		{"sysctl.net.ipv4.tcp_congestion_control=nope", `"nope" is none of those that are there: ` + loaded},
	} {
		name, value, _ := strings.Cut(c.set, "=")
		got, err := parseSysctl(nil, now, name, value)
		if c.says == "" && (err != nil || got != value) || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %q, %v; want %q", c.set, got, err, c.says)
		}
	}
}

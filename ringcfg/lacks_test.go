package ringcfg

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"zcbench/internal/fault"
	"zcbench/internal/genl/ethtool"
)

// What is wrong anywhere is said before an interface is looked at.
func TestCheck(t *testing.T) {
	for _, c := range [][3]string{
		{"mtu", "4000", ""}, {"gro-hw", "on", ""}, {"link.gso-max-*", "65536", ""}, {"sysctl.net.core.busy_poll", "50", ""}, {"irq.rx-*", "0",
			""},
		{"mut", "4000", `did you mean "mtu"?`}, {"gro_hw", "on", `did you mean "gro-hw"?`}, {"rx-gro", "on",
			`did you mean "feature.rx-gro"?`}, {"speed", "9", `no setting is called "speed" (zcbench tune show lists them)`},
		{"tx-queue-len", "9", `did you mean "link.tx-queue-len"?`}, {"tx_queue_len", "9", `did you mean "link.tx-queue-len"?`}, {"rmem_max", "9",
			`did you mean "sysctl.net.core.rmem_max"?`},
		{"net.core.rmem_max", "9", `did you mean "sysctl.net.core.rmem_max"?`}, {"min-khz", "9", `did you mean "cpu.*.min-khz"?`}, {"xps-cpus",
			"f", `did you mean "queue.tx-*.xps-cpus"?`},
		{"mtu", "x", `link.mtu: "x" is not a number`}, {"mtu", "-1", "is not a number"}, {"channels", "all",
			"is not a number"}, {"sysctl.kernel.core_pattern", "x", "core_pattern"},
		{"ring", "5", `no setting is called "ring"`}, {"sysctl.net.core.rmem_mxa", "5",
			`did you mean "sysctl.net.core.rmem_max"?`}, {"sysctl.net.ipv4.tcp_autocorkin", "1", `did you mean "sysctl.net.ipv4.tcp_autocorking"?`},
	} {
		err := Check(c[0], c[1])
		if (err == nil) != (c[2] == "") || err != nil && (!strings.Contains(err.Error(), c[2]) || fault.Of(err) != fault.Usage) {
			t.Errorf("%s=%s: %v, want %q", c[0], c[1], err, c[2])
		}
	}
}

func TestLacks(t *testing.T) {
	v := View{
		Driver:   "mlx5_core",
		Settings: Settings{"ring.rx": "1024", "link.mtu": "1500", "cpu.0.governor": "powersave", "cpu.1.governor": "powersave"},
		Limits:   ethtool.Values{"ring.rx-max": 8192},
	}
	for _, c := range []struct {
		want map[string]string
		lack []string
	}{
		{map[string]string{"mtu": "4148", "rx-ring": "8192", "governor": "performance"}, nil},
		{map[string]string{"ring.rx": "8193"}, []string{"ring.rx: at most 8192 here, not 8193"}},
		{map[string]string{"gro-hw": "on", "sysctl.net.core.busy_poll": "1", "sysctl.net.ipv4.tcp_autocorking": "1"},
			[]string{"gro-hw: not supported by driver mlx5_core", "sysctl.net.core.busy_poll: not supported by this kernel"}},
		{map[string]string{"gro_hw": "on"}, []string{`no setting is called "gro_hw" (zcbench tune show lists them); did you mean "gro-hw"?`}},
		{map[string]string{"flow.tcp4-dst-198.18.0.2": "queue 1"}, nil},
	} {
		if got := v.Lacks(c.want); !reflect.DeepEqual(got, c.lack) {
			t.Errorf("%v: %q, want %q", c.want, got, c.lack)
		}
	}
}

// A name that its family does not have is suggested another, unless it is one that
// others have.
func TestMisspelt(t *testing.T) {
	now := Settings{"link.mtu": "1500", "feature.rx-gro": "on", "priv.rx_striding_rq": "on", "napi.rx-0.threaded": "off",
		"napi.rx-1.threaded": "off",
		"irq.rx-0":           "0", "irq.rx-9": "0", "channels.rx": "1", "cpu.0.idle-C1": "on", "queue.rx-0.rps-cpus": "0",
		"hugepages.node0.2048kB": "0"}
	fixed := Settings{"feature.rx-gro-hw": "off"}
	for name, want := range map[string]string{
		"link.txqueuelen": "link.tx-queue-len", "link.tx_queue_len": "link.tx-queue-len", "priv.rx-striding-rq": "priv.rx_striding_rq",
		"feature.rx-gor":     "feature.rx-gro",
		"feature.rx-gro-hww": "feature.rx-gro-hw", "napi.rx-0.thread": "napi.rx-*.threaded", "irq.rx0": `irq.rx-0" or "irq.rx-9`,
		"coalesce.rx-usec":   "coalesce.rx-usecs",
		"queue.rx-0.rps_cpu": "queue.rx-*.rps-cpus", "pause.rxx": "pause.rx", "cpu.*.governr": "cpu.*.governor",
		"udmabuf.size_limit_mb": "udmabuf.size-limit-mb",
		// Spelt as others have it, or like nothing.
		"channels.tx": "", "irq.rx-99": "", "irq.tx-0": "", "cpu.0.idle-C6": "", "hugepages.node1.2048kB": "", "feature.rx-gro-hw": "",
		"ring.rx-mini": "", "priv.other": "", "mtu": "",
		"napi.rx-99.threaded": "", "napi.tx-0.threaded": "", "queue.tx-0.xps-cpus": "", "coalesce.rx-usecs-irq": "", "link.ipv6-mtu": "",
		"cpu.99.governor": "",
	} {
		err := misspelt(Names(name)[0], now, fixed)
		if want == "" && err != nil || want != "" && (fault.Of(err) != fault.Usage || !strings.HasSuffix(err.Error(),
			fmt.Sprintf("no setting is called %q (zcbench tune show lists them); did you mean \"%s\"?", name, want))) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	v := View{Driver: "veth", Settings: now}
	if got := v.Lacks(map[string]string{"link.txqueuelen": "5"}); len(got) != 1 || !strings.Contains(got[0],
		`did you mean "link.tx-queue-len"?`) {
		t.Errorf("Lacks: %q", got)
	}
}

// What a NIC has is suggested where it is known, each instance once.
func TestUnknown(t *testing.T) {
	now := Settings{"coalesce.rx-frames": "8", "napi.rx-0.threaded": "0", "napi.rx-1.threaded": "0", "cpu.0.idle-C6": "on",
		"cpu.12.idle-C6": "on"}
	for name, want := range map[string]string{
		"rx-frames": `"coalesce.rx-frames"?`, "idle-C6": `"cpu.*.idle-C6"?`, "irq-suspend-timeouts": `"irq-suspend-timeout"?`,
		"nothing-like-it": "lists them)",
	} {
		if err := unknown(name, now); fault.Of(err) != fault.Usage || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

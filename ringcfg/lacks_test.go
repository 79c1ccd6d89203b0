package ringcfg

import (
	"reflect"
	"testing"

	"zcbench/internal/genl/ethtool"
)

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
		{map[string]string{"gro-hw": "on", "sysctl.net.core.busy_poll": "1", "sysctl.net.ipv4.other": "1"}, []string{"gro-hw: not supported by driver mlx5_core", "sysctl.net.core.busy_poll: not supported by this kernel"}},
		{map[string]string{"gro_hw": "on"}, []string{`no setting is called "gro_hw" (zcbench tune show lists them)`}},
		{map[string]string{"flow.tcp4-dst-198.18.0.2": "queue 1"}, nil},
	} {
		if got := v.Lacks(c.want); !reflect.DeepEqual(got, c.lack) {
			t.Errorf("%v: %q, want %q", c.want, got, c.lack)
		}
	}
}

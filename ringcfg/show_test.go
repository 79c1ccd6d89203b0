package ringcfg

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestConcerns(t *testing.T) {
	good := Settings{"ring.tcp-data-split": "on", "ring.hds-thresh": "0", "ring.rx": "4096", "feature.rx-ntuple-filter": "on",
		"feature.rx-lro": "off",
		"feature.rx-gro": "on", "feature.tx-tcp-segmentation": "on", "feature.tx-scatter-gather": "on", "feature.rx-checksum": "on",
		"link.mtu":                   "4148",
		"sysctl.net.core.optmem_max": "4194304", "shared.net.core.rmem_max": "536870912", "sysctl.net.ipv4.tcp_rmem": "4096 87380 536870912",
		"sysctl.net.ipv4.tcp_wmem": "4096 87380 536870912", "sysctl.kernel.io_uring_disabled": "0", "cpu.0.governor": "performance",
		"hugepages.node0.2048kB": "16"}
	if got := concerns(View{Interface: "eth1", Settings: good}); len(got) != 0 {
		t.Errorf("a good host: %v", got)
	}
	for name, value := range map[string]string{"ring.tcp-data-split": "auto", "ring.hds-thresh": "256", "ring.rx": "512",
		"feature.rx-ntuple-filter": "off",
		"feature.rx-lro":           "on", "feature.rx-gro": "off", "feature.tx-tcp-segmentation": "off", "feature.tx-scatter-gather": "off",
		"feature.rx-checksum": "off",
		"link.mtu":            "1500", "sysctl.net.core.optmem_max": "131072", "shared.net.core.rmem_max": "212992",
		"sysctl.net.ipv4.tcp_rmem": "4096 131072 1048576",
		"sysctl.net.ipv4.tcp_wmem": "4096 16384 1048576", "sysctl.kernel.io_uring_disabled": "2"} {
		s := Settings{}
		for n, v := range good {
			s[n] = v
		}
		s[name] = value
		v := View{Interface: "eth1", Settings: s, Limits: map[string]uint64{"ring.rx-max": 8192}}
		if got := concerns(v); len(got) != 1 || got[0].Name != name || got[0].Why == "" {
			t.Errorf("%s = %s: %v", name, value, got)
		}
	}
	if got := readsSo(View{Settings: Settings{"ring.tcp-data-split": "on", "feature.rx-gro-hw": "off (wanted)",
		"feature.rx-gro": "on"}}); len(got) != 2 ||
		got[0].Name != "ring.tcp-data-split" || got[1].Name != "feature.rx-gro-hw" {
		t.Errorf("what only reads so: %v", got)
	}
	// What a veth pair cannot have does not hurt it; what the host lacks does.
	veth := Settings{"feature.rx-gro": "off", "link.mtu": "1500", "feature.tx-tcp-segmentation": "on", "feature.rx-checksum": "on",
		"hugepages.node0.2048kB": "16", "sysctl.net.core.optmem_max": "131072"}
	if got := concerns(View{Interface: "veth0", InMemory: true, Settings: veth}); len(got) != 1 ||
		got[0].Name != "sysctl.net.core.optmem_max" {
		t.Errorf("a veth pair: %v", got)
	}
	if got := concerns(View{Settings: Settings{"cpu.0.governor": "powersave", "hugepages.node0.2048kB": "0"}, SMT: "on",
		IRQBalance: 5}); len(got) != 4 {
		t.Errorf("a bad host: %v", got)
	}
}

func TestSteeredTo(t *testing.T) {
	s := Settings{
		"flow.tcp4 dst-ip 198.18.0.2 dst-port 5302":               "queue 3 at 9",
		"flow.tcp4 dst-ip 198.18.0.2 src-port 1000 dst-port 5302": "context 1 at 8",
		"rss.context-1": "5 4 5 4",
	}
	to := netip.MustParseAddrPort("198.18.0.2:5302")
	for _, c := range []struct {
		src, dst string
		want     []uint32
	}{{"198.18.0.1:1001", to.String(), []uint32{3}}, {"198.18.0.1:1000", to.String(), []uint32{4, 5}}, {"198.18.0.1:1000", "198.18.0.2:5303",
		nil}} {
		got, err := SteeredTo(s, netip.MustParseAddrPort(c.src), netip.MustParseAddrPort(c.dst))
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s to %s: %v, %v; want %v", c.src, c.dst, got, err, c.want)
		}
	}
}

// Show needs no rights and sees what Snapshot does.
func TestShow(t *testing.T) {
	v, err := Show("lo")
	if err != nil {
		t.Fatal(err)
	}
	if v.Settings["link.mtu"] != "65536" || !strings.HasPrefix(v.Settings["sysctl.net.ipv4.tcp_rmem"], "4096 ") || v.Driver != "" {
		t.Errorf("lo: %+v", v)
	}
	if _, err := Show("zcbench-none"); err == nil || !strings.Contains(err.Error(), "zcbench-none") {
		t.Errorf("no interface: %v", err)
	}
}

package ringcfg

import "testing"

func TestCommand(t *testing.T) {
	for _, c := range []struct {
		change Change
		want   string
	}{
		{Change{"feature.rx-gro-hw", "off", "on"}, "ethtool -K eth1 rx-gro-hw on"},
		{Change{"ring.tcp-data-split", "auto", "on"}, "ethtool -G eth1 tcp-data-split on"},
		{Change{"priv.rx_cqe_compress", "on", "off"}, "ethtool --set-priv-flags eth1 rx_cqe_compress off"},
		{Change{"priv.vf-true promisc", "on", "off"}, "ethtool --set-priv-flags eth1 'vf-true promisc' off"},
		{Change{"channels.combined", "1", "2"}, "ethtool -L eth1 combined 2"},
		{Change{"link.mtu", "1500", "4148"}, "ip link set dev eth1 mtu 4148"},
		{Change{"link.gso-ipv4-max-size", "65536", "131072"}, "ip link set dev eth1 gso_ipv4_max_size 131072"},
		{Change{"sysctl.net.ipv4.tcp_rmem", "1 2 3", "4 5 6"}, "sysctl -w net.ipv4.tcp_rmem='4 5 6'"},
		{Change{"napi.threaded", "off", "on"}, "zcbench tune apply -i eth1 --set napi.threaded=on"},
	} {
		if got := c.change.Command("eth1"); got != c.want {
			t.Errorf("%v: %s, want %s", c.change, got, c.want)
		}
	}
	if got := (Change{"link.mtu", "1500", "4148"}).Command("a;touch$IFS`x`"); got != "ip link set dev 'a;touch$IFS`x`' mtu 4148" {
		t.Errorf("a name that shells would obey: %s", got)
	}
}

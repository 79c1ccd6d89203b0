package ringcfg

import (
	"fmt"
	"strings"

	"zcbench/internal/printable"
)

// Command is the change made by hand, with the tools of iproute2, ethtool and procps
// where they can, for a shell in the namespace of the interface.
func (c Change) Command(iface string) string {
	family, name, _ := strings.Cut(c.Name, ".")
	iface = printable.Word(iface)
	switch family {
	case "sysctl", "shared":
		return fmt.Sprintf("sysctl -w %s=%s", name, printable.Word(c.To))
	case "link":
		if name == "mtu" || strings.HasSuffix(name, "-size") || name == "gso-max-segs" {
			return fmt.Sprintf("ip link set dev %s %s %s", iface, strings.ReplaceAll(name, "-", "_"), c.To)
		}
	case "feature":
		return fmt.Sprintf("ethtool -K %s %s %s", iface, name, c.To)
	case "ring":
		return fmt.Sprintf("ethtool -G %s %s %s", iface, name, c.To)
	case "priv":
		return fmt.Sprintf("ethtool --set-priv-flags %s %s %s", iface, printable.Word(name), c.To)
	case "channels":
		return fmt.Sprintf("ethtool -L %s %s %s", iface, name, c.To)
	}
	return fmt.Sprintf("zcbench tune apply -i %s --set %s", iface, printable.Word(c.Name+"="+c.To))
}

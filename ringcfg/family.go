package ringcfg

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
	"zcbench/internal/genl/ethtool"
)

// family is the settings that one interface of the kernel reads and writes
// together. All that is specific to a kind of setting is in its family; what
// follows (snapshot, apply, restore, compare) knows only this.
type family struct {
	name string // what its settings' names begin with
	// group is what may change when one of the family is written: device for
	// everything of the interface, or the family's own name.
	group string
	right int // CAP_* that a write needs
	// read adds the settings as they are now.
	read func(h *host, to Settings) error
	// write writes some of them, in the order that they need among
	// themselves. The kernel may grant less: the caller reads again.
	write func(h *host, set Settings) error
	// parse makes a user's value canonical; nil: as it is, in single spaces.
	parse func(h *host, now Settings, name, value string) (string, error)
	// refuse says, without writing, why a write would be refused; nil: only a
	// write can tell.
	refuse func(h *host, name, value string) error
}

// device is the group of all settings of an interface: changing the channels
// may rewrite the RSS table, the XPS maps and the features.
const device = "device"

// families are in the order in which they are applied; restoring goes the
// other way. Header split comes before the channels, those before the RSS
// table, that before the flow rules that point at a queue.
var families = []family{
	{name: "sysctl", group: "sysctl", right: unix.CAP_NET_ADMIN, read: readSysctls, write: writeSysctls, parse: parseSysctl,
		refuse: refuseSysctl},
	{name: "shared", group: "shared", right: unix.CAP_NET_ADMIN, read: readShared, write: writeShared, parse: parseSysctl,
		refuse: refuseShared},
	{name: "hugepages", group: "hugepages", right: unix.CAP_SYS_ADMIN, read: readHugePages, write: writeHugePages, parse: parseCount,
		refuse: refuseHugePages},
	{name: "udmabuf", group: "udmabuf", right: unix.CAP_SYS_ADMIN, read: readUDMABuf, write: writeUDMABuf, parse: parseCount,
		refuse: refuseUDMABuf},
	{name: "smt", group: "cpu", right: unix.CAP_SYS_ADMIN, read: readSMT, write: writeSMT, parse: parseSwitch, refuse: refuseSMT},
	{name: "cpu", group: "cpu", right: unix.CAP_SYS_ADMIN, read: readCPUs, write: writeCPUs, parse: parseCPU, refuse: refuseCPU},
	{name: "link", group: device, right: unix.CAP_NET_ADMIN, read: readLink, write: writeLink, parse: parseLink},
	{name: "pause", group: device, right: unix.CAP_NET_ADMIN, read: readPause, write: writePause, parse: parseSwitch},
	{name: "eee", group: device, right: unix.CAP_NET_ADMIN, read: readEEE, write: writeEEE, parse: parseSwitch},
	{name: "priv", group: device, right: unix.CAP_NET_ADMIN, read: readPrivFlags, write: writePrivFlags, parse: parseSwitch},
	{name: "coalesce", group: device, right: unix.CAP_NET_ADMIN, read: readCoalesce, write: writeCoalesce, parse: parseNumber},
	{name: "feature", group: device, right: unix.CAP_NET_ADMIN, read: readFeatures, write: writeFeatures, parse: parseSwitch},
	{name: "ring", group: device, right: unix.CAP_NET_ADMIN, read: readRings, write: writeRings, parse: parseNumber, refuse: refuseAboveLimit},
	{name: "channels", group: device, right: unix.CAP_NET_ADMIN, read: readChannels, write: writeChannels, parse: parseNumber,
		refuse: refuseAboveLimit},
	{name: "rss", group: device, right: unix.CAP_NET_ADMIN, read: readRSS, write: writeRSS, parse: parseRSS},
	{name: "flow", group: device, right: unix.CAP_NET_ADMIN, read: readFlows, write: writeFlows, parse: parseFlow},
	{name: "napi", group: device, right: unix.CAP_NET_ADMIN, read: readNAPI, write: writeNAPI, parse: parseNAPI, refuse: refuseNAPI},
	{name: "queue", group: device, right: unix.CAP_NET_ADMIN, read: readQueues, write: writeQueues, parse: parseQueue, refuse: refuseQueue},
	{name: "irq", group: device, right: unix.CAP_SYS_ADMIN, read: readIRQs, write: writeIRQs, parse: parseIRQ, refuse: refuseIRQ},
}

// capabilities are the names of the rights that families need.
var capabilities = map[int]string{unix.CAP_NET_ADMIN: "CAP_NET_ADMIN", unix.CAP_SYS_ADMIN: "CAP_SYS_ADMIN"}

// familyOf finds the family of a setting and its place in the order.
func familyOf(name string) (family, int, error) {
	prefix, _, _ := strings.Cut(name, ".")
	for i, f := range families {
		if f.name == prefix {
			return f, i, nil
		}
	}
	return family{}, 0, noSetting(name)
}

// Names gives the names or patterns that a short name stands for; any other
// name stands for itself.
func Names(name string) []string {
	if full, ok := short[name]; ok {
		return full
	}
	return []string{name}
}

// Check says what can be said of a setting before there is an interface: that
// there is no such family of settings, or that its value is no number.
func Check(name, value string) error {
	if _, err := expand(name, nil); err != nil {
		return err
	}
	for _, full := range Names(name) {
		family, _, _ := strings.Cut(full, ".")
		number := value
		if family == "link" {
			number = strings.TrimPrefix(value, upTo)
		}
		if _, err := strconv.ParseUint(number, 10, 64); err != nil && (family == "link" || family == "channels") {
			return usage("%s: %q is not a number", full, value)
		}
	}
	return nil
}

// unknown says that a name is none of a setting, and which was meant as it seems: one
// that ends so, of those that there are now and that there are everywhere, or a short
// name that is a letter away.
func unknown(name string, now Settings) error {
	ends := map[string]bool{}
	for _, full := range slices.Concat(now.names(), everywhere()) {
		if strings.HasSuffix(full, "."+name) || strings.HasSuffix(full, "."+strings.ReplaceAll(name, "_", "-")) {
			ends[instance.ReplaceAllString(full, ".$1*.")] = true
		}
	}
	if len(ends) > 0 {
		return notCalled(name, slices.Sorted(maps.Keys(ends)))
	}
	for _, known := range slices.Sorted(maps.Keys(short)) {
		if near(name, known) {
			return notCalled(name, []string{known})
		}
	}
	return fault.Wrap(fault.Usage, noSetting(name))
}

// instance is the part of a name that says of which CPU, queue or node a setting is.
var instance = regexp.MustCompile(`\.((?:rx-|tx-|node)?)[0-9]+\.`)

// everywhere are names that do not depend on a NIC.
func everywhere() (names []string) {
	for _, key := range sysctls {
		names = append(names, "sysctl."+key)
	}
	for _, s := range linkSettings {
		names = append(names, s.name)
	}
	for _, f := range cpuFiles {
		names = append(names, "cpu.*."+f.name)
	}
	for _, f := range queueFiles {
		names = append(names, "queue."+f.direction+"-*."+f.name)
	}
	for family, list := range ethtool.Settable() {
		for name := range list {
			names = append(names, family+"."+name)
		}
	}
	for _, list := range short {
		names = append(names, list...)
	}
	return slices.Concat(names, slices.Collect(maps.Keys(napiFiles)), []string{"udmabuf.size-limit-mb", "udmabuf.list-limit"})
}

// misspelt says which setting a name may have been meant to be that there is not here,
// though its family is known; nil: it is spelt as others have it, or nothing is near it.
func misspelt(name string, now, fixed Settings) error {
	known := everywhere()
	if fixed[name] != "" || slices.ContainsFunc(known, func(pattern string) bool { ok, _ := path.Match(pattern, name); return ok }) {
		return nil
	}
	family, _, _ := strings.Cut(name, ".")
	letters := strings.NewReplacer("-", "", "_", "").Replace
	which := func(s string) string { return digits.ReplaceAllString(strings.ReplaceAll(s, ".tx-", ".rx-"), "") } // but for what is counted
	var all []string
	for _, n := range slices.Concat(now.names(), fixed.names(), known) {
		if strings.HasPrefix(n, family+".") && which(n) != which(name) && near(letters(n), letters(name)) {
			all = append(all, instance.ReplaceAllString(n, ".$1*."))
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	return notCalled(name, slices.Compact(all))
}

// notCalled is a name that no setting has, and those that it may have been meant to be.
func notCalled(name string, meant []string) error {
	const most = 3
	return usage(`%w; did you mean "%s"?`, noSetting(name), strings.Join(meant[:min(most, len(meant))], `" or "`))
}

func noSetting(name string) error {
	return fmt.Errorf("no setting is called %q (zcbench tune show lists them)", name)
}

var digits = regexp.MustCompile(`[0-9]+`)

// near says that one letter or two neighbours tell two words apart.
func near(a, b string) bool {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a)+len(b) <= 2 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}

// short are names for what is set most, and the settings they stand for.
var short = map[string][]string{
	"mtu":                 {"link.mtu"},
	"gso-max-size":        {"link.gso-max-size"},
	"gro-max-size":        {"link.gro-max-size"},
	"gso-ipv4-max-size":   {"link.gso-ipv4-max-size"},
	"gro-ipv4-max-size":   {"link.gro-ipv4-max-size"},
	"rx-ring":             {"ring.rx"},
	"tx-ring":             {"ring.tx"},
	"tcp-data-split":      {"ring.tcp-data-split"},
	"hds-thresh":          {"ring.hds-thresh"},
	"channels":            {"channels.combined"},
	"gro":                 {"feature.rx-gro"},
	"gro-hw":              {"feature.rx-gro-hw"},
	"lro":                 {"feature.rx-lro"},
	"tso":                 {"feature.tx-tcp*-segmentation"}, /* as ethtool(8) takes it */
	"gso":                 {"feature.tx-generic-segmentation"},
	"sg":                  {"feature.tx-scatter-gather"},
	"ntuple":              {"feature.rx-ntuple-filter"},
	"rx-checksum":         {"feature.rx-checksum"},
	"nocache-copy":        {"feature.tx-nocache-copy"},
	"rss":                 {"rss.table"},
	"rx-usecs":            {"coalesce.rx-usecs"},
	"tx-usecs":            {"coalesce.tx-usecs"},
	"adaptive-rx":         {"coalesce.use-adaptive-rx"},
	"adaptive-tx":         {"coalesce.use-adaptive-tx"},
	"defer-hard-irqs":     {"napi.defer-hard-irqs"},
	"gro-flush-timeout":   {"napi.gro-flush-timeout"},
	"irq-suspend-timeout": {"napi.*.irq-suspend-timeout"},
	"threaded":            {"napi.threaded"},
	"governor":            {"cpu.*.governor"},
	"epp":                 {"cpu.*.epp"},
	"turbo":               {"cpu.turbo"},
	"smt":                 {"smt.control"},
	"dma-latency":         {"cpu.dma-latency"},
}

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"zcbench/endpoint"
	"zcbench/internal/answers"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/netpair"
	"zcbench/internal/testutil"
	"zcbench/internal/testutil/captures"
	"zcbench/ringcfg"
	"zcbench/rx"
)

// load reads a capture.
func load(t *testing.T, path string) *answers.Source {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	from, err := answers.Read(path, f)
	if err != nil {
		t.Fatal(err)
	}
	return from
}

// verdicts are those of the engines that ask about an interface.
func verdicts(from *answers.Source, iface string) map[string]feature.Verdict {
	all := map[string]feature.Verdict{}
	for end, engines := range map[string][]endpoint.Engine{"tx ": txEngines(), "rx ": rxEngines()} {
		for _, e := range engines {
			if a, ok := e.(endpoint.Asker); ok {
				all[end+e.Name()] = a.ProbeFrom(from, iface)
			}
		}
	}
	return all
}

// fixOf are the commands of probe --fix, or why there are none.
func fixOf(from *answers.Source, iface string) (commands []string, err error) {
	want, err := rx.Binding(from, iface)
	if err != nil {
		return nil, err
	}
	plan, err := ringcfg.PlanFrom(from, want)
	for _, c := range plan.Changes {
		commands = append(commands, c.Command(iface))
	}
	return commands, err
}

// captured captures an interface of an end by the command, and gives where.
func captured(t *testing.T, e *netpair.End) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nic.jsonl")
	if err := e.Do(func() error {
		_, err := spoken("probe", "-i", e.Interface, "--capture", path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return path
}

// answersAgain says where a capture, asked as the kernel is, answers otherwise.
func answersAgain(t *testing.T, e *netpair.End, path string) {
	t.Helper()
	from := load(t, path)
	if err := e.Do(func() error {
		if is, want := verdicts(from, e.Interface), verdicts(nil, e.Interface); !reflect.DeepEqual(is, want) {
			t.Errorf("probe: %v\nthe kernel: %v", is, want)
		}
		is, ierr := fixOf(from, e.Interface)
		want, werr := fixOf(nil, e.Interface)
		if !slices.Equal(is, want) || fmt.Sprint(ierr) != fmt.Sprint(werr) {
			t.Errorf("probe --fix: %q, %v\nthe kernel: %q, %v", is, ierr, want, werr)
		}
		is1, err := ringcfg.ShowFrom(from, e.Interface)
		if err != nil {
			return err
		}
		want1, err := ringcfg.Show(e.Interface)
		if err != nil {
			return err
		}
		ofHost := func(name string) bool {
			family, _, _ := strings.Cut(name, ".")
			return slices.Contains([]string{"sysctl", "shared", "hugepages", "udmabuf", "smt", "cpu", "irqbalance"}, family)
		}
		for name, value := range want1.Settings { // those of the host are in no capture
			switch {
			case ofHost(name):
				delete(want1.Settings, name)
			case name == "rss.key": // has a stand-in
				want1.Settings[name] = is1.Settings[name]
				if len(value) != len(is1.Settings[name]) || value == is1.Settings[name] {
					t.Errorf("rss.key: %q", is1.Settings[name])
				}
			}
		}
		want1.Concerns = slices.DeleteFunc(want1.Concerns, func(c ringcfg.Concern) bool { return ofHost(c.Name) })
		want1.SMT, want1.IRQBalance = "", 0
		is1.PagePools, want1.PagePools = nil, nil // what they hold changes
		if !reflect.DeepEqual(is1, want1) {
			t.Errorf("tune show: %+v\nthe kernel: %+v", is1, want1)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if missed := from.Missed(); len(missed) > 0 {
		t.Errorf("not in the capture: %q", missed)
	}
}

// A capture answers as the interface did, and has nothing in it of whose it is.
func TestCapture(t *testing.T) {
	e, err := netpair.Locate(testutil.NewLink(t, 0).RX)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var mac net.HardwareAddr
	if err := e.Do(func() error {
		l, err := netlink.LinkByName(e.Interface)
		if err != nil {
			return err
		}
		mac = l.Attrs().HardwareAddr
		v6, err := netlink.ParseAddr("2001:2:0:ab::cd/64")
		if err != nil {
			return err
		}
		for _, err := range []error{netlink.LinkSetAlias(l, "rack7 of gate"), netlink.LinkAddAltName(l, "rack7-port1"), netlink.AddrAdd(l, v6)} {
			if err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	path := captured(t, e)
	answersAgain(t, e, path)

	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm()&^0o044 != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := [][]byte{mac, []byte(mac.String()), []byte("10.79.0.2"), {10, 79, 0, 2},
		net.ParseIP("2001:2:0:ab::cd"), []byte("2001:2:0:ab"), []byte("rack7"), []byte("gate")}
	for _, s := range secret {
		for _, form := range [][]byte{s, fmt.Appendf(nil, "%x", s), bytes.ToUpper(s)} {
			if bytes.Contains(text, form) {
				t.Errorf("%q is in the capture", form)
			}
		}
	}
	if !bytes.Contains(text, []byte(`"ask":"netdev bind-rx"`)) || !bytes.Contains(text, []byte(`"says":"`)) {
		t.Errorf("no refusal in %s", text)
	}

	// A host may be called as the answers are.
	if err := e.Do(func() error {
		for name, want := range map[string]string{
			"gate": "", "class": "the capture has no answer: file of /sys/class/net/", "netdev": "no answer: nlctrl getfamily",
		} {
			from := answers.Record()
			askAll(from, e.Interface)
			from.Redact(answers.Secrets{Names: []string{name}})
			if err := readsBack(from); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("of a host called %s: %v, want %q", name, err, want)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}

	// It is not overwritten, and what cannot be written leaves nothing.
	for file, want := range map[string]string{"": "wants the name of a file", path: "is there already",
		filepath.Join(path, "below"): "not a directory"} {
		_, err := spoken("probe", "-i", "lo", "--capture", file)
		if err == nil || fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("--capture %s: %v, want %q", file, err, want)
		}
	}
	_, err = spoken("probe", "-i", "lo", "--fix", "--apply", "--capture", path+"2")
	if err == nil || !strings.Contains(err.Error(), "--capture changes nothing") {
		t.Errorf("with --apply: %v", err)
	}
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, text) {
		t.Errorf("it was overwritten: %v", err)
	}
}

// Every capture answers all that probe, probe --fix and tune show ask.
func TestReplayAll(t *testing.T) {
	for _, name := range captures.Names(t) {
		t.Run(name, func(t *testing.T) {
			from := captures.Load(t, name)
			for engine, v := range verdicts(from, from.Head.Interface) {
				if v.Answer == feature.No && v.Reason == "" || strings.Contains(v.Reason, answers.ErrNoAnswer.Error()) {
					t.Errorf("%s: %+v", engine, v)
				}
			}
			if _, err := fixOf(from, from.Head.Interface); err != nil && fault.Of(err) != fault.Unsupported {
				t.Errorf("probe --fix: %v", err)
			}
			if view, err := ringcfg.ShowFrom(from, from.Head.Interface); err != nil || view.Driver != from.Head.Driver {
				t.Errorf("tune show: %+v, %v", view, err)
			}
		})
	}
}

// What probe and probe --fix say of NICs that answer so.
func TestReplayProbe(t *testing.T) {
	for _, c := range []struct {
		nic      string
		verdicts map[string]string // by end and engine: the answer, and a part of the reason
		fix      []string
		err      string // of probe --fix
	}{
		{"zcnic-like-mlx5", map[string]string{"tx devmem": "yes ",
			"rx devmem": "yes sets feature.rx-gro-hw on, feature.rx-ntuple-filter on, ring.tcp-data-split on",
			"rx zcrx":   "yes sets feature.rx-gro-hw on"},
			[]string{"ethtool -K zc1 rx-gro-hw on", "ethtool -K zc1 rx-ntuple-filter on", "ethtool -G zc1 tcp-data-split on"}, ""},
		{"zcnic-like-mlx5-flags", map[string]string{"rx devmem": "no zc1 has the private flag tx_port_ts",
			"rx zcrx": "no zc1 has the private flag tx_port_ts"},
			nil, "tx_port_ts off"},
		{"zcnic-like-bnxt", map[string]string{"tx devmem": "yes ", "rx devmem": "unknown bnxt_en tells only when memory is bound",
			"rx zcrx": "unknown sets ring.hds-thresh 0, ring.tcp-data-split on (it reads so, which does not tell whether it is configured)"},
			[]string{"ethtool -G zc1 hds-thresh 0", "ethtool -G zc1 tcp-data-split on"}, ""},
		{"zcnic-like-gve", map[string]string{"rx devmem": "yes sets feature.rx-ntuple-filter on, ring.tcp-data-split on"},
			[]string{"ethtool -K zc1 rx-ntuple-filter on", "ethtool -G zc1 tcp-data-split on"}, ""},
		{"zcnic-like-fbnic", map[string]string{"rx devmem": "yes sets ring.hds-thresh 0, ring.tcp-data-split on"},
			[]string{"ethtool -G zc1 hds-thresh 0", "ethtool -G zc1 tcp-data-split on"}, ""},
		{"zcnic-like-ice", map[string]string{"tx devmem": "no Driver does not support netmem TX", "rx devmem": "no its driver has no queue API",
			"rx zcrx": "yes without a NIC's queue the kernel copies"},
			nil, "its driver has no queue API"},
		{"zcnic", map[string]string{"rx zcrx": "yes sets ring.tcp-data-split on"}, []string{"ethtool -G zc1 tcp-data-split on"}, ""},
		{"veth", map[string]string{"tx devmem": "no ", "rx devmem": "no its driver has no queue API"}, nil, "its driver has no queue API"},
		{"qemu-igb", map[string]string{"tx devmem": "no Driver does not support netmem TX", "rx devmem": "no its driver has no queue API",
			"rx zcrx": "yes without a NIC's queue the kernel copies"}, nil, "its driver has no queue API"},
		{"qemu-vmxnet3", map[string]string{"tx devmem": "no Driver does not support netmem TX", "rx devmem": "no its driver has no queue API",
			"rx zcrx": "yes without a NIC's queue the kernel copies"}, nil, "its driver has no queue API"},
		{"qemu-virtio", map[string]string{"rx devmem": "no its driver has no queue API",
			"rx zcrx": "yes without a NIC's queue the kernel copies"}, nil, "its driver has no queue API"},
		{"qemu-e1000e", map[string]string{"tx devmem": "no Driver does not support netmem TX", "rx devmem": "no its driver has no queue API",
			"rx zcrx": "yes without a NIC's queue the kernel copies"}, nil, "its driver has no queue API"},
	} {
		from := captures.Load(t, c.nic)
		all := verdicts(from, from.Head.Interface)
		for engine, want := range c.verdicts {
			answer, reason, _ := strings.Cut(want, " ")
			if v := all[engine]; string(v.Answer) != answer || !strings.Contains(v.Reason, reason) {
				t.Errorf("%s: %s: %+v, want %s", c.nic, engine, v, want)
			}
		}
		fix, err := fixOf(from, from.Head.Interface)
		if !slices.Equal(fix, c.fix) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: --fix: %q, %v; want %q, %q", c.nic, fix, err, c.fix, c.err)
		}
	}
}

// An XDP program is in the way, and probe and probe --fix say so: no command of theirs
// takes it away.
func TestReplayXDP(t *testing.T) {
	const none, generic = "0c002b000500020000000000", "0c002b000500020002000000" // IFLA_XDP_ATTACHED
	text := captures.Text(t, "zcnic-like-mlx5")
	if !strings.Contains(text, none) {
		t.Fatal("the capture does not tell of XDP")
	}
	from, err := answers.Read("mlx5 with XDP", strings.NewReader(strings.Replace(text, none, generic, 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, engine := range []string{"rx devmem", "rx zcrx"} {
		v := verdicts(from, "zc1")[engine]
		if v.Answer != feature.No || !strings.Contains(v.Reason, "zc1 has an XDP program") ||
			!strings.Contains(v.Fix, "ip link set dev zc1 xdp off") {
			t.Errorf("%s: %+v", engine, v)
		}
	}
	if _, err := fixOf(from, "zc1"); fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "xdp off") {
		t.Errorf("--fix: %v", err)
	}
}

// What is known of a queue is in its line, and nothing of a NAPI that a driver does not
// tell of.
func TestReplayQueues(t *testing.T) {
	for nic, line := range map[string]string{
		"qemu-vmxnet3":    "queue rx-1  interrupt 34 on CPUs 0-1",
		"qemu-igb":        "queue tx-0  NAPI 8199 in softirq, interrupt 38 on CPUs 0-1",
		"zcnic-like-mlx5": "queue rx-0  NAPI ",
	} {
		from := captures.Load(t, nic)
		v, err := ringcfg.ShowFrom(from, from.Head.Interface)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := showView(&out, shown{View: v}); err != nil {
			t.Fatal(err)
		}
		if text := regexp.MustCompile(" {2,}").ReplaceAllString(out.String(), "  "); !strings.Contains(text, "\n"+line) {
			t.Errorf("%s: %s\nhas no %s", nic, text, line)
		}
	}
}

// The commands of probe --fix say which of them may be no change, and probe says what to
// try by the engine that was asked.
func TestReplayFix(t *testing.T) {
	from := captures.Load(t, "zcnic-like-bnxt")
	want, err := rx.Binding(from, "zc1")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := ringcfg.PlanFrom(from, want)
	if err != nil {
		t.Fatal(err)
	}
	r := fixed{Interface: "zc1", Driver: "bnxt_en", Changes: plan.Changes}
	for _, ch := range plan.Changes {
		r.Commands = append(r.Commands, ch.Command("zc1"))
	}
	var out strings.Builder
	r.show(&out)
	if text := "\nethtool -G zc1 hds-thresh 0\nethtool -G zc1 tcp-data-split on  # it reads so: this configures it"; !strings.Contains(out.String(), text) {
		t.Errorf("%s\nwant %s", out.String(), text)
	}
	all := verdicts(from, "zc1")
	for _, engine := range []string{"devmem", "zcrx"} {
		if v := all["rx "+engine]; v.Fix != "try: zcbench rx --rx "+engine {
			t.Errorf("%s: %q", engine, v.Fix)
		}
	}
}

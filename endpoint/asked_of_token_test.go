package endpoint

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"zcbench/power"
)

// A token is for measuring: it opens neither this host's files and commands, nor its
// network, nor interfaces that the run has nothing to do with.
func TestTokenIsForMeasuring(t *testing.T) {
	addr := server(t, &Agent{Token: strangeToken, RX: []Engine{plain{role: RX, options: MemoryOptions("64M", "")}}})
	c, err := dialServer(t, addr, strangeToken)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range power.List() {
		if kind.Local && !kind.AsUser {
			continue
		}
		spec := kind.Name + ":127.0.0.1/1?power=1"
		if _, err := c.watch(t.Context(), watch{Specs: []string{spec}, Lenient: true, Quiet: time.Second}); KindOf(err) != Denied {
			t.Errorf("meter %s: %v", spec, err)
		}
	}
	base := Prepare{
		Role: RX, Engine: "plain", Flows: 1, Length: 1000, Pattern: Pattern{Period: 1000}, Time: time.Second, Scope: ScopeThread,
		Settings: map[string]string{"mtu": "1500"}, Options: map[string]string{"mem": "udmabuf"},
	}
	for name, tc := range map[string]struct {
		change func(*Prepare)
		kind   Kind
		text   string
	}{
		"a program for core dumps": {func(p *Prepare) { p.Settings = map[string]string{"sysctl.kernel.core_pattern": "|/bin/sh"} }, Usage, "is none that zcbench sets"},
		"a program for modules":    {func(p *Prepare) { p.Optional = map[string]string{"sysctl.kernel.modprobe": "/bin/sh"} }, Usage, "is none that zcbench sets"},
		"a file above /proc/sys":   {func(p *Prepare) { p.Settings = map[string]string{"sysctl.net.ipv4.x/../../../../etc/shadow": "x"} }, Usage, "is none that zcbench sets"},
		"a setting of no family":   {func(p *Prepare) { p.Settings = map[string]string{"file./etc/passwd": "x"} }, Usage, "no setting is called"},
		"a sender":                 {func(p *Prepare) { p.Role, p.Host = TX, "127.0.0.1" }, Denied, "no sender"},
		"a descriptor":             {func(p *Prepare) { p.Options = map[string]string{"mem": "fd", "mem-fd": "0"} }, Denied, "descriptors"},
		"a run without end":        {func(p *Prepare) { p.Raw, p.Time = true, 0 }, Denied, "--raw"},
		"another interface":        {func(p *Prepare) { p.Interface = other(t) }, Denied, "does not carry this run"},
		"no interface":             {func(p *Prepare) { p.Interface = "nonesuch0" }, Usage, "no interface nonesuch0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := base
			tc.change(&p)
			if _, err := c.prepare(t.Context(), &p); KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %v of kind %s", err, KindOf(err))
			}
		})
	}
}

// other is an interface that loopback's addresses are not on.
func other(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		has := false
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			has = has || err == nil && p.Addr().IsLoopback()
		}
		if !has && i.Flags&net.FlagLoopback == 0 {
			return i.Name
		}
	}
	t.Skip("there is no interface but loopback")
	return ""
}

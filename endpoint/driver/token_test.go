package driver

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/power"
)

// A token is for measuring: it opens neither this host's files and commands, nor its
// network, nor interfaces that the run has nothing to do with.
func TestTokenIsForMeasuring(t *testing.T) {
	addr := server(t, &agent.Agent{Token: endpointtest.Token,
		RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX, Known: endpoint.MemoryOptions("64M", "")}}})
	c, err := dialServer(t, addr, endpointtest.Token)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range power.List() {
		if kind.Local && !kind.AsUser {
			continue
		}
		spec := kind.Name + ":127.0.0.1/1?power=1"
		if _, err := c.watch(t.Context(), wire.Watch{Specs: []string{spec}, Lenient: true, Quiet: time.Second}); fault.Of(err) != fault.Denied {
			t.Errorf("meter %s: %v", spec, err)
		}
	}
	base := wire.Prepare{
		Role: endpoint.RX, Engine: "plain", Flows: 1, Length: 1000, Pattern: endpoint.Pattern{Period: 1000}, Time: time.Second, Scope: wire.ScopeThread,
		Settings: map[string]string{"mtu": "1500"}, Options: map[string]string{"mem": "udmabuf"},
	}
	for name, tc := range map[string]struct {
		change func(*wire.Prepare)
		kind   fault.Kind
		text   string
	}{
		"a program for core dumps": {func(p *wire.Prepare) { p.Settings = map[string]string{"sysctl.kernel.core_pattern": "|/bin/sh"} },
			fault.Usage, "is none that zcbench sets"},
		"a program for modules": {func(p *wire.Prepare) { p.Optional = map[string]string{"sysctl.kernel.modprobe": "/bin/sh"} },
			fault.Usage, "is none that zcbench sets"},
		"a file above /proc/sys": {func(p *wire.Prepare) { p.Settings = map[string]string{"sysctl.net.ipv4.x/../../../../etc/shadow": "x"} },
			fault.Usage, "is none that zcbench sets"},
		"a setting of no family": {func(p *wire.Prepare) { p.Settings = map[string]string{"file./etc/passwd": "x"} }, fault.Usage,
			"no setting is called"},
		"a sender": {func(p *wire.Prepare) { p.Role, p.Host = endpoint.TX, "127.0.0.1" }, fault.Denied, "no sender"},
		"a descriptor": {func(p *wire.Prepare) { p.Options = map[string]string{"mem": "fd", "mem-fd": "0"} }, fault.Denied,
			"descriptors"},
		"a run without end": {func(p *wire.Prepare) { p.Raw, p.Time = true, 0 }, fault.Denied, "--raw"},
		"another interface": {func(p *wire.Prepare) { p.Interface = other(t) }, fault.Denied, "does not carry this run"},
		"no interface":      {func(p *wire.Prepare) { p.Interface = "nonesuch0" }, fault.Usage, "no interface nonesuch0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := base
			tc.change(&p)
			if _, err := c.prepare(t.Context(), &p); fault.Of(err) != tc.kind || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %v of kind %s", err, fault.Of(err))
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

package power

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zcbench/internal/fault"
	"zcbench/internal/testutil/tier"
)

func TestTarget(t *testing.T) {
	for _, c := range []struct{ address, host, port, path, option string }{
		{"plug", "plug", "80", "", ""},
		{"plug:8080/a/b%20c?x=1%262&y=MEAS:POW?", "plug", "8080", "a/b c", "1&2"},
		{"[fe80::1]:99", "fe80::1", "99", "", ""},
		{"[::1]", "::1", "80", "", ""},
		{"192.0.2.1/1", "192.0.2.1", "80", "1", ""},
	} {
		got, err := parseTarget("k", c.address, "80", "x", "y")
		if err != nil {
			t.Errorf("%s: %v", c.address, err)
			continue
		}
		if got.host != c.host || got.port != c.port || got.path != c.path || got.options["x"] != c.option || got.name != "k:"+c.address {
			t.Errorf("%s: %+v", c.address, got)
		}
	}
}

func TestTargetRefused(t *testing.T) {
	for address, says := range map[string]string{
		"":                          "needs a host",
		"/x":                        "needs a host",
		":80":                       "needs a host",
		"admin:hunter2@bmc":         "command line",
		"hunter2@bmc/1":             "command line",
		"admin:hunter2":             "no port",
		"bmc:0":                     "no port",
		"bmc?password=hunter2":      "command line",
		"bmc?community=hunter2":     "command line",
		"bmc?auth-password=hunter2": "command line",
		"bmc?colour=blue":           "there are: x auth",
		"bmc?x":                     "no value",
		"bmc?x=1&x=2":               "twice",
		"bmc?x=%zz":                 "bad escape",
		"bmc?x=a%0ab":               "bad escape",
		"a b":                       "needs a host",
		"::1":                       "", // IPv6 without brackets is a host: nothing else can be meant
	} {
		_, err := parseTarget("k", address, "80", "x")
		if says == "" {
			if err != nil {
				t.Errorf("%s: %v", address, err)
			}
			continue
		}
		if fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", address, err, says)
		}
	}
}

// What looks like USER:PASSWORD@HOST is no address to be read on HOST.
func TestDescribeRefusesSecrets(t *testing.T) {
	for _, spec := range []string{"redfish:admin:hunter2", "ipmi:hunter2@bmc", "snmp+1s:u:hunter2/apc"} {
		if _, err := Describe(spec); fault.Of(err) != fault.Usage || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", spec, err)
		}
	}
	for _, spec := range []string{"redfish:bmc:443/1U?ca=a@b", "exec:a:b@c", "rapl:"} {
		if _, err := Describe(spec); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

// secretFile is a file of credentials that only its owner reads.
func secretFile(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSecrets(t *testing.T) {
	t.Setenv("ZCBENCH_METER_USER", "env")
	t.Setenv("ZCBENCH_METER_AUTH_PASSWORD", "hunter2")
	got, err := parseTarget("k", "bmc", "80")
	if err != nil || got.secrets["user"] != "env" || got.secrets["auth-password"] != "hunter2" {
		t.Errorf("from the environment: %v, %v", got, err)
	}
	file := secretFile(t, "# ours", "user=u", "", "password = a=b c ")
	got, err = parseTarget("k", "bmc/1?x=1&auth="+file+"&y=2", "80", "x", "y")
	if err != nil || got.secrets["user"] != "u" || got.secrets["password"] != "a=b c" || len(got.secrets) != 2 {
		t.Fatalf("from a file: %v, %v", got, err)
	}
	if got.name != "k:bmc/1?x=1&y=2" {
		t.Errorf("its name is %s", got.name)
	}
	for says, file := range map[string]string{
		"line 2":      secretFile(t, "user=u", "hunter2"),
		"line 1":      secretFile(t, "hunter2=1"),
		"credentials": "/nonexistent/file",
	} {
		if _, err := parseTarget("k", "bmc?auth="+file, "80"); fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), says) ||
			strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", says, err)
		}
	}
	open := secretFile(t, "password=hunter2")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := parseTarget("k", "bmc?auth="+open, "80"); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("a file that all can read: %v", err)
	}
}

func TestQuantity(t *testing.T) {
	for s, want := range map[string]float64{"kWh": 3.6e6, "0.1kWh": 360000, "0.01kWh": 36000, "Wmin": 60, "10J": 10, "0.5Ws": 0.5,
		"mWh": 3.6} {
		if got, err := quantity(s, joulesIn); err != nil || got != want {
			t.Errorf("%s is %v J (%v), want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "5", "W", "-1J", "0J", "kwh", "1.2.3J", "1e3J"} {
		if got, err := quantity(s, joulesIn); fault.Of(err) != fault.Usage {
			t.Errorf("%q is %v J", s, got)
		}
	}
}

// What takes a question and never answers is an error for every kind, within
// the time-outs of each.
func TestSilence(t *testing.T) {
	tier.Long(t)
	t.Parallel()
	tcp, _ := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	auth := secretFile(t, "user=reader", "password=hunter2", "auth-password=hunter2hunter2")
	t.Run("all", func(t *testing.T) {
		for _, spec := range []string{
			"scpi:" + tcp, "scpi:" + tcp + "?power=P?", "redfish:" + tcp + "?insecure=true", "redfish:" + tcp + "?plain=true", "shelly:" +
				tcp, "tasmota:" + tcp, "mqtt:" + tcp + "/t",
			"modbus:" + tcp + "?power=1:int16", "snmp:" + udp.LocalAddr().String() + "/apc", "snmp:" + udp.LocalAddr().String() +
				"/apc?version=3", "ipmi:" + udp.LocalAddr().String(),
		} {
			t.Run(spec, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				separator := "?"
				if strings.Contains(spec, "?") {
					separator = "&"
				}
				m, err := Open(ctx, spec+separator+"auth="+auth)
				if err == nil { // those that ask nothing until they are read
					_, err = m.Read(ctx)
					m.Close()
				}
				if err == nil || fault.Of(err) == fault.Usage || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
					t.Errorf("silence is: %v", err)
				}
			})
		}
	})
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"h:1/p?x=1", "[::1]:2", "u:p@h", "h?auth=/dev/null", "h?x=%41&y=?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if strings.Contains(address, "auth") {
			return // it names a file
		}
		got, err := parseTarget("k", address, "80", "x", "y")
		if err != nil {
			if fault.Of(err) != fault.Usage {
				t.Errorf("%q: %v", address, err)
			}
			return
		}
		if got.host == "" || strings.Contains(got.host, "@") || got.port == "" {
			t.Errorf("%q: %+v", address, got)
		}
		again, err := parseTarget("k", strings.TrimPrefix(got.name, "k:"), "80", "x", "y")
		if err != nil || again.host != got.host || again.path != got.path || again.options["x"] != got.options["x"] {
			t.Errorf("%q has the name %q, which is another: %+v, %v", address, got.name, again, err)
		}
	})
}

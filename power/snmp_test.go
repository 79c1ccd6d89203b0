package power

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"zcbench/internal/fault"
)

// program finds a server in the usual folders for such too, or skips the test.
func program(t *testing.T, name, debian string) string {
	t.Helper()
	for _, n := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(n); err == nil {
			return p
		}
	}
	t.Skipf("%s is not installed (on Debian: apt-get install %s)", name, debian)
	return ""
}

// background runs a server until stopped or the test ends, and shows what it
// said if the test failed.
func background(t *testing.T, env []string, name string, args ...string) (stop func()) {
	t.Helper()
	var said bytes.Buffer
	c := exec.Command(name, args...)
	c.Env, c.Stdout, c.Stderr = append(os.Environ(), env...), &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			c.Process.Kill()
			c.Wait()
		})
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s said: %s", name, said.String())
		}
	})
	return stop
}

// freePort finds a port that nobody uses, of "udp" or "tcp".
func freePort(t *testing.T, network string) string {
	t.Helper()
	var addr net.Addr
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		addr = c.LocalAddr()
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addr = l.Addr()
	}
	_, port, _ := net.SplitHostPort(addr.String())
	return port
}

// eventually repeats what fails while a server starts.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// snmpd is net-snmp's agent with the objects of three makes of PDU.
func snmpd(t *testing.T) (host string) {
	t.Helper()
	path := program(t, "snmpd", "snmpd")
	dir := t.TempDir()
	port := freePort(t, "udp")
	// What the script below counts up, as a meter does.
	script := filepath.Join(dir, "counter")
	if err := os.WriteFile(script, []byte(`#!/bin/sh
n=4294967275
while read -r word; do
	case $word in
	PING) echo PONG ;;
	get) read -r oid; n=$(( (n + 3) % 4294967296 )); echo "$oid"; echo counter; echo $n ;;
	*) read -r oid; echo NONE ;;
	esac
done
`), 0o755); err != nil {
		t.Fatal(err)
	}
	conf := []string{
		"agentaddress udp:127.0.0.1:" + port,
		"rocommunity hunter2 127.0.0.1",
		"createUser reader SHA-256 authhunter2 AES privhunter2",
		"createUser plain SHA authhunter3",
		"rouser reader priv",
		"rouser plain auth",
		"pass_persist .1.3.6.1.4.1.8072.9999.1 " + script,
	}
	object := func(oid, kind string, value any) {
		conf = append(conf, fmt.Sprintf("override %s %s %v", oid, kind, value))
	}
	object(rPDU2DeviceStatusPower+".1", "integer", 37)
	object(rPDU2DeviceStatusEnergy+".1", "integer", 1234)
	object(rPDU2DeviceStatusPower+".2", "integer", -1)
	object(rPDU2DeviceStatusPower+".4", "integer", 12) // without a counter
	object(rPDU2OutletMeteredStatusPower+".5", "integer", 123)
	object(rPDU2OutletMeteredStatusEnergy+".5", "integer", 7)
	object(rPDUIdentDevicePowerWatts, "integer", 807)
	for _, s := range []struct {
		values, config string
		index          string
		watts, wh      int
		decimals       int
		available      int
	}{
		{measurementsInletSensor, inletSensor, "1.1", 4120, 987654, 1, 1},
		{measurementsOutletSensor, outletSensor, "1.7", 86, 1500, 0, 1},
		{measurementsOutletSensor, outletSensor, "1.8", 0, 0, 0, 2},
	} {
		power, energy := fmt.Sprintf("%s.%d", s.index, activePower), fmt.Sprintf("%s.%d", s.index, activeEnergy)
		object(s.config+".6."+power, "integer", unitWatt)
		object(s.config+".7."+power, "uinteger", s.decimals)
		object(s.config+".6."+energy, "integer", unitWattHour)
		object(s.config+".7."+energy, "uinteger", 0)
		object(s.values+".2."+power, "integer", s.available)
		object(s.values+".2."+energy, "integer", s.available)
		object(s.values+".4."+power, "uinteger", s.watts)
		object(s.values+".4."+energy, "uinteger", s.wh)
	}
	object(".1.3.6.1.4.1.8072.9999.2.0", "octet_str", `"12.75"`)
	object(".1.3.6.1.4.1.8072.9999.3.0", "uinteger", uint32(1<<32-1))
	file := filepath.Join(dir, "snmpd.conf")
	if err := os.WriteFile(file, []byte(strings.Join(conf, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	background(t, []string{"SNMP_PERSISTENT_DIR=" + dir, "MIBS="}, path, "-f", "-Lo", "-C", "-c", file, "-I", "-smux", "-p",
		filepath.Join(dir, "pid"))
	host = "127.0.0.1:" + port
	auth := secretFile(t, "community=hunter2")
	eventually(t, func() error {
		m, err := Open(t.Context(), "snmp:"+host+"/apc?auth="+auth)
		if err == nil {
			m.Close()
		}
		return err
	})
	return host
}

func TestSNMP(t *testing.T) {
	host := snmpd(t)
	t.Setenv("ZCBENCH_METER_COMMUNITY", "hunter2")
	for _, c := range []struct {
		address       string
		watts, joules float64
		resolution    float64
	}{
		{"/apc", 370, 123.4 * 3.6e6, 10},
		{"/apc?pdu=4", 120, none, 10},
		{"/apc?pdu=4&version=1", 120, none, 10},
		{"/apc/5", 123, 0.7 * 3.6e6, 1},
		{"/apc-rpdu?version=1", 807, none, 1},
		{"/raritan", 412, 987654 * 3600, 0.1},
		{"/raritan/7?version=1", 86, 1500 * 3600, 1},
		{"?power=1.3.6.1.4.1.8072.9999.2.0&power-unit=10mW", 0.1275, none, 0},
	} {
		m := open(t, "snmp:"+host+c.address)
		reads(t, m, c.watts, c.joules)
		if i := m.Info(); i.Resolution != c.resolution || strings.Contains(fmt.Sprint(i), "hunter2") {
			t.Errorf("%s is %+v", c.address, i)
		}
	}
	for _, address := range []string{"/apc?pdu=2", "/raritan/8", "?power=1.3.6.1.4.1.8072.9999.3.0"} {
		if _, err := open(t, "snmp:"+host+address).Read(t.Context()); !errors.Is(err, errNoValue) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"/apc?pdu=3", "/apc?pdu=3&version=1", "/apc/6", "/raritan/9", "", "?power=sysUpTime", "/eaton",
		"/apc?version=4", "/apc?pdu=x", "/apc-rpdu?pdu=2", "/apc/x"} {
		if _, err := Open(t.Context(), "snmp:"+host+address); fault.Of(err) != fault.Usage {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// A counter of 32 bits that passes its end between two readings.
func TestSNMPCounter(t *testing.T) {
	host := snmpd(t)
	t.Setenv("ZCBENCH_METER_COMMUNITY", "hunter2")
	m := open(t, "snmp:"+host+"?energy=.1.3.6.1.4.1.8072.9999.1.0&energy-unit=mWh")
	if got, want := m.Info().Range, float64(1<<32)*3.6; got != want {
		t.Fatalf("it wraps at %v J, want %v", got, want)
	}
	var last float64
	wrapped := false
	for range 12 {
		r, err := m.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if last != 0 {
			d := *r.Joules - last
			if d < 0 {
				d += m.Info().Range
				wrapped = true
			}
			if d < 10.799 || d > 10.801 {
				t.Errorf("a step of %v J, want 10.8", d)
			}
		}
		last = *r.Joules
	}
	if !wrapped {
		t.Error("it did not come to its end")
	}
}

func TestSNMPv3(t *testing.T) {
	host := snmpd(t)
	auth := func(lines ...string) string { return "/apc?version=3&auth=" + secretFile(t, lines...) }
	for _, address := range []string{
		auth("user=reader", "auth-protocol=SHA-256", "auth-password=authhunter2", "privacy-protocol=AES", "privacy-password=privhunter2"),
		auth("user=plain", "auth-password=authhunter3"),
	} {
		reads(t, open(t, "snmp:"+host+address), 370, 123.4*3.6e6)
	}
	for says, address := range map[string]string{
		"takes a user":          auth(""),
		"needs an auth":         auth("user=reader", "privacy-password=x"),
		"auth-protocol is one":  auth("user=reader", "auth-protocol=ROT13", "auth-password=x"),
		"user":                  auth("user=reader", "auth-protocol=SHA-256", "auth-password=wronghunter2"),
		"127.0.0.1":             auth("user=nobody", "auth-password=wronghunter2"),
		"privacy-protocol is o": auth("user=reader", "auth-password=x", "privacy-protocol=ROT13", "privacy-password=x"),
	} {
		_, err := Open(t.Context(), "snmp:"+host+address)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func FuzzSNMPValue(f *testing.F) {
	f.Add([]byte("12.5"), int64(-1))
	f.Add([]byte("NaN"), int64(1<<32-1))
	f.Fuzz(func(t *testing.T, text []byte, n int64) {
		values := []gosnmp.SnmpPDU{{Type: gosnmp.OctetString, Value: text}, {Type: gosnmp.Integer, Value: int(n)},
			{Type: gosnmp.Counter64, Value: uint64(n)},
			{Type: gosnmp.OpaqueDouble, Value: float64(n) * 1e300}, {Type: gosnmp.Null}, {Type: gosnmp.IPAddress, Value: string(text)}}
		for _, v := range values {
			w, err := snmpValue(v, 0.1, consumed)
			if err == nil {
				sane(t, Reading{Watts: w}, nil)
			} else if !errors.Is(err, errNoValue) {
				t.Errorf("%v: %v", v, err)
			}
		}
	})
}

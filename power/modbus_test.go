package power

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zcbench/internal/fault"
)

// pymodbus is the Modbus server of that name with a meter's registers.
func pymodbus(t *testing.T, registers ...string) (host string) {
	t.Helper()
	const python = "/usr/bin/python3" // the one that the system's packages are for
	if err := exec.Command(python, "-c", "import pymodbus.server").Run(); err != nil {
		t.Skipf("pymodbus is not installed (on Debian: apt-get install python3-pymodbus python3-serial-asyncio): %v", err)
	}
	port := freePort(t, "tcp")
	background(t, nil, python, append([]string{"testdata/modbus.py", port}, registers...)...)
	host = "127.0.0.1:" + port
	eventually(t, func() error {
		c, err := net.Dial("tcp", host)
		if err == nil {
			c.Close()
		}
		return err
	})
	return host
}

func TestModbus(t *testing.T) {
	t.Parallel()
	host := pymodbus(t,
		"input:52:42cf:8f5c", "input:342:4145:3333", // 103.78, 12.325 as float32: an Eastron SDM630's
		"holding:10:04d2", "holding:20:0001:86a0", // 1234; 100000
		"holding:30:86a0:0001", "holding:40:0100:a086", "holding:50:a086:0100", // 100000 in the other orders
		"holding:60:ff9c", "holding:61:ffff", "holding:62:8000", "holding:70:ffff:ffff", "holding:72:7fc0:0000",
		"holding:80:0000:0000:0000:03e8", "holding:90:405f:4000:0000:0000", // 1000; 125 as float64
	)
	for _, c := range []struct {
		options       string
		watts, joules float64
		wrap          float64
	}{
		{"power=input:0x34:float32&energy=input:342:float32&energy-unit=kWh", float64(math.Float32frombits(0x42cf8f5c)),
			float64(math.Float32frombits(0x41453333)) * 3.6e6, 0},
		{"power=10:uint16&power-unit=0.1W", 123.4, none, 0},
		{"power=holding:10:int16&energy=20:uint32&energy-unit=0.01kWh", 1234, 3.6e9, (1 << 32) * 36000},
		{"energy=30:uint32:cdab&energy-unit=Wh", none, 3.6e8, (1 << 32) * 3600},
		{"energy=40:int32:badc&energy-unit=J", none, 100000, 1 << 31},
		{"energy=50:uint32:dcba&energy-unit=J&wrap=99999999Wh", none, 100000, 99999999 * 3600},
		{"energy=80:uint64&energy-unit=J&power=90:float64", 125, 1000, 0},
	} {
		m := open(t, "modbus:"+host+"?unit=7&"+c.options)
		reads(t, m, c.watts, c.joules)
		if i := m.Info(); i.Range != c.wrap {
			t.Errorf("%s wraps at %v J, want %v", c.options, i.Range, c.wrap)
		}
	}
	for _, options := range []string{"power=60:int16", "power=61:uint16", "power=62:int16", "power=70:uint32",
		"energy=70:uint32&energy-unit=Wh", "power=72:float32"} {
		if _, err := open(t, "modbus:"+host+"?unit=7&"+options).Read(t.Context()); !errors.Is(err, errNoValue) {
			t.Errorf("%s: %v", options, err)
		}
	}
	for _, options := range []string{"", "power=1000:int16&unit=7", "power=1:int8", "power=70000:int16", "power=1", "power=coil:1:int16",
		"power=1:int16:acbd", "power=1:int16&unit=256",
		"power=1:int16&wrap=1Wh", "power=1:int16&power-unit=Wh", "energy=20:uint32&unit=7", "map=/nonexistent"} {
		if _, err := Open(t.Context(), "modbus:"+host+"?"+options); fault.Of(err) != fault.Usage {
			t.Errorf("%s: %v", options, err)
		}
	}

	file := filepath.Join(t.TempDir(), "map")
	text := "# ours\nunit = 7\npower = input:0x34:float32\n\nenergy=10:uint16\nenergy-unit=Wh\ninterval=200ms\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m := open(t, "modbus:"+host+"?map="+file+"&energy-unit=kWh")
	reads(t, m, float64(math.Float32frombits(0x42cf8f5c)), 1234*3.6e6)
	if i := m.Info(); i.Interval != 200*time.Millisecond {
		t.Errorf("%+v", i)
	}
	if err := os.WriteFile(file, []byte("unit=7\npassword=hunter2"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "modbus:"+host+"?map="+file); fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), "line 2") ||
		strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a bad map: %v", err)
	}
}

// A meter that drops its connection.
func TestModbusReconnects(t *testing.T) {
	t.Parallel()
	host := pymodbus(t, "holding:10:04d2")
	proxy, hangUp := serve(t, func(c net.Conn) {
		to, err := net.Dial("tcp", host)
		if err != nil {
			return
		}
		defer to.Close()
		go func() {
			io.Copy(to, c)
			to.Close()
		}()
		io.Copy(c, to)
	})
	m := open(t, "modbus:"+proxy+"?unit=7&power=10:int16")
	for range 3 {
		reads(t, m, 1234, none)
		hangUp()
	}
}

func FuzzModbusRegister(f *testing.F) {
	f.Add("input:0x34:float32:cdab", uint64(0x42cf8f5c))
	f.Add("3:int16", uint64(0x8000))
	f.Fuzz(func(t *testing.T, text string, bits uint64) {
		r, err := parseRegister(text)
		if err != nil {
			if fault.Of(err) != fault.Usage {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		var words []uint16
		for range registerKinds[r.kind] {
			words = append(words, uint16(bits))
			bits >>= 16
		}
		v, err := r.decode(words)
		if err != nil && !errors.Is(err, errNoValue) || math.IsNaN(v) || math.IsInf(v, 0) {
			t.Errorf("%q of %x is %v, %v", text, words, v, err)
		}
		if _, err := r.decode(append(words, 0)); err == nil {
			t.Errorf("%q took too much", fmt.Sprint(words))
		}
	})
}

package ringcfg

import (
	"strings"
	"testing"
)

// CPUs that cannot be are bad input, and masks are as the kernel writes them.
func TestParseQueue(t *testing.T) {
	h := machine(t, map[string]string{"sys/devices/system/cpu/possible": "0-2\n"})
	now := Settings{"queue.rx-0.rps-cpus": "0", "queue.tx-0.xps-cpus": "00000000,00000000", "queue.tx-0.xps-rxqs": "00"}
	for _, c := range []struct{ name, value, want, says string }{
		{"queue.rx-0.rps-cpus", "7", "7", ""},
		{"queue.rx-0.rps-cpus", "cpus 0,2", "5", ""},
		{"queue.rx-0.rps-cpus", "ff", "", "there is no CPU 3, the last is 2"},
		{"queue.rx-0.rps-cpus", "cpus 3", "", "there is no CPU 3"},
		{"queue.rx-0.rps-cpus", "x", "", "mask in hexadecimal"},
		{"queue.rx-0.rps-cpus", "", "", "mask in hexadecimal"},
		{"queue.tx-0.xps-cpus", "3", "00000000,00000003", ""},
		{"queue.tx-0.xps-cpus", "1,00000000", "", "there is no CPU 32"},
		{"queue.tx-0.xps-rxqs", "8", "08", ""},
		{"queue.rx-0.rps-flow-cnt", "256", "256", ""},
		{"queue.rx-0.rps-flow-cnt", "99999999999", "", "at most 2147483647"},
		{"irq.rx-0", "0-1", "0-1", ""},
		{"irq.rx-0", "2,0,1,1", "0-2", ""},
		{"irq.rx-0", "3", "", "there is no CPU 3"},
		{"irq.rx-0", "all", "", "not a list"},
	} {
		f, _, err := familyOf(c.name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.parse(h, now, c.name, c.value)
		if got != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s=%s: %q, %v; want %q, %q", c.name, c.value, got, err, c.want, c.says)
		}
	}
}

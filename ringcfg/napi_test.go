package ringcfg

import "testing"

// Threaded NAPI is named, whatever number the kernel has for it.
func TestThreaded(t *testing.T) {
	for _, c := range []struct{ name, value, want, kernel string }{
		{"napi.threaded", "on", "on", "1"}, {"napi.threaded", "0", "off", "0"}, {"napi.rx-0.threaded", "busy-poll", "busy-poll", "2"},
		{"napi.rx-0.threaded", "2", "busy-poll", "2"}, {"napi.defer-hard-irqs", "2", "2", "2"},
	} {
		got, err := parseNAPI(nil, nil, c.name, c.value)
		if err != nil || got != c.want {
			t.Errorf("%s=%s: %q, %v", c.name, c.value, got, err)
		}
		if n := threadedNumber(got); n != c.kernel {
			t.Errorf("%s=%s: the kernel is told %q", c.name, got, n)
		}
	}
	for name, value := range map[string]string{"napi.threaded": "busy-poll", "napi.rx-0.threaded": "maybe", "napi.tx-1.threaded": "3"} {
		if got, err := parseNAPI(nil, nil, name, value); err == nil {
			t.Errorf("%s=%s became %q", name, value, got)
		}
	}
}

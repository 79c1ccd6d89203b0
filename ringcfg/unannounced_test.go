package ringcfg

import (
	"slices"
	"testing"
)

// What is changed by hand of what nobody tells of is in the next reading, by its name.
func TestUnannounced(t *testing.T) {
	p := pair(t)
	e := &p.RX
	in(t, e, func() error {
		before, err := Unannounced(e.Interface)
		if err != nil {
			return err
		}
		same, err := Unannounced(e.Interface)
		if err != nil || len(before.Changed(same)) > 0 {
			t.Errorf("nothing was changed: %v, %v", before.Changed(same), err)
		}
		h, err := here(e.Interface)
		if err != nil {
			return err
		}
		defer h.close()
		set := Settings{"queue.rx-0.rps-cpus": "1", "napi.gro-flush-timeout": "20000", "sysctl.net.ipv4.tcp_autocorking": "0"}
		var want []Change
		for _, name := range set.names() {
			f, _, err := familyOf(name)
			if err != nil {
				return err
			}
			if before[name] == "" {
				t.Logf("%s is not here", name)
				continue
			}
			want = append(want, Change{name, before[name], set[name]})
			if err := f.write(h, Settings{name: set[name]}); err != nil {
				return err
			}
		}
		after, err := Unannounced(e.Interface)
		if got := before.Changed(after); err != nil || !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
		return nil
	})
}

package main

import (
	"maps"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"zcbench/internal/fault"
	"zcbench/rx"
)

// TestOptionFlags: a flag of an option is that option, for engines that have
// it; for others, and with a bad value, it is bad usage.
func TestOptionFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want map[string]string
		say  string // instead
	}{
		{"--rx zcrx", nil, ""},
		{"--rx zcrx --zcrx-area huge --rx-buf-len 32K --rq-entries 4096 --cq-entries 16", map[string]string{"area": "huge", "rx-buf-len": "32K", "rq-entries": "4096", "cq-entries": "16"}, ""},
		{"--mode iouring --wait-nr 8 --min-wait-us 50 --busy-poll 20", map[string]string{"wait-nr": "8", "min-wait-us": "50", "busy-poll": "20"}, ""},
		{"--rx uring --wait-nr 8 --busy-poll 20", map[string]string{"wait-nr": "8", "busy-poll": "20"}, ""},
		{"--rx zcrx --wait-nr 8 --rx-opt wait-nr=4,rings=2", map[string]string{"wait-nr": "4", "rings": "2"}, ""},
		{"--rx uring --cq-entries 8", nil, "--cq-entries"},
		{"--rx baseline --busy-poll 20", nil, "--busy-poll"},
		{"--rx devmem --zcrx-area huge", nil, "--zcrx-area"},
		{"--rx zcrx --zcrx-area small", nil, "small"},
		{"--rx zcrx --wait-nr 65537", nil, "wait-nr"},
		{"--wait-nr 8", nil, "--rx"},
	} {
		var r runFlags
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		r.add(f)
		if err := f.Parse(strings.Fields(c.args)); err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		err := r.check()
		if c.say != "" {
			if fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), c.say) {
				t.Errorf("%s: %v, want a usage error about %s", c.args, err, c.say)
			}
			continue
		}
		if err != nil || !maps.Equal(r.rxOpts, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.args, r.rxOpts, err, c.want)
		}
	}
	// The table names what the engine has.
	for _, o := range optionFlags {
		if !hasOption(rx.ZCRX(), o.option) {
			t.Errorf("--%s: zcrx has no option %s", o.flag, o.option)
		}
	}
}

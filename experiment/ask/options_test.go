package ask

import (
	"maps"
	"strings"
	"testing"

	"zcbench/endpoint"
	"zcbench/internal/fault"
	"zcbench/rx"
	"zcbench/tx"
)

// known are engines to name.
var known = Known{
	RX: []endpoint.Engine{rx.Baseline(), rx.Devmem(), rx.Uring(), rx.ZCRX()},
	TX: []endpoint.Engine{tx.Baseline(), tx.Devmem(), tx.SendZC()},
}

// TestOptionFlags: a flag of an option is that option, for engines that have
// it; for others, and with a bad value, it is bad usage.
func TestOptionFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want map[string]string
		say  string // instead
	}{
		{"--rx zcrx", nil, ""},
		{"--rx zcrx --zcrx-area huge --rx-buf-len 32K --rq-entries 4096 --cq-entries 16", map[string]string{"area": "huge", "rx-buf-len": "32K",
			"rq-entries": "4096", "cq-entries": "16"}, ""},
		{"--mode iouring --wait-nr 8 --min-wait-us 50 --busy-poll 20", map[string]string{"wait-nr": "8", "min-wait-us": "50", "busy-poll": "20"},
			""},
		{"--rx uring --wait-nr 8 --busy-poll 20", map[string]string{"wait-nr": "8", "busy-poll": "20"}, ""},
		{"--rx zcrx --wait-nr 8 --rx-opt wait-nr=4,rings=2", map[string]string{"wait-nr": "4", "rings": "2"}, ""},
		{"--rx uring --cq-entries 8", nil, "--cq-entries"},
		{"--rx baseline --busy-poll 20", nil, "--busy-poll"},
		{"--rx devmem --zcrx-area huge", nil, "--zcrx-area"},
		{"--rx zcrx --zcrx-area small", nil, "small"},
		{"--rx zcrx --wait-nr 65537", nil, "wait-nr"},
		{"--wait-nr 8", nil, "--rx"},
	} {
		r := New()
		words := strings.Fields(c.args)
		for i := 0; i < len(words); i += 2 {
			f, _ := Lookup(strings.TrimPrefix(words[i], "--"))
			if err := f.set(r, words[i+1:i+2]); err != nil {
				t.Fatalf("%s: %v", c.args, err)
			}
		}
		err := known.Check(r)
		if c.say != "" {
			if fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), c.say) {
				t.Errorf("%s: %v, want a usage error about %s", c.args, err, c.say)
			}
			continue
		}
		if err != nil || !maps.Equal(r.RXOptions, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.args, r.RXOptions, err, c.want)
		}
	}
	// The table names what the engine has.
	for _, f := range Fields() {
		if f.option != "" && !hasOption(rx.ZCRX(), f.option) {
			t.Errorf("--%s: zcrx has no option %s", f.Name, f.option)
		}
	}
}

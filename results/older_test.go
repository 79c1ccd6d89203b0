package results

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Older records have in settings what is no setting: it neither identifies a
// cell nor differs between repeats.
func TestReadMovesOutOfSettings(t *testing.T) {
	const old = `"settings":{"length":4096,"command":"zcbench local","tuned":{"rx":["mtu: 1500 → 4148","gro: on → off"]}}`
	tuned := map[string][]string{"rx": {"mtu: 1500 → 4148", "gro: on → off"}}
	for _, c := range []struct {
		name, line, command string
		tuned               map[string][]string
		settings            map[string]any
	}{
		{"both", old, "zcbench local", tuned, map[string]any{"length": 4096.}},
		{"both, once each", old + `,"command":"newer","tuned":{"tx":["a"]}`, "newer", map[string][]string{"tx": {"a"}},
			map[string]any{"length": 4096.}},
		{"the command alone", `"settings":{"command":"x"}`, "x", nil, map[string]any{}},
		{"none", `"settings":{"length":1},"command":"y","tuned":{"rx":["b"]}`, "y", map[string][]string{"rx": {"b"}},
			map[string]any{"length": 1.}},
		{"settings of that name", `"settings":{"command":7,"tuned":"yes"}`, "", nil, map[string]any{"command": 7., "tuned": "yes"}},
	} {
		text := []byte(`{"schema":"zcbench/1","id":"a",` + c.line + `}`)
		whole, err := decode(text)
		if err != nil {
			t.Fatal(err)
		}
		var p Pool
		for range 2 { // the second comes from the pool
			lean, _, err := p.Lean(Line{1, 0, text})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []Record{whole, lean} {
				if r.Command != c.command || !reflect.DeepEqual(r.Tuned, c.tuned) || !reflect.DeepEqual(r.Settings, c.settings) {
					t.Errorf("%s: command %q, tuned %v, settings %v", c.name, r.Command, r.Tuned, r.Settings)
				}
			}
		}
		path := filepath.Join(t.TempDir(), "r.jsonl")
		if err := Append(path, whole); err != nil {
			t.Fatal(err)
		}
		all, bad, err := Load(path)
		if err != nil || len(bad) > 0 || !reflect.DeepEqual(all[0].Tuned, c.tuned) || all[0].Command != c.command {
			t.Errorf("%s: stored again: %+v %v %v", c.name, all, bad, err)
		}
	}
	if b, err := (Record{}).MarshalJSON(); err != nil || strings.Contains(string(b), "tuned") || strings.Contains(string(b), "command") {
		t.Errorf("of a record without: %s %v", b, err)
	}
}

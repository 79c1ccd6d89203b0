package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

const leanLine = `{"schema":"zcbench/1","id":"a","facts":{"rx":{"kernel":{"release":"6.12"},"n":1},"tx":{}},"rx":{"engine":"mmap","cpus":[{"cpu":1}],"profile":{"event":"cycles"},"counters":{"samples":7}},"settings":{"length":4096,"x":"\\\"}"},"samples":[{"end":"rx","gbps":3}],"warnings":["samples"]}`

func TestLean(t *testing.T) {
	for _, c := range []struct{ name, line string }{
		{"whole", leanLine},
		{"spaces", strings.ReplaceAll(leanLine, ":", " : ")},
		{"null", `{"schema":"zcbench/1","facts":null,"settings":null,"samples":null}`},
		{"nothing", `{"schema":"zcbench/1"}`},
		{"empty", `{}`},
		{"of an older version", `{"schema":"zcbench/1","settings":{"a":1,"command":"zcbench local","tuned":{"rx":["mtu: \"1500\" → \"4148\""]}}}`},
		{"key twice", `{"schema":"zcbench/1","settings":{"a":1},"settings":{"b":2}}`},
		{"another case", `{"schema":"zcbench/1","Settings":{"a":1},"SAMPLES":[{}]}`},
		{"escaped key", `{"schema":"zcbench/1","s\u0065ttings":{"a":1}}`},
		{"torn in samples", leanLine[:strings.Index(leanLine, `"gbps":3`)]},
		{"torn in facts", leanLine[:strings.Index(leanLine, `6.12`)]},
		{"wrong in samples", strings.Replace(leanLine, `"gbps":3`, `"gbps":3x`, 1)},
		{"text in samples", strings.Replace(leanLine, `"gbps":3`, `"gbps":"x"`, 1)},
		{"below zero in samples", strings.Replace(leanLine, `"gbps":3`, `"gbps":-3`, 1)},
		{"series", strings.Replace(leanLine, `"gbps":3`, `"series" : { "a" : 1 , "b\\"":-2.5e+3, "c":null } `, 1)},
		{"no series", strings.Replace(leanLine, `"gbps":3`, `"series":{},"gbps":3`, 1)},
		{"text in series", strings.Replace(leanLine, `"gbps":3`, `"series":{"a":1,"b":"x"}`, 1)},
		{"list for series", strings.Replace(leanLine, `"gbps":3`, `"series":[1]`, 1)},
		{"too much in series", strings.Replace(leanLine, `"gbps":3`, `"series":{"a":1e999}`, 1)},
		{"text in flows", `{"schema":"zcbench/1","flows":[{"rx":{"bytes":"x"}}]}`},
		{"zeros in samples", strings.Replace(leanLine, `"gbps":3`, "\x00\x00", 1)},
		{"facts of another type", `{"schema":"zcbench/1","facts":[]}`},
		{"settings of another type", `{"schema":"zcbench/1","settings":7}`},
		{"newer", strings.Replace(leanLine, "zcbench/1", "zcbench/2", 1)},
		{"newer, with other types", `{"schema":"zcbench/2","facts":7,"settings":[1]}`},
		{"nonsense", "hello"}, {"two", "{}{}"}, {"colon", `{"samples" 7}`}, {"comma", `{"samples":,}`}, {"bracket", `{"facts":]}`},
	} {
		t.Run(c.name, func(t *testing.T) { sameLean(t, []byte(c.line)) })
	}
}

func TestPoolHoldsFactsOnce(t *testing.T) {
	var p Pool
	a, x, err := p.Lean(Line{1, 0, []byte(leanLine)})
	if err != nil {
		t.Fatal(err)
	}
	b, y, err := p.Lean(Line{2, 0, []byte(strings.Replace(leanLine, `"n":1`, `"n":2`, 1))})
	if err != nil {
		t.Fatal(err)
	}
	same := func(x, y any) bool { return reflect.ValueOf(x).Pointer() == reflect.ValueOf(y).Pointer() }
	if !same(a.Settings, b.Settings) || !same(a.Facts.RX["kernel"], b.Facts.RX["kernel"]) || a.Facts.RX["n"] == b.Facts.RX["n"] {
		t.Errorf("not shared, or too much: %v and %v", a, b)
	}
	if x.Settings != y.Settings || x.Facts.TX != y.Facts.TX || x.Facts.RX == y.Facts.RX || x.Settings == (Digest{}) {
		t.Errorf("digests do not tell what is shared: %v and %v", x, y)
	}
	// What is left to the decoder is shared with nobody.
	for _, text := range []string{`{"schema":"zcbench/1","settings":{"a":1},"settings":{"b":2}}`, `{"schema":"zcbench/1","settings":null}`} {
		if _, z, err := p.Lean(Line{3, 0, []byte(text)}); err != nil || z != (Shared{}) {
			t.Errorf("%s: %v %v", text, z, err)
		}
	}
}

func TestDocuments(t *testing.T) {
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(leanLine), "", "  "); err != nil {
		t.Fatal(err)
	}
	one := pretty.String() + "\n"
	sameLean(t, []byte(one))
	lines := strings.Count(one, "\n")
	for _, c := range []struct {
		text  string
		lines []int
		bad   int
		err   error
	}{
		{"", nil, 0, nil},
		{one, []int{1}, 0, nil},
		{one + one, []int{1, 1 + lines}, 0, nil},
		{one + one[:100], []int{1}, 1 + lines, ErrTorn},
		{one + "}\n" + one, []int{1}, 1 + lines, nil},
	} {
		var got []int
		bad := 0
		for l, err := range Documents(strings.NewReader(c.text)) {
			if line, ok := errors.AsType[*LineError](err); ok {
				if bad = line.Line; c.err != nil && !errors.Is(err, c.err) {
					t.Errorf("%.20q: %v", c.text, err)
				}
				continue
			}
			if _, err := l.Record(); err != nil || string(l.Text) != c.text[l.Offset:int(l.Offset)+len(l.Text)] {
				t.Errorf("line %d: %v, at %d", l.Number, err, l.Offset)
			}
			got = append(got, l.Number)
		}
		if !reflect.DeepEqual(got, c.lines) || bad != c.bad {
			t.Errorf("%.20q: records at lines %v, bad %d; want %v and %d", c.text, got, bad, c.lines, c.bad)
		}
	}
	for range Documents(strings.NewReader(one + one)) {
		break
	}
}

// sameLean holds that Lean takes what Record takes and differs in what it
// leaves out alone.
func sameLean(t *testing.T, text []byte) {
	t.Helper()
	var p Pool
	want, bad := Line{3, 0, text}.Record()
	for range 2 { // the second comes from the pool
		got, _, err := p.Lean(Line{3, 0, text})
		if (bad == nil) != (err == nil) || bad != nil && bad.Error() != err.Error() {
			t.Fatalf("Record says %v, Lean %v, of %q", bad, err, text)
		}
		if line, ok := errors.AsType[*LineError](err); err != nil && (!ok || line.Line != 3) {
			t.Fatalf("not a line's error: %v", err)
		}
		lean := want
		lean.Samples, lean.Flows = nil, nil
		for _, e := range []**End{&lean.RX, &lean.TX} {
			if *e != nil {
				some := **e
				some.CPUs, some.SyscallCosts, some.Profile, some.Verify = nil, nil, nil, nil
				*e = &some
			}
		}
		if !reflect.DeepEqual(got, lean) {
			t.Fatalf("of %q\ngot  %+v\nwant %+v", text, got, lean)
		}
	}
}

func FuzzLean(f *testing.F) {
	f.Add([]byte(leanLine))
	f.Add([]byte(`{"schema":"zcbench/1","settings":{"a":"\\"},"samples":[[{}]]}`))
	f.Fuzz(func(t *testing.T, text []byte) { sameLean(t, text) })
}

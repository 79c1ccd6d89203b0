package experiment

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/results"
	"zcbench/ringcfg"
)

// flags are a small vocabulary in the manner of the real one.
func flags() map[string]Flag {
	number := func(v string) error {
		if _, err := strconv.Atoi(v); err != nil {
			return errors.New("not a number")
		}
		return nil
	}
	any := func(string) error { return nil }
	return map[string]Flag{
		"mode": {Check: any}, "time": {Check: number}, "length": {Check: number}, "affinity": {Check: any},
		"set": {List: true, Pairs: true, Check: any}, "rx-opt": {Pairs: true, Check: any}, "meter": {List: true, Check: any},
	}
}

// resolve takes the flags for the settings.
func resolve(_ Pair, f Flags, at results.Pair[Survey]) (Trial, error) {
	t := Trial{Settings: map[string]any{}, Command: fmt.Sprint(f)}
	for name, v := range f {
		t.Settings[name] = v
	}
	seconds := 1
	if v := f["time"]; len(v) > 0 {
		seconds, _ = strconv.Atoi(v[0])
	}
	t.RX = wire.Prepare{Role: endpoint.RX, Engine: "null", Time: time.Duration(seconds) * time.Second}
	t.TX = wire.Prepare{Role: endpoint.TX, Engine: "null", Time: t.RX.Time}
	if v := f["mode"]; len(v) > 0 && v[0] == "devmem" {
		t.RX.Engine = "devmem"
	}
	for _, s := range f["set"] {
		name, value, _ := strings.Cut(s, "=")
		t.RX.Settings = map[string]string{name: value}
	}
	return t, nil
}

func survey() results.Pair[Survey] {
	return results.Pair[Survey]{
		RX: Survey{
			Engines: map[string]feature.Verdict{"null": feature.Possible(), "devmem": feature.Impossible("no header split", "another NIC")},
			View:    ringcfg.View{Driver: "veth", Settings: ringcfg.Settings{"link.mtu": "1500"}},
		},
		TX: Survey{Engines: map[string]feature.Verdict{"null": feature.Possible()}},
	}
}

func mustLoad(t *testing.T, text string) *Spec {
	t.Helper()
	s, err := Load("dir/some.yaml", []byte(text), flags())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustExpand(t *testing.T, text string) *Plan {
	t.Helper()
	s := mustLoad(t, text)
	at := map[string]results.Pair[Survey]{}
	for _, p := range s.Pairs {
		at[p.Name] = survey()
	}
	p, err := s.Expand(at, resolve)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLoad(t *testing.T) {
	s := mustLoad(t, `
name: all
about: &a what it is for
variables: {cpu: 2}
hosts:
  a: {ssh: root@a, iface: eth1, address: 198.18.0.1}
  b: {ssh: b}
pairs:
  - {name: ab, tx: a, rx: b, variables: {cpu: 4}}
  - {name: here, link: [zc0, zc1]}
base: {time: 100, set: {mtu: 4148, "gro-hw?": on}}
axes:
  mode: [baseline, devmem]
  gro:
    sw:
    hw: {set: {gro-hw: on}}
exclude: [{mode: devmem, gro: [sw]}]
include: [{axes: {mode: devmem, gro: batch}, rx-opt: {token-batch: 1}}]
repeats: 5
drop: [first, last, 3]
seed: 9
cooldown: 1.5
hooks: {before: a, after: b, before-run: c, after-run: d}
skip-missing: true
`)
	if s.Name != "all" || s.About != "what it is for" || s.Repeats != 5 || s.Seed != 9 || s.Cooldown != 1500*time.Millisecond ||
		!s.SkipMissing ||
		s.Hooks != (Hooks{"a", "b", "c", "d"}) || !slices.Equal(s.Drop, []int{0, -1, 2}) {
		t.Errorf("%+v", s)
	}
	want := []Pair{
		{Name: "ab", TX: Host{Name: "a", SSH: "root@a", Interface: "eth1", Address: "198.18.0.1"}, RX: Host{Name: "b", SSH: "b"},
			variables: map[string]string{"cpu": "4"}, line: 9},
		{Name: "here", Link: []string{"zc0", "zc1"}, variables: map[string]string{}, line: 10},
	}
	if !reflect.DeepEqual(s.Pairs, want) {
		t.Errorf("pairs %+v", s.Pairs)
	}
	if !reflect.DeepEqual(s.base, Flags{"time": {"100"}, "set": {"mtu=4148", "gro-hw?=on"}}) {
		t.Errorf("base %v", s.base)
	}
	if s := mustLoad(t, "base: {mode: null}"); !reflect.DeepEqual(s.base, Flags{"mode": {"null"}}) {
		t.Errorf("the null engine: %v", s.base)
	}
	if _, err := Load("x", []byte("base: {mode: }"), flags()); err == nil {
		t.Error("a flag without a value passed")
	}
	if s := mustLoad(t, "repeats: 2"); s.Name != "some" || len(s.Pairs) != 1 || s.Seed != 1 {
		t.Errorf("defaults: %+v", s)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "1: one YAML document is wanted"},
		{"[1]", "line 1: an experiment is a mapping"},
		{"name: [", "line 1: "},
		{"name: a\nname: b", "line 2: "},
		{"name: a b", `line 1: name "a b"`},
		{"repaets: 5", `line 1: no key is called "repaets"; did you mean "repeats"?`},
		{"time: 5", `line 1: "time" is a flag of the runs: put it under base`},
		{"entirely: 5", `no key is called "entirely"; there are: about axes`},
		{"base: {time: 1}\nrepeats: 0", "line 2: repeats is \"0\""},
		{"repeats: many", "line 1: repeats"},
		{"repeats: {a: 1}", "line 1: repeats wants a single value, not a mapping"},
		{"seed: -1", "line 1: seed"},
		{"cooldown: long", "line 1: cooldown"},
		{"skip-missing: maybe", "line 1: skip-missing"},
		{"hooks: {befor: x}", `line 1: no hook is called "befor"; did you mean "before"?`},
		{"base:\n  tiem: 1", `line 2: no flag of a run is called "tiem"; did you mean "time"?`},
		{"base:\n  mode: a\n  time: x", `line 3: time: not a number`},
		{"base:\n  time: [1, 2]", `line 2: time wants a single value, not a list`},
		{"base:\n  time: {a: 1}", `line 2: time wants a single value, not a mapping`},
		{"base:\n  mode: ${x}", `line 2: mode: no variable is called "x"`},
		{"pairs: [{name: a, variables: {x: 1}}, {name: b}]\nbase: {mode: '${x}'}", `line 2: mode: no variable`},
		{"axes: [a]", "line 1: axes wants a mapping"},
		{"axes:\n  nope: [1]", `line 2: no flag of a run is called "nope"`},
		{"axes:\n  mode: 1", "line 2: axis mode wants a list"},
		{"axes:\n  mode: []", "line 2: axis mode has no values"},
		{"axes:\n  mode: [a, a]", `line 2: axis mode has "a" twice`},
		{"axes:\n  pair: {a: {}}", "line 2: an axis cannot be called pair"},
		{"axes:\n  gro:\n    hw:\n      tmie: 1", `line 4: no flag of a run is called "tmie"`},
		{"axes: {mode: [a]}\nexclude: [{mdoe: a}]", `line 2: no axis is called "mdoe"; did you mean "mode"?`},
		{"axes: {mode: [one]}\nexclude: [{mode: noe}]", `line 2: no value of axis mode is called "noe"`},
		{"axes: {mode: [one]}\nexclude: [one]", `line 2: an exclusion is a mapping`},
		{"axes: {mode: [one]}\ninclude: [{time: 1}]", `line 2: an extra cell wants axes`},
		{"axes: {mode: [one]}\ninclude: [{axes: {gro: a}}]", `line 2: no axis is called "gro"`},
		{"drop: [first]", "line 1: drop leaves no run of 1"},
		{"repeats: 3\ndrop: [1, second]", `line 2: drop: "second"`},
		{"name: x\nhosts: {a: {ssh: a}}", "line 2: hosts are named and no pair uses them"},
		{"hosts: {a: {iface: x}}", "host a wants one of ssh"},
		{"hosts: {a: {ssh: -oProxyCommand=x}}", "host a wants one of ssh"},
		{"pairs: []", "pairs has none"},
		{"pairs:\n  - {name: a, tx: b, rx: b}", `line 2: no host is called "b"`},
		{"hosts: {a: {ssh: a}}\npairs:\n  - {name: a, tx: a}", "line 3: a pair has tx and rx"},
		{"hosts: {a: {ssh: a}}\npairs:\n  - {name: a, tx: a, rx: a}", "line 3: both ends of the pair are one interface"},
		{"pairs: [{name: a}, {name: a}]", "each pair wants a name of its own"},
		{"pairs: [{link: [a]}]", "link wants two interfaces"},
		{"base: {<<: {time: 1}}", "merge keys"},
		{"base: *nope", "nope"},
	} {
		_, err := Load("x.yaml", []byte(c.text), flags())
		if err == nil || fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "x.yaml: ") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

func names(p *Plan) []string {
	var all []string
	for i := range p.Cells {
		all = append(all, p.Cells[i].String())
	}
	return all
}

func TestExpand(t *testing.T) {
	p := mustExpand(t, `
variables: {n: 2}
pairs: [{name: x}, {name: y, variables: {n: 3}}]
base: {time: 10, affinity: "0,${n}", set: {mtu: 4148}}
axes:
  mode: [baseline, devmem]
  gro:
    sw: {set: {gro-hw: off}}
    hw: {set: {mtu: 9000}}
exclude:
  - {mode: devmem, gro: sw}
include:
  - {axes: {mode: devmem, gro: hw2}, rx-opt: {token-batch: 1}, time: 20}
`)
	want := []string{"mode=baseline gro=sw", "mode=baseline gro=hw", "mode=devmem gro=hw", "mode=devmem gro=hw2"}
	var all []string
	for _, pair := range []string{"x: ", "y: "} {
		for _, n := range want {
			all = append(all, pair+n)
		}
	}
	if got := names(p); !slices.Equal(got, all) {
		t.Fatalf("cells %q, want %q", got, all)
	}
	for i, want := range map[int]map[string]any{
		0: {"time": []string{"10"}, "affinity": []string{"0,2"}, "mode": []string{"baseline"}, "set": []string{"mtu=4148", "gro-hw=off"}},
		1: {"time": []string{"10"}, "affinity": []string{"0,2"}, "mode": []string{"baseline"}, "set": []string{"mtu=9000"}},
		7: {"time": []string{"20"}, "affinity": []string{"0,3"}, "mode": []string{"devmem"}, "set": []string{"mtu=4148"},
			"rx-opt": []string{"token-batch=1"}},
	} {
		if got := p.Cells[i].Trial.Settings; !reflect.DeepEqual(got, want) {
			t.Errorf("cell %d: %v, want %v", i, got, want)
		}
	}
	if got, want := p.Cells[7].alone("it's.yaml"), `zcbench run 'it'\''s.yaml' --only 'pair=y,mode=devmem,gro=hw2'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if p.Cells[0].ID == p.Cells[4].ID {
		t.Error("cells with different settings have one id")
	}
	if m := p.Cells[0].Missing; !slices.Equal(m, []string{"rx setting gro-hw: not supported by driver veth"}) {
		t.Errorf("missing for cell 0: %q", m)
	}
	wantMissing := []Lack{
		{"x", "rx engine devmem: no header split (another NIC)", 2}, {"x", "rx setting gro-hw: not supported by driver veth", 1},
		{"y", "rx engine devmem: no header split (another NIC)", 2}, {"y", "rx setting gro-hw: not supported by driver veth", 1},
	}
	if got := p.Missing(); !reflect.DeepEqual(got, wantMissing) {
		t.Errorf("missing %v", got)
	}
	// Both pairs are this machine: one after the other.
	if d := p.Time(p.Runs()); d != 2*(10*time.Second+overhead) {
		t.Errorf("time %s", d)
	}
}

func TestExpandRefuses(t *testing.T) {
	at := map[string]results.Pair[Survey]{"": survey()}
	for _, c := range []struct{ text, want string }{
		{"axes: {a: {x: {time: 1}, y: {time: 1}}}", "cells a=x and a=y are the same run"},
		{"axes: {mode: [a]}\nexclude: [{mode: a}]", "no cell is left"},
		{"axes: {mode: [a]}\ninclude: [{axes: {mode: a}}]", "line 2: the extra cell has the axes of another"},
		{"pairs: [{name: other}]", `nothing is known of pair "other"`},
		{"variables: {t: soon}\nbase: {time: '${t}'}", "time: not a number"},
	} {
		_, err := mustLoad(t, c.text).Expand(at, resolve)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestRuns(t *testing.T) {
	const text = "axes: {time: [1,2,3,4,5,6,7,8,9,10]}\nrepeats: 4\ndrop: [first, last]"
	p := mustExpand(t, text)
	runs := p.Runs()
	if !reflect.DeepEqual(runs, p.Runs()) {
		t.Error("the order is another one the second time")
	}
	var orders []string
	for repeat := range 4 {
		seen, order := map[*Cell]bool{}, ""
		for _, r := range runs[repeat*10 : repeat*10+10] {
			if r.Repeat != repeat || seen[r.Cell] {
				t.Errorf("repeat %d has repeat %d of %s", repeat, r.Repeat, r.Cell)
			}
			want := map[int]string{0: "first of 4 runs", 3: "last of 4 runs"}[repeat]
			if r.Dropped != want {
				t.Errorf("repeat %d is dropped %q, want %q", repeat, r.Dropped, want)
			}
			seen[r.Cell], order = true, order+" "+r.Cell.String()
		}
		if slices.Contains(orders, order) {
			t.Errorf("two repeats have one order: %s", order)
		}
		orders = append(orders, order)
	}
	other := mustExpand(t, text+"\nseed: 2").Runs()
	if other[0].Cell.String()+other[1].Cell.String()+other[2].Cell.String() == runs[0].Cell.String()+runs[1].Cell.String()+runs[2].Cell.String() {
		t.Error("another seed gives the same order")
	}
}

func TestShardsAndOnly(t *testing.T) {
	const text = "pairs: [{name: x}, {name: y}]\naxes: {mode: [a, b], time: [1,2,3,4,5,6,7]}"
	all := mustExpand(t, text)
	var parts []string
	for i := range 3 {
		p := mustExpand(t, text)
		if err := p.Shard(i+1, 3); err != nil {
			t.Fatal(err)
		}
		if n := len(p.Cells); n < 9 || n > 10 {
			t.Errorf("shard %d has %d of 28 cells", i+1, n)
		}
		parts = append(parts, names(p)...)
	}
	slices.Sort(parts)
	want := names(all)
	slices.Sort(want)
	if !slices.Equal(parts, want) {
		t.Errorf("shards have %v, want %v", parts, want)
	}
	p := mustExpand(t, text)
	if err := p.Only("pair=y,mode=b,time=2|3"); err != nil || !slices.Equal(names(p), []string{"y: mode=b time=2", "y: mode=b time=3"}) {
		t.Errorf("%v %v", names(p), err)
	}
	// As plan prints a cell, and sizes in any unit.
	sized := func() *Plan {
		return mustExpand(t, "axes: {mode: [baseline, msgzc], length: {64K: {time: 1}, 1M: {time: 2}}}\nrepeats: 1")
	}
	for _, only := range []string{"mode=msgzc length=64K", "length=65536,mode=msgzc", "mode=msgzc,length=64k"} {
		p := sized()
		if err := p.Only(only); err != nil || !slices.Equal(names(p), []string{"mode=msgzc length=64K"}) {
			t.Errorf("%s: %v %v", only, names(p), err)
		}
	}
	p = mustExpand(t, text)
	if err := p.Only("y: mode=b time=2"); err != nil || !slices.Equal(names(p), []string{"y: mode=b time=2"}) {
		t.Errorf("%v %v", names(p), err)
	}
	if err := sized().Only("mode=msgcz"); err == nil || !strings.Contains(err.Error(), `did you mean "msgzc"?`) {
		t.Error(err)
	}
	for _, bad := range []string{"", "mode", "mdoe=a", "mode=c", "mode=a,time=9"} {
		if err := mustExpand(t, text).Only(bad); err == nil || fault.Of(err) != fault.Usage {
			t.Errorf("only %q: %v", bad, err)
		}
	}
}

// TestLoadIsBounded: text of a megabyte that nests or repeats itself is a mistake
// with its line, before a parser spends minutes and gigabytes on it.
func TestLoadIsBounded(t *testing.T) {
	laughs := "about: &a0 ha\nbase:\n"
	for i := range 9 {
		laughs += fmt.Sprintf("  b%d: &a%d [%s]\n", i, i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 9))
	}
	for text, want := range map[string]string{
		"axes: " + strings.Repeat("[", 10_000):       "line 1: more than 32 levels",
		strings.Repeat("- ", 100_000):                "more than 20000 words and signs",
		"about: |\n" + strings.Repeat(" a\n", 1<<19): "more than 1048576 bytes",
		laughs: "aliases stand for more than 100000 values",
	} {
		_, err := Load("f.yaml", []byte(text), flags())
		if err == nil || fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
}

func TestQueues(t *testing.T) {
	s := mustLoad(t, `
hosts: {a: {ssh: a, iface: x}, a2: {ssh: a, iface: y}, b: {ssh: b}, c: {ssh: c}, d: {ssh: d}}
pairs:
  - {name: ab, tx: a, rx: b}
  - {name: cd, tx: c, rx: d}
  - {name: here}
  - {name: ca, tx: c, rx: a2}
`)
	got := (&Plan{Spec: s}).queues()
	for _, q := range got {
		slices.Sort(q)
	}
	if !reflect.DeepEqual(got, [][]string{{"here"}, {"ab", "ca", "cd"}}) {
		t.Errorf("%v", got)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"repeats", "time", "mode"}
	for name, want := range map[string]string{"repeat": "repeats", "tmie": "time", "mdoe": "mode", "x": "", "timeout": "", "modes": "mode"} {
		if got := nearest(name, known); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// Whatever a file holds, it is a spec or a mistake with one line of text.
func FuzzLoad(f *testing.F) {
	f.Add("name: a\naxes: {mode: [a, b]}\nexclude: [{mode: a}]\nrepeats: 3\ndrop: [first]")
	f.Add("pairs: [{link: [a, b], variables: {x: 1}}]\nbase: &b {set: {a: 1}, mode: '${x}'}")
	f.Add("hosts: {a: {ssh: a}}\ninclude:\n- axes: {}\n  time: !!int 1\n? a\n: b\n---\n")
	f.Add("axes:\n  x:\n    a: *y\n    b: &y {time: 1}\n    <<: 1\nhooks: |\n  text")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Load("f.yaml", []byte(text), flags())
		if err != nil {
			if fault.Of(err) != fault.Usage {
				t.Fatalf("kind %s: %v", fault.Of(err), err)
			}
			return
		}
		if len(s.Pairs) == 0 || s.Repeats < 1 {
			t.Fatalf("%+v", s)
		}
	})
}

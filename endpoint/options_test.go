package endpoint

import (
	"maps"
	"strings"
	"testing"

	"zcbench/internal/fault"
)

func TestParseOptions(t *testing.T) {
	known := []Option{
		{Name: "chunk", Default: "512K", Min: 4096, Max: 1 << 20},
		Switch("hint", true, ""),
		{Name: "mode", Default: "fast", Words: []string{"slow", "fast"}},
	}
	defaults := Values{"chunk": 512 << 10, "hint": 1, "mode": 1}
	for name, c := range map[string]struct {
		given map[string]string
		want  Values
		err   string // part of it
	}{
		"defaults": {nil, defaults, ""},
		"all":      {map[string]string{"chunk": "1m", "hint": "off", "mode": "slow"}, Values{"chunk": 1 << 20, "hint": 0, "mode": 0}, ""},
		"lowest":   {map[string]string{"chunk": "4096"}, Values{"chunk": 4096, "hint": 1, "mode": 1}, ""},
		"too low":  {map[string]string{"chunk": "4095"}, nil, "option chunk: 4095 is not within 4096 and 1048576"},
		"too high": {map[string]string{"chunk": "1G"}, nil, "1G is not within"},
		"no word":  {map[string]string{"hint": "1"}, nil, `"1" is none of off, on`},
		"empty":    {map[string]string{"chunk": ""}, nil, "is not a size"},
		"unknown":  {map[string]string{"zz": "1", "chunks": "1"}, nil, `unknown option "chunks": the engine has chunk, hint, mode`},
	} {
		got, err := ParseOptions(known, c.given)
		switch {
		case c.err == "" && (err != nil || !maps.Equal(got, c.want)):
			t.Errorf("%s: got %v, %v, want %v", name, got, err, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || fault.Of(err) != fault.Usage):
			t.Errorf("%s: got %v, want %q", name, err, c.err)
		}
	}
	if _, err := ParseOptions(nil, map[string]string{"x": "1"}); err == nil || !strings.Contains(err.Error(), "has no options") {
		t.Errorf("no options: %v", err)
	}
	s, _ := ParseOptions(known, nil)
	if s.Int("chunk") != 512<<10 || !s.On("hint") {
		t.Errorf("got %v", s)
	}
	defer func() {
		if recover() == nil {
			t.Error("an option that is not listed has a value")
		}
	}()
	s.Int("chunks")
}

// An option that another makes idle is refused, not ignored.
func TestOptionWith(t *testing.T) {
	known := MemoryOptions("1M", "")
	for _, tc := range []struct {
		given map[string]string
		ok    bool
	}{
		{map[string]string{}, true},
		{map[string]string{"mem": "heap", "mem-heap": "reserved"}, true},
		{map[string]string{"mem-heap": "reserved"}, false},
		{map[string]string{"mem": "fd", "mem-fd": "5"}, true},
		{map[string]string{"mem": "heap", "mem-fd": "5"}, false},
	} {
		if _, err := ParseOptions(known, tc.given); (err == nil) != tc.ok || err != nil && fault.Of(err) != fault.Usage {
			t.Errorf("%v: %v", tc.given, err)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int{
		"0": 0, "1": 1, "4096": 4096, "512K": 512 << 10, "512k": 512 << 10, "2M": 2 << 20, "3g": 3 << 30,
		"9223372036854775807": 1<<63 - 1,
		"":                    -1, "K": -1, "-1": -1, "+1": -1, "1KB": -1, "1.5M": -1, "0x10": -1, "1_000": -1, " 1": -1, "1 K": -1,
		"9223372036854775808": -1, "8589934592G": -1, "9007199254740992K": -1,
	} {
		got, err := ParseSize(text)
		if want < 0 != (err != nil) || err == nil && got != want {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	f.Add("512K")
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := ParseSize(text); err == nil && v < 0 {
			t.Errorf("%q: %d", text, v)
		}
	})
}

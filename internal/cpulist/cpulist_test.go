package cpulist

import (
	"slices"
	"testing"
)

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		cpus []int
		want string
	}{{nil, ""}, {[]int{3}, "3"}, {[]int{0, 1}, "0-1"}, {[]int{8, 0, 2, 1, 3, 8}, "0-3,8"}, {[]int{1, 3, 5}, "1,3,5"}} {
		if got := Format(c.cpus); got != c.want {
			t.Errorf("%v: %q, want %q", c.cpus, got, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string][]int{"0": {0}, "0-2,5": {0, 1, 2, 5}, "5,0-1,1": {0, 1, 5}, "7-7": {7}} {
		if got, err := Parse(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "a", "1-", "-1", "3-1", "1,,2", "0-99999", "16384", "0-18446744073709551615"} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("0-3,8")
	f.Fuzz(func(t *testing.T, s string) {
		cpus, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(Format(cpus)); err != nil || !slices.Equal(again, cpus) {
			t.Errorf("%q: %v, then %v, %v", s, cpus, again, err)
		}
	})
}

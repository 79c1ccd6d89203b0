package results

import "testing"

func TestCodeOf(t *testing.T) {
	for _, c := range []struct {
		text string
		want Code
	}{
		{Warn(WindowShort, "rx: the window was %s", "1 s"), WindowShort},
		{"rx: ports [5301]", ""},
		{"no code", ""},
		{"[a]", ""},
		{" []", ""},
		{"", ""},
		{"two [first] [second]", "second"},
	} {
		if got := CodeOf(c.text); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

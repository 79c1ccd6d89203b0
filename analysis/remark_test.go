package analysis

import "testing"

func TestWiden(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"rx: 3% of it", "rx: 3% of it", "rx: 3% of it"},
		{"rx: 3.5% of it", "rx: 2.0% of it", "rx: 2.0–3.5% of it"},
		{"rx: 2.0–3.5% of 7%", "rx: 9.1% of 7%", "rx: 2.0–9.1% of 7%"},
		{"rx: 3% of it", "rx: 2–5% of it", "rx: 2–5% of it"},
		{"rx: 2.0–3.5% of 7%", "rx: 2.5% of 8%", "rx: 2.0–3.5% of 7–8%"},
	} {
		a, b := remarkOf(c.a), remarkOf(c.b)
		if a.key() != b.key() || a.text() != c.a || b.text() != c.b {
			t.Errorf("%q and %q are no one remark, or not put together again: %+v, %+v", c.a, c.b, a, b)
			continue
		}
		if a.widen(b); a.text() != c.want {
			t.Errorf("%q and %q: %q", c.a, c.b, a.text())
		}
	}
	key := func(text string) string { return remarkOf(text).key() }
	if key("eth1 at 5.5 W: 3%") != key("eth1 at 5.5 W: 44.1%") || key("eth1: 3%") == key("eth2: 3%") {
		t.Error("what is one remark")
	}
}

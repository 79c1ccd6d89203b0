package power

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplayLine: what has no lines is refused, however large it is.
func TestReplayLine(t *testing.T) {
	if _, err := openReplay("/dev/zero"); err == nil || !strings.Contains(err.Error(), "line 1 is longer than") {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "log.csv")
	put(t, "", path, "time,watts\n"+strings.Repeat("1", maxReplayLine)+"\n1772366400,100\n")
	m, err := openReplay(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if r, err := m.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "line 2 is longer than") {
		t.Errorf("%v, %v", r, err)
	}
}

// TestReplayCommas: a comma where a point belongs makes one column more, and half
// a number is none.
func TestReplayCommas(t *testing.T) {
	for _, c := range []struct {
		text  string
		watts float64 // of the first reading; none: an error that names line 2
	}{
		{"time,watts\n1772366400,100,5\n", none},
		{"time,watts\n1772366400,\"100,5\"\n", none},
		{"time,watts\n1772366400,1,234.5\n", none},
		{"time,watts\n1772366400;100,5\n", none},
		{"watts,time\n100,5,1772366400\n", none},
		{"time,watts,joules\n1772366400,100\n", none},
		{"time,watts\n1.7723664e9,100\n", none},
		{"time,watts\n1772366400,100.5\n", 100.5},
		{"\ufefftime,watts\r\n1772366400,100.5,\r\n", 100.5},
	} {
		path := filepath.Join(t.TempDir(), "log.csv")
		put(t, "", path, c.text)
		m, err := openReplay(path)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		defer m.Close()
		r, err := m.Read(t.Context())
		if math.IsNaN(c.watts) {
			if err == nil || !strings.Contains(err.Error(), "line 2") {
				t.Errorf("%q: %v, %v", c.text, r, err)
			}
		} else if err != nil || *r.Watts != c.watts || !r.At.Equal(when(0)) {
			t.Errorf("%q: %v, %v", c.text, r, err)
		}
	}
}

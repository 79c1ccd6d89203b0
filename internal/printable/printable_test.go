package printable

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"unicode"
)

const hostile = "a\x1b[2J\rb\u202ec\u2066d\u200be\u009b1mf\x7fg\ufeff\nh\U000e0041 é²→"

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                 "",
		"plain text":       "plain text",
		"  two  words \n":  "two words",
		"a\r\nb\tc":        "a b c",
		"é² → ≥":           "é² → ≥",
		"a\x1b[31mb":       "a\ufffd[31mb",
		"x\u202ey\u200bz":  "x\ufffdy\ufffdz",
		"bad \xff\xfe end": "bad \ufffd\ufffd end",
	} {
		if got := Line(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, r := range Line(hostile) {
		if !unicode.IsPrint(r) && r != unicode.ReplacementChar {
			t.Errorf("%U is left", r)
		}
	}
}

func TestJSON(t *testing.T) {
	b, err := json.MarshalIndent(map[string]string{hostile: hostile}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	out := JSON(b)
	for _, r := range string(out) {
		if !unicode.IsPrint(r) && r != '\n' {
			t.Errorf("%U is left in %s", r, out)
		}
	}
	var back map[string]string
	if err := json.Unmarshal(out, &back); err != nil || back[hostile] != hostile {
		t.Errorf("%v: %q", err, back)
	}
	if !strings.Contains(string(out), "é²→") {
		t.Errorf("%s", out)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 flows", 1: "1 flow", 2: "2 flows"} {
		if got := Count(n, "flow"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTo(t *testing.T) {
	var out strings.Builder
	text := "a  \x1b[31mé²→\u202e\xff\nb\n"
	if n, err := To(&out).Write([]byte(text)); n != len(text) || err != nil || out.String() != "a  \ufffd[31mé²→\ufffd\ufffd\nb\n" {
		t.Errorf("%d, %v: %q", n, err, out.String())
	}
}

// A shell reads each word back as it was.
func TestWord(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip(err)
	}
	for s, want := range map[string]string{
		"eth1.5": "eth1.5", "a;touch$IFS`x`": "'a;touch$IFS`x`'", "it's": `'it'\''s'`, "": "''", "é 1": "'é 1'",
		"\x1b[31m'\\1\xff": `$'\033[31m\'\\1\377'`,
	} {
		got := Word(s)
		if got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
		back, err := exec.Command("bash", "-c", "printf %s "+got).Output()
		if err != nil || string(back) != s {
			t.Errorf("%q: bash reads %q, %v", s, back, err)
		}
	}
}

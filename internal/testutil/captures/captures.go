// Package captures has captures for tests: what kernel and drivers answered about NICs
// (zcbench probe --capture), by the names of the files here. Those that begin with
// zcnic, qemu and veth are of the lab's software NIC, of QEMU's NICs and of veth in
// its machine, not of hardware. Captures of hardware have the NIC's name.
package captures

import (
	"embed"
	"strings"
	"testing"

	"zcbench/internal/answers"
)

//go:embed *.jsonl
var files embed.FS

// Names lists the captures.
func Names(t testing.TB) (names []string) {
	t.Helper()
	list, err := files.ReadDir(".")
	if err != nil || len(list) == 0 {
		t.Fatalf("captures: %v, %v", list, err)
	}
	for _, f := range list {
		names = append(names, strings.TrimSuffix(f.Name(), ".jsonl"))
	}
	return names
}

// Load gives one that answers as the NIC did. The test fails if it asks what nobody asked then.
func Load(t testing.TB, name string) *answers.Source {
	t.Helper()
	f, err := files.Open(name + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	from, err := answers.Read(name, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if missed := from.Missed(); len(missed) > 0 {
			t.Errorf("the capture %s does not have: %q", name, missed)
		}
	})
	return from
}

// Spoilt is one in whose answer number answer, of those that are there as often as it
// takes, some bytes are others, or missing from at on where put is empty: of its
// structures and messages, or of its text. For fuzzing.
func Spoilt(t testing.TB, name string, answer, message, at uint, put []byte) *answers.Source {
	t.Helper()
	from, err := answers.Read(name, strings.NewReader(Text(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	all := from.Answers()
	a := &all[answer%uint(len(all))]
	b := []byte(a.Text)
	if len(a.Messages) > 0 {
		b = a.Messages[message%uint(len(a.Messages))]
	}
	if at %= uint(len(b) + 1); len(put) == 0 {
		b = b[:at]
	} else {
		copy(b[at:], put)
	}
	if len(a.Messages) > 0 {
		a.Messages[message%uint(len(a.Messages))] = b
	} else {
		a.Text = string(b)
	}
	return from
}

// Text is the file of a capture.
func Text(t testing.TB, name string) string {
	t.Helper()
	b, err := files.ReadFile(name + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

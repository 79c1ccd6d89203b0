package endpoint

import (
	"os"
	"testing"
)

func TestProcessStat(t *testing.T) {
	const line = "4242 (a) R (b) R 17 4242 17 0 -1 4194304 100 0 0 0 250 50 30 10 20 0 1 0 98765 1 1 18446744073709551615 1 1 1 0 0 0 0 0 0 0 0 0 17 3 0 0 0 0 0\n"
	p, ok := parseProcess([]byte(line))
	if want := (process{Start: 98765, Name: "a) R (b", parent: 17, used: 300, children: 40, threads: 1, cpu: 3}); !ok || p != want {
		t.Errorf("got %+v %t, want %+v", p, ok, want)
	}
	for _, bad := range []string{"", "1", "1 (x", "1 (x) R 1 2"} {
		if p, ok := parseProcess([]byte(bad)); ok {
			t.Errorf("%q is %+v", bad, p)
		}
	}
	if p, ok := readProcess(os.Getpid()); !ok || p.parent != os.Getppid() || p.kernel || p.Start == 0 || p.cpu < 0 {
		t.Errorf("this process: %+v %t", p, ok)
	}
	if p, ok := readProcess(2); ok && p.Name == "kthreadd" && !p.kernel {
		t.Error("kthreadd is no kernel thread")
	}
}

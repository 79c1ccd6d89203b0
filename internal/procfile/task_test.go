package procfile

import (
	"os"
	"testing"
)

func TestProcessStat(t *testing.T) {
	const line = "4242 (a) R (b) R 17 4242 17 0 -1 4194304 100 0 0 0 250 50 30 10 20 0 1 0 98765 1 1 18446744073709551615 1 1 1 0 0 0 0 0 0 " +
		"0 0 0 17 3 0 0 0 0 0\n"
	p, ok := parseTask([]byte(line))
	if want := (Task{Start: 98765, Name: "a) R (b", Parent: 17, Used: 300, Children: 40, Threads: 1, CPU: 3}); !ok || p != want {
		t.Errorf("got %+v %t, want %+v", p, ok, want)
	}
	for _, bad := range []string{"", "1", "1 (x", "1 (x) R 1 2"} {
		if p, ok := parseTask([]byte(bad)); ok {
			t.Errorf("%q is %+v", bad, p)
		}
	}
	if p, ok := ReadTask(os.Getpid()); !ok || p.Parent != os.Getppid() || p.Kernel || p.Start == 0 || p.CPU < 0 {
		t.Errorf("this process: %+v %t", p, ok)
	}
	if p, ok := ReadTask(2); ok && p.Name == "kthreadd" && !p.Kernel {
		t.Error("kthreadd is no kernel thread")
	}
}

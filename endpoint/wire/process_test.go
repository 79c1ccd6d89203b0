package wire

import (
	"testing"

	"zcbench/internal/procfile"
)

// TestKin: two programs of one name that began in one tick are two.
func TestKin(t *testing.T) {
	const here = "pid:[1]"
	ours := Process{Start: 7, Name: "zcbench", PID: 10, Namespace: here}
	for _, c := range []struct {
		what      string
		seen      procfile.Task
		pid       int
		namespace string
		want      bool
	}{
		{"itself", procfile.Task{Start: 7, Name: "zcbench"}, 10, here, true},
		{"of the same tick", procfile.Task{Start: 7, Name: "zcbench"}, 11, here, false},
		{"of another host", procfile.Task{Start: 8, Name: "sh"}, 10, here, false},
		{"itself, from outside", procfile.Task{Start: 7, Name: "zcbench"}, 4711, "pid:[2]", true},
		{"another, from outside", procfile.Task{Start: 9, Name: "zcbench"}, 10, "pid:[2]", false},
		{"itself, where namespaces cannot be read", procfile.Task{Start: 7, Name: "zcbench"}, 10, "", true},
	} {
		if got := ours.Is(c.seen, c.pid, c.namespace); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

package cgroup

import "testing"

func TestTogether(t *testing.T) {
	const text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\ncpu\t1\t1\t1\ncpuacct\t1\t1\t1\nnet_cls\t0\t1\t1\nmemory\t4\t44\t0\n"
	for controller, want := range map[string]string{"cpuacct": "cpu,cpuacct", "cpuset": "cpuset", "net_cls": "", "memory": "", "rdma": ""} {
		if got := Together(text, controller); got != want {
			t.Errorf("%s: %q, want %q", controller, got, want)
		}
	}
}

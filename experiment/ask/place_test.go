package ask

import (
	"slices"
	"strings"
	"testing"

	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
)

func TestPlace(t *testing.T) {
	pairs := []int{0, 1, 2, 3, 0, 1, 2, 3} // as of a server: the threads of a core are N and N+4
	side := []int{0, 0, 2, 2}              // as of a virtual machine: N and N+1
	all8, all4 := []int{0, 1, 2, 3, 4, 5, 6, 7}, []int{0, 1, 2, 3}
	for _, c := range []struct {
		name   string
		rx, tx CPUs
		shared driver.Sharing
		// wanted
		rxCPUs, txCPUs []int
		scope          wire.Scope
	}{
		{"half each", CPUs{Allowed: all4}, CPUs{Allowed: all4}, driver.OneHost, []int{2, 3}, []int{0, 1}, wire.ScopeCPUSet},
		{"one for both", CPUs{Allowed: []int{3}}, CPUs{Allowed: []int{3}}, driver.OneHost, []int{3}, []int{3}, wire.ScopeThread},
		// taskset -c 1 rx, taskset -c 0 tx, and the other way round.
		{"a cpuset each", CPUs{Allowed: []int{1}}, CPUs{Allowed: []int{0}}, driver.OneHost, []int{1}, []int{0}, wire.ScopeCPUSet},
		{"a cpuset each, turned", CPUs{Allowed: []int{0}}, CPUs{Allowed: []int{1}}, driver.OneHost, []int{0}, []int{1}, wire.ScopeCPUSet},
		{"one within the other", CPUs{Allowed: all4}, CPUs{Allowed: []int{2}}, driver.OneHost, []int{0, 1, 3}, []int{2}, wire.ScopeCPUSet},
		{"overlapping", CPUs{Allowed: []int{2, 3, 4, 5}}, CPUs{Allowed: all4}, driver.OneHost, []int{3, 4, 5}, []int{0, 1, 2}, wire.ScopeCPUSet},
		{"asked within a cpuset", CPUs{Allowed: []int{2, 3}}, CPUs{Allowed: all4, Asked: []int{2}}, driver.OneHost, []int{3}, []int{2},
			wire.ScopeCPUSet},
		// No core is torn, and the first threads of the cores come first.
		{"threads of cores", CPUs{Allowed: all8, Cores: pairs}, CPUs{Allowed: all8, Cores: pairs},
			driver.OneHost, []int{2, 3, 6, 7}, []int{0, 1, 4, 5}, wire.ScopeCPUSet},
		{"threads side by side", CPUs{Allowed: all4, Cores: side}, CPUs{Allowed: all4, Cores: side}, driver.OneHost, []int{2, 3}, []int{0, 1},
			wire.ScopeCPUSet},
		{"three cores", CPUs{Allowed: []int{0, 1, 2, 3, 4, 5}, Cores: []int{0, 1, 2, 0, 1, 2}}, CPUs{Allowed: []int{0, 1, 2, 3, 4, 5},
			Cores: []int{0, 1, 2, 0, 1, 2}}, driver.OneHost, []int{1, 2, 4, 5}, []int{0, 3}, wire.ScopeCPUSet},
		{"a single core", CPUs{Allowed: []int{0, 1}, Cores: []int{0, 0}}, CPUs{Allowed: []int{0, 1}, Cores: []int{0, 0}},
			driver.OneHost, []int{1}, []int{0}, wire.ScopeCPUSet},
		{"two hosts", CPUs{Allowed: all4, Cores: side}, CPUs{Allowed: []int{0, 1}}, driver.TwoHosts, []int{2, 1, 3, 0}, []int{1, 0},
			wire.ScopeHost},
		{"who knows", CPUs{Allowed: []int{0, 1}}, CPUs{Allowed: []int{0, 1}}, driver.HostUnknown, []int{1, 0}, []int{1, 0}, wire.ScopeHost},
	} {
		var rx, tx wire.Prepare
		if err := Place(c.shared, &rx, &tx, c.rx, c.tx); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !slices.Equal(rx.CPUs, c.rxCPUs) || !slices.Equal(tx.CPUs, c.txCPUs) || rx.Scope != c.scope || tx.Scope != c.scope {
			t.Errorf("%s: receiver on %v (%s), sender on %v (%s); want %v, %v (%s)", c.name, rx.CPUs, rx.Scope, tx.CPUs, tx.Scope, c.rxCPUs,
				c.txCPUs, c.scope)
		}
	}
	var rx, tx wire.Prepare
	err := Place(driver.OneHost, &rx, &tx, CPUs{Allowed: all4}, CPUs{Allowed: []int{0}, Asked: []int{1}})
	if err == nil || fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), "CPU 1") {
		t.Errorf("asked for a CPU that it was told to keep off: %v", err)
	}
}

package main

import (
	"cmp"
	"slices"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/internal/cpulist"
	"zcbench/internal/fault"
)

// cpus is one end's share of a host: where its workers are pinned and where
// the network stack works for it.
type cpus struct {
	allowed []int // by the host
	cores   []int // of each of allowed; empty: each is one
	asked   []int // by the user; may be empty
	softirq []int // may be empty
}

// hereCPUs are those that this process may run on.
func hereCPUs(asked []int) cpus {
	allowed := agent.AllowedCPUs()
	return cpus{allowed: allowed, cores: agent.Cores(allowed), asked: asked}
}

// core is the core of a CPU, by the lowest number of its threads.
func (c cpus) core(n int) int {
	if i := slices.Index(c.allowed, n); i >= 0 && i < len(c.cores) {
		return c.cores[i]
	}
	return n
}

// grouped are the allowed CPUs, those of one core side by side.
func (c cpus) grouped() []int {
	return slices.SortedFunc(slices.Values(c.allowed), func(a, b int) int {
		return cmp.Or(cmp.Compare(c.core(a), c.core(b)), cmp.Compare(a, b))
	})
}

// spread puts CPUs in the order in which to use them: one of each core first,
// since the threads of a core slow each other down.
func (c cpus) spread(set []int) []int {
	rank, seen := map[int]int{}, map[int]int{}
	for _, n := range slices.Sorted(slices.Values(set)) {
		rank[n] = seen[c.core(n)]
		seen[c.core(n)]++
	}
	return slices.SortedFunc(slices.Values(set), func(a, b int) int {
		return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(a, b))
	})
}

// count is the set whose busy time is this end's.
func (c cpus) count(app []int) []int {
	set := slices.Clone(app)
	for _, n := range c.softirq {
		if !slices.Contains(set, n) {
			set = append(set, n)
		}
	}
	slices.Sort(set)
	return set
}

// check refuses CPUs that this end was told to keep off, by taskset or a
// cpuset: they may be the other end's.
func (c cpus) check(role endpoint.Role) error {
	for _, n := range c.asked {
		if !slices.Contains(c.allowed, n) {
			return fault.Errorf(fault.Usage, "%s: --affinity wants CPU %d, and this end may use CPUs %s only (taskset, a cpuset, or CPUs that are offline)", role, n, cpulist.Format(c.allowed))
		}
	}
	return nil
}

// place decides where both ends' workers run and whose CPU time is counted.
func place(shared driver.Sharing, rx, tx *wire.Prepare, rxc, txc cpus) error {
	if err := cmp.Or(rxc.check(endpoint.RX), txc.check(endpoint.TX)); err != nil {
		return err
	}
	if shared == driver.OneHost {
		together(rx, tx, rxc, txc)
		return nil
	}
	apart(rx, rxc)
	apart(tx, txc)
	return nil
}

// apart puts one end on a host of its own: the CPU time is the host's.
func apart(p *wire.Prepare, c cpus) {
	p.CPUs = c.asked
	if len(p.CPUs) == 0 {
		p.CPUs = c.spread(c.allowed)
		if len(p.CPUs) > 1 { // the first CPU gets the host's housekeeping
			p.CPUs = append(slices.Clone(p.CPUs[1:]), p.CPUs[0])
		}
	}
	p.Scope = wire.ScopeHost
}

// alone places an end whose peer is not zcbench. Nobody can say whether that
// peer shares the host, so pinned CPUs are counted alone where the user named
// them.
func alone(p *wire.Prepare, c cpus) error {
	if err := c.check(p.Role); err != nil {
		return err
	}
	apart(p, c)
	if len(c.asked) > 0 {
		p.Scope, p.ScopeSet = wire.ScopeCPUSet, c.asked
	}
	return nil
}

// together puts both ends on one host. When their CPUs are disjoint, each
// end's cost is its CPUs' busy time; when not, only the threads can be told
// apart. Each end stays on CPUs that it may use.
func together(rx, tx *wire.Prepare, rxc, txc cpus) {
	rx.CPUs, tx.CPUs = rxc.asked, txc.asked
	switch {
	case len(rx.CPUs) == 0 && len(tx.CPUs) == 0:
		tx.CPUs, rx.CPUs = share(txc, rxc)
	case len(rx.CPUs) == 0:
		rx.CPUs = rxc.spread(rest(rxc.allowed, tx.CPUs))
	case len(tx.CPUs) == 0:
		tx.CPUs = txc.spread(rest(txc.allowed, rx.CPUs))
	}
	rx.ScopeSet, tx.ScopeSet = rxc.count(rx.CPUs), txc.count(tx.CPUs)
	rx.Scope, tx.Scope = wire.ScopeCPUSet, wire.ScopeCPUSet
	for _, n := range rx.ScopeSet {
		if slices.Contains(tx.ScopeSet, n) {
			rx.Scope, tx.Scope = wire.ScopeThread, wire.ScopeThread
			rx.ScopeSet, tx.ScopeSet = nil, nil
			return
		}
	}
}

// share divides CPUs between two ends: what only one may use is its own, and
// what both may is divided so that they have as many each, whole cores where
// there are several, the first of them to a. When nothing is left for one of
// them, each has all that it may use.
func share(a, b cpus) (mine, theirs []int) {
	var both []int
	for _, n := range a.grouped() {
		if slices.Contains(b.allowed, n) {
			both = append(both, n)
		}
	}
	onlyA, onlyB := without(a.allowed, both), without(b.allowed, both)
	k := min(max((len(onlyB)+len(both)-len(onlyA))/2, 0), len(both))
	for whole := k; whole > 0 && k < len(both); whole-- {
		if a.core(both[whole-1]) != a.core(both[whole]) {
			k = whole
			break
		}
	}
	mine, theirs = append(onlyA, both[:k]...), append(onlyB, both[k:]...)
	if len(mine) == 0 || len(theirs) == 0 {
		mine, theirs = a.allowed, b.allowed
	}
	return a.spread(mine), b.spread(theirs)
}

// without is what of all is left beside taken.
func without(all, taken []int) []int {
	var left []int
	for _, n := range all {
		if !slices.Contains(taken, n) {
			left = append(left, n)
		}
	}
	return left
}

// rest is without, or all when nothing is left.
func rest(all, taken []int) []int {
	if left := without(all, taken); len(left) > 0 {
		return left
	}
	return all
}

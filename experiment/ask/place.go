package ask

import (
	"cmp"
	"slices"

	"zcbench/endpoint"
	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/internal/cpulist"
	"zcbench/internal/fault"
)

// CPUs is one end's share of a host: where its workers are pinned and where
// the network stack works for it.
type CPUs struct {
	Allowed []int // by the host
	Cores   []int // of each of Allowed; empty: each is one
	Asked   []int // by the user; may be empty
	Softirq []int // may be empty
}

// core is the core of a CPU, by the lowest number of its threads.
func (c CPUs) core(n int) int {
	if i := slices.Index(c.Allowed, n); i >= 0 && i < len(c.Cores) {
		return c.Cores[i]
	}
	return n
}

// grouped are the allowed CPUs, those of one core side by side.
func (c CPUs) grouped() []int {
	return slices.SortedFunc(slices.Values(c.Allowed), func(a, b int) int {
		return cmp.Or(cmp.Compare(c.core(a), c.core(b)), cmp.Compare(a, b))
	})
}

// spread puts CPUs in the order in which to use them: one of each core first,
// since the threads of a core slow each other down.
func (c CPUs) spread(set []int) []int {
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
func (c CPUs) count(app []int) []int {
	set := slices.Clone(app)
	for _, n := range c.Softirq {
		if !slices.Contains(set, n) {
			set = append(set, n)
		}
	}
	slices.Sort(set)
	return set
}

// Check refuses CPUs that this end was told to keep off, by taskset or a
// cpuset: they may be the other end's.
func (c CPUs) Check(role endpoint.Role) error {
	for _, n := range c.Asked {
		if !slices.Contains(c.Allowed, n) {
			return fault.Errorf(fault.Usage, "%s: --affinity wants CPU %d, and this end may use CPUs %s only (taskset, a cpuset, or CPUs that are "+
				"offline)", role, n, cpulist.Format(c.Allowed))
		}
	}
	return nil
}

// Place decides where both ends' workers run and whose CPU time is counted.
func Place(shared driver.Sharing, rx, tx *wire.Prepare, rxc, txc CPUs) error {
	if err := cmp.Or(rxc.Check(endpoint.RX), txc.Check(endpoint.TX)); err != nil {
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
func apart(p *wire.Prepare, c CPUs) {
	p.CPUs = c.Asked
	if len(p.CPUs) == 0 {
		p.CPUs = c.spread(c.Allowed)
		if len(p.CPUs) > 1 { // the first CPU gets the host's housekeeping
			p.CPUs = append(slices.Clone(p.CPUs[1:]), p.CPUs[0])
		}
	}
	p.Scope = wire.ScopeHost
}

// Alone places an end whose peer is not zcbench. Nobody can say whether that
// peer shares the host, so pinned CPUs are counted alone where the user named
// them.
func Alone(p *wire.Prepare, c CPUs) error {
	if err := c.Check(p.Role); err != nil {
		return err
	}
	apart(p, c)
	if len(c.Asked) > 0 {
		p.Scope, p.ScopeSet = wire.ScopeCPUSet, c.Asked
	}
	return nil
}

// together puts both ends on one host. When their CPUs are disjoint, each
// end's cost is its CPUs' busy time; when not, only the threads can be told
// apart. Each end stays on CPUs that it may use.
func together(rx, tx *wire.Prepare, rxc, txc CPUs) {
	rx.CPUs, tx.CPUs = rxc.Asked, txc.Asked
	switch {
	case len(rx.CPUs) == 0 && len(tx.CPUs) == 0:
		tx.CPUs, rx.CPUs = share(txc, rxc)
	case len(rx.CPUs) == 0:
		rx.CPUs = rxc.spread(rest(rxc.Allowed, tx.CPUs))
	case len(tx.CPUs) == 0:
		tx.CPUs = txc.spread(rest(txc.Allowed, rx.CPUs))
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
func share(a, b CPUs) (mine, theirs []int) {
	var both []int
	for _, n := range a.grouped() {
		if slices.Contains(b.Allowed, n) {
			both = append(both, n)
		}
	}
	onlyA, onlyB := without(a.Allowed, both), without(b.Allowed, both)
	k := min(max((len(onlyB)+len(both)-len(onlyA))/2, 0), len(both))
	for whole := k; whole > 0 && k < len(both); whole-- {
		if a.core(both[whole-1]) != a.core(both[whole]) {
			k = whole
			break
		}
	}
	mine, theirs = append(onlyA, both[:k]...), append(onlyB, both[k:]...)
	if len(mine) == 0 || len(theirs) == 0 {
		mine, theirs = a.Allowed, b.Allowed
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

package main

import (
	"slices"

	"zcbench/endpoint"
)

// cpus is one end's share of a host: where its workers are pinned and where
// the network stack works for it.
type cpus struct {
	allowed []int // by the host
	asked   []int // by the user; may be empty
	softirq []int // may be empty
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

// apart puts one end on a host of its own: the CPU time is the host's.
func apart(p *endpoint.Prepare, c cpus) {
	p.CPUs = c.asked
	if len(p.CPUs) == 0 {
		p.CPUs = c.allowed
		if len(p.CPUs) > 1 { // the first CPU gets the host's housekeeping
			p.CPUs = append(slices.Clone(p.CPUs[1:]), p.CPUs[0])
		}
	}
	p.Scope = endpoint.ScopeHost
}

// together puts both ends on one host. When their CPUs are disjoint, each
// end's cost is its CPUs' busy time; when not, only the threads can be told
// apart.
func together(rx, tx *endpoint.Prepare, rxc, txc cpus) {
	rx.CPUs, tx.CPUs = rxc.asked, txc.asked
	all := rxc.allowed
	switch {
	case len(rx.CPUs) == 0 && len(tx.CPUs) == 0:
		half := len(all) / 2
		if half == 0 {
			rx.CPUs, tx.CPUs = all, all
		} else {
			tx.CPUs, rx.CPUs = all[:half], all[half:]
		}
	case len(rx.CPUs) == 0:
		rx.CPUs = rest(all, tx.CPUs)
	case len(tx.CPUs) == 0:
		tx.CPUs = rest(all, rx.CPUs)
	}
	rx.ScopeSet, tx.ScopeSet = rxc.count(rx.CPUs), txc.count(tx.CPUs)
	rx.Scope, tx.Scope = endpoint.ScopeCPUSet, endpoint.ScopeCPUSet
	for _, n := range rx.ScopeSet {
		if slices.Contains(tx.ScopeSet, n) {
			rx.Scope, tx.Scope = endpoint.ScopeThread, endpoint.ScopeThread
			rx.ScopeSet, tx.ScopeSet = nil, nil
			return
		}
	}
}

// rest is what of all is left beside taken, or all when nothing is.
func rest(all, taken []int) []int {
	var left []int
	for _, n := range all {
		if !slices.Contains(taken, n) {
			left = append(left, n)
		}
	}
	if len(left) == 0 {
		return all
	}
	return left
}

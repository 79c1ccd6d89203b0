package perf

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Symbols are the kernel's functions by address.
type Symbols struct {
	addrs []uint64
	names []symbol
}

type symbol struct{ name, module string }

// Kernel is the module of functions that are in the kernel itself.
const Kernel = "kernel"

// errHidden is a kernel that shows this user no addresses.
var errHidden = errors.New("the kernel hides its symbols' addresses from this user: run as root, or sysctl kernel.kptr_restrict=0 and " +
	"kernel.perf_event_paranoid=1")

// KernelSymbols reads /proc/kallsyms.
func KernelSymbols() (*Symbols, error) {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return nil, fmt.Errorf("kernel symbols: %w", err)
	}
	defer f.Close()
	return parseKallsyms(f)
}

// parseKallsyms reads lines "address type name [module]" and keeps functions.
func parseKallsyms(r io.Reader) (*Symbols, error) {
	type entry struct {
		addr uint64
		symbol
	}
	var all []entry
	functions := 0
	in := bufio.NewScanner(r)
	for in.Scan() {
		addr, rest, _ := strings.Cut(in.Text(), " ")
		kind, rest, ok := strings.Cut(rest, " ")
		if !ok || len(kind) != 1 || !strings.Contains("tTwW", kind) {
			continue
		}
		functions++
		v, err := strconv.ParseUint(addr, 16, 64)
		if err != nil {
			return nil, fmt.Errorf("kernel symbols: %q is no address", addr)
		}
		if v == 0 {
			continue
		}
		name, module, _ := strings.Cut(rest, "\t")
		s := symbol{strings.Clone(name), Kernel}
		if m := strings.Trim(module, "[] "); m != "" {
			s.module = strings.Clone(m)
		}
		all = append(all, entry{v, s})
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("kernel symbols: %w", err)
	}
	if len(all) == 0 && functions > 0 {
		return nil, errHidden
	}
	// Of aliases the first in the file stands for all.
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(a.addr, b.addr) })
	all = slices.CompactFunc(all, func(a, b entry) bool { return a.addr == b.addr })
	s := &Symbols{addrs: make([]uint64, len(all)), names: make([]symbol, len(all))}
	for i, e := range all {
		s.addrs[i], s.names[i] = e.addr, e.symbol
	}
	return s, nil
}

// Lookup gives the function that an address is in; ok is false when it is
// before all of them. A nil Symbols has none.
func (s *Symbols) Lookup(addr uint64) (name, module string, ok bool) {
	if s == nil {
		return "", "", false
	}
	i, found := slices.BinarySearch(s.addrs, addr)
	if !found {
		i--
	}
	if i < 0 {
		return "", "", false
	}
	return s.names[i].name, s.names[i].module, true
}

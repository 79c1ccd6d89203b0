package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"zcbench/endpoint"
	"zcbench/internal/fault"
)

// memory is the flag --mem: where engines take their dma-buf from, as the
// engine options that say so.
type memory struct {
	text    string
	options map[string]string
}

func (m *memory) String() string { return m.text }
func (m *memory) Type() string   { return "memory" }

func (m *memory) Set(v string) error {
	bad := func() error {
		return fault.Errorf(fault.Usage, "%q is none of udmabuf[:SIZE], hugepages[:SIZE], heap:NAME[:SIZE], fd:N", v)
	}
	kind, rest, _ := strings.Cut(v, ":")
	o := map[string]string{"mem": kind}
	size := rest
	switch kind {
	case "udmabuf", "hugepages":
	case "heap":
		o["mem-heap"], size, _ = strings.Cut(rest, ":")
		if !endpoint.IsHeap(o["mem-heap"]) {
			return bad()
		}
	case "fd":
		if n, err := strconv.Atoi(rest); err != nil || n < 0 {
			return bad()
		}
		o["mem-fd"], o["mem-size"], size = rest, "0", ""
	default:
		return bad()
	}
	if size != "" {
		if _, err := endpoint.ParseSize(size); err != nil {
			return bad()
		}
		o["mem-size"] = size
	}
	m.text, m.options = v, o
	return nil
}

// giveMemory turns --mem into options of the engines of this command's ends;
// options given by name come before it.
func (r *runFlags) giveMemory(roles ...endpoint.Role) error {
	if r.mem.options == nil {
		return nil
	}
	taken := false
	for _, role := range roles {
		name, engines, given := r.rx, rxEngines(), &r.rxOpts
		if role == endpoint.TX {
			name, engines, given = r.tx, txEngines(), &r.txOpts
		}
		for _, e := range engines {
			if e.Name() != name || !hasOption(e, "mem") {
				continue
			}
			all := maps.Clone(r.mem.options)
			if hasOption(e, "area") { // not all of its areas are dma-bufs
				all["area"] = "dmabuf"
			}
			maps.Copy(all, *given)
			*given, taken = all, true
		}
	}
	if !taken {
		return fault.Errorf(fault.Usage, "--mem is for an engine that takes a dma-buf: name it here, with --mode, --rx or --tx")
	}
	return nil
}

func hasOption(e endpoint.Engine, name string) bool {
	return slices.ContainsFunc(e.Options(), func(o endpoint.Option) bool { return o.Name == name })
}

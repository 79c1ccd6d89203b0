package ask

import (
	"maps"
	"strconv"
	"strings"

	"zcbench/endpoint"
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
	none := bad("%q is none of udmabuf[:SIZE], hugepages[:SIZE], heap:NAME[:SIZE], fd:N", v)
	kind, rest, _ := strings.Cut(v, ":")
	o := map[string]string{"mem": kind}
	size := rest
	switch kind {
	case "udmabuf", "hugepages":
	case "heap":
		o["mem-heap"], size, _ = strings.Cut(rest, ":")
		if !endpoint.IsHeap(o["mem-heap"]) {
			return none
		}
	case "fd":
		if n, err := strconv.Atoi(rest); err != nil || n < 0 {
			return none
		}
		o["mem-fd"], o["mem-size"], size = rest, "0", ""
	default:
		return none
	}
	if size != "" {
		if _, err := endpoint.ParseSize(size); err != nil {
			return none
		}
		o["mem-size"] = size
	}
	m.text, m.options = v, o
	return nil
}

// GiveMemory turns --mem into options of the engines of this command's ends;
// options given by name take precedence.
func (k *Known) GiveMemory(r *Run, roles ...endpoint.Role) error {
	if r.memory.options == nil {
		return nil
	}
	taken := false
	for _, role := range roles {
		name, options := r.end(role)
		engines, _ := k.engines(role)
		for _, e := range engines {
			if e.Name() != *name || !hasOption(e, "mem") {
				continue
			}
			all := maps.Clone(r.memory.options)
			if hasOption(e, "area") { // not all of its areas are dma-bufs
				all["area"] = "dmabuf"
			}
			*options, taken = over(all, *options), true
		}
	}
	if !taken {
		return bad("--mem is for an engine that takes a dma-buf: name it here, with --mode, --rx or --tx")
	}
	return nil
}

// over gives what there is of both, that of b where both have it.
func over(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

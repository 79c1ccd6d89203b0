package main

import (
	"strings"

	"zcbench/endpoint"
	"zcbench/internal/fault"
	"zcbench/rx"
	"zcbench/tx"
)

// The engines there are; nothing else in the program lists them.
func rxEngines() []endpoint.Engine {
	return []endpoint.Engine{rx.Baseline(), rx.Trunc(), rx.MMap(), rx.Devmem(), rx.Uring(), rx.ZCRX(), rx.Null()}
}

func txEngines() []endpoint.Engine {
	return []endpoint.Engine{tx.Baseline(), tx.Sendfile(), tx.MsgZC(), tx.Devmem(), tx.Uring(), tx.SendZC(), tx.Null()}
}

// modes are pairs of engines by a common name.
var modes = map[string]struct{ rx, tx string }{
	"baseline": {"baseline", "baseline"},
	"msgzc":    {"mmap", "msgzc"},
	"devmem":   {"devmem", "devmem"},
	"iouring":  {"zcrx", "sendzc"},
}

func find(engines []endpoint.Engine, name, what string) (endpoint.Engine, error) {
	var all []string
	for _, e := range engines {
		if e.Name() == name {
			return e, nil
		}
		all = append(all, e.Name())
	}
	return nil, fault.Errorf(fault.Usage, "unknown %s engine %q; there are: %s", what, name, strings.Join(all, " "))
}

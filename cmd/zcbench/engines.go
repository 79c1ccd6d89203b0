package main

import (
	"context"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/experiment/ask"
	"zcbench/experiment/site"
	"zcbench/internal/procfile"
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

// known is all that a run can name.
func known() *ask.Known {
	k := &ask.Known{RX: rxEngines(), TX: txEngines()}
	for _, m := range instruments().Counters {
		k.Counters = append(k.Counters, m.Name)
	}
	return k
}

// thisProgram is what sites have of this one.
func thisProgram(c *cli) *site.Program {
	return &site.Program{Version: version, RX: rxEngines(), TX: txEngines(), Stderr: c.stderr,
		Recover: func(ctx context.Context) { recoverSettings(ctx, c) }}
}

// hereCPUs are those that this process may run on.
func hereCPUs(asked []int) ask.CPUs {
	allowed := agent.AllowedCPUs()
	return ask.CPUs{Allowed: allowed, Cores: procfile.Cores(allowed), Asked: asked}
}

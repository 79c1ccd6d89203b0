package agent

import (
	"fmt"

	"zcbench/endpoint"
	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
)

// Memory that a run takes beside its engine's, for each flow (its thread, and what
// the kernel and the sampler know of it) and for each sample.
const (
	flowMemory   = 256 << 10
	sampleMemory = 2 << 10
)

// memory is the most that a run of the engine takes.
func memory(p *wire.Prepare, e endpoint.Engine) (int64, error) {
	all, err := e.Memory(params(p))
	if err != nil {
		return 0, fmt.Errorf("%s engine %s: %w", p.Role, e.Name(), err)
	}
	all += endpoint.Bytes(p.Flows, flowMemory) + endpoint.Bytes(p.Flows, 2*p.Window) // which the kernel doubles
	if p.Validate && p.Role == endpoint.RX {
		all += endpoint.Bytes(p.Flows, p.Pattern.Period)
	}
	if p.Interval > 0 {
		all += int64(p.Time/p.Interval) * sampleMemory
	}
	return all, nil
}

// afford refuses what takes more memory than this agent's user allows.
func (a *Agent) afford(e endpoint.Engine, p *wire.Prepare) error {
	if a.Limits.Memory == 0 {
		return nil
	}
	all, err := memory(p, e)
	if err == nil && all > a.Limits.Memory {
		err = fault.Errorf(fault.Denied, "%d MiB of buffers are asked for, by engine %s for %s with a length of %d bytes, and the receiver "+
			"allows %d MiB (its --max-memory): ask for %s",
			(all+1<<20-1)>>20, e.Name(), printable.Count(p.Flows, "flow"), p.Length, a.Limits.Memory>>20, less(p, e))
	}
	return err
}

// less names what makes an engine's buffers smaller.
func less(p *wire.Prepare, e endpoint.Engine) string {
	for _, o := range e.Options() {
		switch o.Name {
		case "mem-size":
			if p.Options["grow"] != "" {
				return fmt.Sprintf("an area that grows less (--%s-opt grow=SIZE) or fewer flows", p.Role)
			}
			return fmt.Sprintf("a smaller area (--%s-opt mem-size=SIZE, or the SIZE of --mem) or fewer flows", p.Role)
		case "map", "buffers":
			return fmt.Sprintf("fewer flows, a shorter length or less of the engine's own (--%s-opt %s=)", p.Role, o.Name)
		}
	}
	return "fewer flows or a shorter length"
}

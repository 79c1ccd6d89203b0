package endpoint

import (
	"zcbench/ringcfg"
)

// Tuner is an Engine that needs its interface or its host in a certain state.
// The agent brings that about before Open and puts everything back after
// Close.
type Tuner interface {
	// Needs gives the settings and how many receive queues for the run's flows
	// alone; the agent adds the interface and the flows.
	Needs(p Params) (ringcfg.Want, error)
}

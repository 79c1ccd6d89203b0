package rx

import "zcbench/ringcfg"

// ownQueues is what an engine needs that binds memory to n NIC queues: the
// payload parted from its headers at any length, and queues that get the
// run's flows and nothing else (kernel doc: networking/devmem.rst,
// networking/iou-zcrx.rst).
func ownQueues(n int) ringcfg.Want {
	return ringcfg.Want{Queues: n, Settings: map[string]string{"tcp-data-split": "on", "hds-thresh": "0"}}
}

package main

import (
	"context"
	"fmt"

	"zcbench/ringcfg"
)

// recoverSettings puts back what a run was killed over, before a new one
// looks at the NIC. A failure is told and stops nothing: the new run may not
// need those settings, and tune restore tries again.
func recoverSettings(ctx context.Context, c *cli) {
	drift, err := ringcfg.Recover(ctx, "")
	for _, d := range drift {
		fmt.Fprintln(c.stderr, "zcbench: after a run that was killed:", d)
	}
	if err != nil {
		fmt.Fprintln(c.stderr, "zcbench: put back the settings of a run that was killed:", err)
	}
}

package main

import (
	"context"
	"fmt"

	"zcbench/internal/printable"
	"zcbench/ringcfg"
)

// recoverSettings puts back what a run was killed over, before a new one
// looks at the NIC. A failure is told and stops nothing: the new run may not
// need those settings, and tune restore tries again.
func recoverSettings(ctx context.Context, c *cli) {
	done, err := ringcfg.Recover(ctx, "")
	for _, line := range describe(done) {
		fmt.Fprintln(c.stderr, "zcbench: after a run that was killed:", printable.Line(line))
	}
	if err != nil {
		fmt.Fprintln(c.stderr, "zcbench: look for what a killed run may have left:", oneLine(err))
	}
}

// describe tells what was put back, a line for each setting.
func describe(done ringcfg.Restored) []string {
	var lines []string
	for _, b := range done.Changes {
		of := ""
		if b.Interface != "" {
			of = b.Interface + ": "
		}
		lines = append(lines, of+changeLine(b.Change)+", put back")
	}
	for _, d := range done.Drift {
		lines = append(lines, d.String())
	}
	return append(lines, done.Gone...)
}

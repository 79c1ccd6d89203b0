package tx_test

import (
	"fmt"
	"testing"

	"zcbench/endpoint"
	"zcbench/internal/testutil"
	"zcbench/rx"
	"zcbench/tx"
)

// TestLabSendZC: over a NIC that takes what it is given by reference, all that
// arrives is right, and no notification tells of a copy.
func TestLabSendZC(t *testing.T) {
	pair := testutil.Lab(t)
	e := tx.SendZC()
	possible(t, e)
	for _, options := range []map[string]string{nil, {"call": "sendmsg"}, {"batch": "1", "outstanding": "2"}} {
		for _, flows := range []int{1, 4} {
			for _, v6 := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v-%d-v6=%v", options, flows, v6), func(t *testing.T) {
					const length = 1 << 16
					p := endpoint.Params{Flows: flows, Length: length, Validate: true, Pattern: endpoint.Pattern{Seed: 9, Period: 8 * length}}
					ends := testutil.OpenEnds(t, pair, e, rx.Baseline(), options, nil, p)
					defer ends.Close(t)
					out := ends.Carry(t, v6, 16<<20/uint64(flows))
					for i := range out.Checked {
						sent, received := testutil.Bytes(out.TX[i]), testutil.Bytes(out.RX[i])
						if sent != received || out.Checked[i] != received {
							t.Errorf("flow %d: %d bytes sent, %d received, %d of them right", i, sent, received, out.Checked[i])
						}
						if n := out.TX[i].Copied.Load(); n != 0 {
							t.Errorf("flow %d: %d bytes were copied", i, n)
						}
					}
				})
			}
		}
	}
}

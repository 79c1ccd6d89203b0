package ring_test

import (
	"fmt"
	"testing"

	"zcbench/endpoint"
	"zcbench/internal/feature"
	"zcbench/internal/netpair"
	"zcbench/internal/testutil"
	"zcbench/internal/testutil/tier"
	"zcbench/rx"
	"zcbench/tx"
)

// TestValidatedOverVeth: on either library, what the engines send and receive
// is the pattern, over a pair of interfaces and both versions of IP.
func TestValidatedOverVeth(t *testing.T) {
	for _, e := range []endpoint.Engine{tx.Uring(), tx.SendZC(), rx.Uring()} {
		if v := e.Probe(""); v.Answer != feature.Yes {
			t.Skipf("%s: %s (%s)", e.Name(), v.Reason, v.Fix)
		}
	}
	tier.Root(t, "to make network namespaces")
	pair, err := netpair.New()
	if err != nil {
		t.Fatal(err)
	}
	defer pair.Close()
	for _, c := range []struct {
		tx        endpoint.Engine
		txOptions map[string]string
		rx        endpoint.Engine
	}{
		{tx.Uring(), nil, rx.Uring()},
		{tx.SendZC(), nil, rx.Uring()},
		{tx.SendZC(), nil, rx.Baseline()},
		{tx.SendZC(), map[string]string{"call": "sendmsg"}, rx.Baseline()},
		{tx.Uring(), map[string]string{"batch": "1"}, rx.Baseline()},
	} {
		for _, v6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s%v-%s-v6=%v", c.tx.Name(), c.txOptions, c.rx.Name(), v6), func(t *testing.T) {
				const length, flows = 1 << 16, 4
				p := endpoint.Params{Flows: flows, Length: length, Validate: true, Pattern: endpoint.Pattern{Seed: 7, Period: 16 * length}}
				ends := testutil.OpenEnds(t, pair, c.tx, c.rx, c.txOptions, nil, p)
				defer ends.Close(t)
				out := ends.Carry(t, v6, 4<<20)
				for i := range out.Checked {
					sent, received := testutil.Bytes(out.TX[i]), testutil.Bytes(out.RX[i])
					if sent != received || out.Checked[i] != received {
						t.Errorf("flow %d: %d bytes sent, %d received, %d of them right", i, sent, received, out.Checked[i])
					}
				}
			})
		}
	}
}

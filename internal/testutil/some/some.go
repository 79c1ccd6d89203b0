// Package some takes a few of the cases of a test that would take too long with all.
package some

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// Of are n of the cases of a long test, others each time; with ZCBENCH_SOAK set it
// is all of them. ZCBENCH_SEED draws those of an earlier time, which logged it.
func Of[T any](t testing.TB, n int, all []T) []T {
	t.Helper()
	if os.Getenv("ZCBENCH_SOAK") != "" || n >= len(all) {
		return all
	}
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("ZCBENCH_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d cases, ZCBENCH_SEED=%d", n, len(all), seed)
	chosen := rand.New(rand.NewPCG(seed, 0)).Perm(len(all))[:n]
	slices.Sort(chosen)
	some := make([]T, n)
	for i, k := range chosen {
		some[i] = all[k]
	}
	return some
}

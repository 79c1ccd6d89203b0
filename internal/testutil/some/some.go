// Package some takes a few of the cases of a test that would take too long with all.
package some

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// Of are n of the cases of a long test, others each time; with ZCBENCH_SOAK set it
// is all of them. ZCBENCH_SEED draws those of an earlier time.
func Of[T any](t testing.TB, n int, all []T) []T {
	t.Helper()
	if os.Getenv("ZCBENCH_SOAK") != "" || n >= len(all) {
		return all
	}
	chosen := rand.New(rand.NewPCG(Seed(t), 0)).Perm(len(all))[:n]
	slices.Sort(chosen)
	some := make([]T, n)
	for i, k := range chosen {
		some[i] = all[k]
	}
	return some
}

// Seed begins what a test draws: another each time, or that of an earlier time, which
// logged it, with ZCBENCH_SEED.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if v := os.Getenv("ZCBENCH_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ZCBENCH_SEED=%d", seed)
	return seed
}

package endpointtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// MeterLog writes the CSV of a meter whose value is known at any time, from a minute
// ago until in two minutes, every so many seconds. value is of seconds since zero.
func MeterLog(t *testing.T, column string, every float64, zero time.Time, value func(s float64) float64) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "time,%s\n", column)
	for s := -60.0; s < 120; s += every {
		fmt.Fprintf(&b, "%s,%.9f\n", zero.Add(time.Duration(s*1e9)).Format(time.RFC3339Nano), value(s))
	}
	path := filepath.Join(t.TempDir(), column+".csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

//go:build !giouring

package ring_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestTheProgramIsWithoutTheOtherLibrary: it would not link without a flag.
func TestTheProgramIsWithoutTheOtherLibrary(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "zcbench/cmd/zcbench").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 50 {
		t.Fatalf("only %d packages: %s", len(deps), out)
	}
	for _, d := range deps {
		if strings.Contains(d, "giouring") {
			t.Errorf("the program imports %s", d)
		}
	}
}

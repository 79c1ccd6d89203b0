package ringcfg

import (
	"testing"

	"zcbench/internal/genl/ethtool"
)

// What a driver does and what was asked of it are two things, and both come back.
func TestFeatureValue(t *testing.T) {
	for value, f := range map[string]ethtool.Feature{
		"on":         {Active: true, Wanted: true},
		"off":        {},
		wantedButOff: {Wanted: true},
		onUnwanted:   {Active: true},
	} {
		if got := featureValue(f); got != value {
			t.Errorf("%+v reads %q, want %q", f, got, value)
		}
		if got := wantsFeature(value); got != f.Wanted {
			t.Errorf("%q is written as wanted: %v", value, got)
		}
	}
}

package cpuclock

import (
	"testing"
	"time"
)

// A watch that never came to run saw that it had nothing.
func TestWatchStarved(t *testing.T) {
	const spell = 50 * time.Millisecond
	from := monotonic()
	time.Sleep(2 * spell) // as long as another had the CPU
	var taken time.Duration
	if err := onCPU(allowed(t)[0], func() error {
		taken = watch(from, from+int64(spell))
		return nil
	}); err != nil || taken != spell {
		t.Errorf("it did without %v of %v, %v", taken, spell, err)
	}
}

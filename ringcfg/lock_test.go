package ringcfg

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestLock lets many take and remove one lock at a time: a lock file that is
// removed must not let two in.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "one.lock")
	var holders atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				l, err := takeLock(path, "it", time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				holders.Add(-1)
				l.release()
			}
		})
	}
	wg.Wait()
	if left := glob(path); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

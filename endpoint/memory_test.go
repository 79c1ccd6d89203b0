package endpoint

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/exhaust"
	"zcbench/internal/fault"
)

// TestMemoryThatFails: only what this host does not have is unsupported.
func TestMemoryThatFails(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	open := func(o map[string]string, size int) error {
		s, err := ParseOptions(MemoryOptions("64M", ""), o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := OpenMemory(s, size)
		if err == nil {
			err = b.Close()
		}
		return err
	}
	for _, c := range []struct {
		what    string
		options map[string]string
		size    int
		kind    fault.Kind
	}{
		{"no descriptor", map[string]string{"mem": "fd", "mem-fd": "1000000"}, 4096, fault.Usage},
		{"no dma-buf", map[string]string{"mem": "fd", "mem-fd": strconv.Itoa(int(null.Fd()))}, 4096, fault.Usage},
		{"no such heap", map[string]string{"mem": "heap", "mem-heap": "reserved"}, 4096, fault.Unsupported},
	} {
		if err := open(c.options, c.size); err == nil || fault.Of(err) != c.kind {
			t.Errorf("%s: %v, of kind %s", c.what, err, fault.Of(err))
		}
	}
	var errs []error
	exhaust.Descriptors(t, func() {
		for _, kind := range []string{"udmabuf", "hugepages", "heap"} {
			errs = append(errs, open(map[string]string{"mem": kind}, 4096))
		}
	})
	for _, err := range errs {
		if err == nil || fault.Of(err) != fault.Failed {
			t.Errorf("without descriptors: %v, of kind %s", err, fault.Of(err))
		}
	}
	if err := fault.Errorf(fault.Unsupported, "take a dma-buf: %w", unix.ENOMEM); fault.Of(err) != fault.Failed {
		t.Errorf("without memory: %v, of kind %s", err, fault.Of(err))
	}
}

package endpoint

import (
	"math"
	"os"
	"slices"

	"zcbench/internal/abi"
	"zcbench/internal/fault"
	"zcbench/udmabuf"
)

// Where an engine takes a dma-buf from, the words of its option mem.
var memoryKinds = []string{"udmabuf", "hugepages", "heap", "fd"}

// Heaps that an engine may be told to use; the kernel has them under these
// names.
var heapNames = []string{"system", "default_cma_region", "reserved"}

// MemoryOptions are the options of an engine that takes a dma-buf, with a
// default size.
func MemoryOptions(size, doc string) []Option {
	return []Option{
		{Name: "mem", Default: memoryKinds[0], Words: memoryKinds, Doc: "dma-buf: of ordinary memory, of huge pages, from a dma-buf heap, or " +
			"inherited"},
		{Name: "mem-size", Default: size, Min: 0, Max: math.MaxInt, Doc: doc},
		{Name: "mem-heap", With: "mem=heap", Default: heapNames[0], Words: heapNames, Doc: "dma-buf heap, with mem=heap"},
		{Name: "mem-fd", With: "mem=fd", Default: "3", Min: 0, Max: 1 << 20, Doc: "descriptor of an inherited dma-buf, with mem=fd"},
	}
}

// OpenMemory takes the dma-buf that the options ask for, of at least size
// bytes.
func OpenMemory(o Values, size int) (*udmabuf.Buffer, error) {
	var b *udmabuf.Buffer
	var err error
	switch memoryKinds[o.Int("mem")] {
	case "udmabuf":
		b, err = udmabuf.New(size, false)
	case "hugepages":
		b, err = udmabuf.New(size, true)
	case "heap":
		b, err = udmabuf.FromHeap(heapNames[o.Int("mem-heap")], size)
	case "fd":
		if b, err = udmabuf.FromFD(o.Int("mem-fd")); err == nil && b.Size() < size {
			err = fault.Errorf(fault.Usage, "the dma-buf of descriptor %d has %d bytes, the run needs %d", o.Int("mem-fd"), b.Size(), size)
			b.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Inherited says that the dma-buf is one that somebody else made.
func Inherited(o Values) bool { return memoryKinds[o.Int("mem")] == "fd" }

// MemorySize is how many bytes the dma-buf has that OpenMemory gives: whole pages
// of its kind, or those of an inherited one.
func MemorySize(o Values, size int) (int, error) {
	if Inherited(o) {
		b, err := OpenMemory(o, size)
		if err != nil {
			return 0, err
		}
		return b.Size(), b.Close()
	}
	page := os.Getpagesize()
	if memoryKinds[o.Int("mem")] == "hugepages" {
		page = abi.HugePageSize
	}
	return (size + page - 1) / page * page, nil
}

// IsHeap says whether an engine may be told to use the dma-buf heap.
func IsHeap(name string) bool { return slices.Contains(heapNames, name) }

// Bytes is the memory of n buffers of a size, each in whole pages. It never
// overflows, and neither does a sum of a few.
func Bytes(n, size int) int64 {
	page := int64(os.Getpagesize())
	const enough = 1 << 58 // more than any host has
	pages := min(int64(size), enough)/page + 1
	if int64(size)%page == 0 {
		pages--
	}
	if n > 0 && pages > enough/page/int64(n) {
		return enough
	}
	return int64(n) * pages * page
}

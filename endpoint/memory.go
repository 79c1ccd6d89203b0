package endpoint

import (
	"math"
	"slices"

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
		{Name: "mem", Default: memoryKinds[0], Words: memoryKinds, Doc: "dma-buf: of ordinary memory, of huge pages, from a dma-buf heap, or inherited"},
		{Name: "mem-size", Default: size, Min: 0, Max: math.MaxInt, Doc: doc},
		{Name: "mem-heap", With: "mem=heap", Default: heapNames[0], Words: heapNames, Doc: "dma-buf heap, with mem=heap"},
		{Name: "mem-fd", With: "mem=fd", Default: "3", Min: 0, Max: 1 << 20, Doc: "descriptor of an inherited dma-buf, with mem=fd"},
	}
}

// OpenMemory takes the dma-buf that the options ask for, of at least size
// bytes.
func OpenMemory(o Settings, size int) (*udmabuf.Buffer, error) {
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
			err = Errorf(Usage, "the dma-buf of descriptor %d has %d bytes, the run needs %d", o.Int("mem-fd"), b.Size(), size)
			b.Close()
		}
	}
	if err != nil {
		return nil, Errorf(Unsupported, "%w", err)
	}
	return b, nil
}

// IsHeap says whether an engine may be told to use the dma-buf heap.
func IsHeap(name string) bool { return slices.Contains(heapNames, name) }

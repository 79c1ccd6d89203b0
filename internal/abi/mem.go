package abi

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// HugePageSize is the PMD-sized huge page of x86-64 and of arm64 with 4 KiB
// pages; mappings are aligned to it so that the kernel can use one.
const HugePageSize = 2 << 20

// Map gives size bytes (rounded up to whole pages) of zeroed, prefaulted
// memory that the Go runtime neither moves nor frees, for buffers the kernel
// keeps pointers to. With huge it comes from the reserved huge pages and
// fails with ENOMEM when there are too few; without, transparent huge pages
// are asked for.
func Map(size int, huge bool) ([]byte, error) {
	flags := unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	if huge {
		size = (size + HugePageSize - 1) &^ (HugePageSize - 1)
		b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_HUGETLB|unix.MAP_POPULATE)
		if err != nil {
			return nil, fmt.Errorf("map %d bytes of huge pages: %w (reserve them: sysctl vm.nr_hugepages)", size, err)
		}
		return b, nil
	}
	page := unix.Getpagesize()
	size = (size + page - 1) &^ (page - 1)
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	if size >= HugePageSize {
		// Only a wish: a kernel without THP answers EINVAL, and it is the
		// same memory then.
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
	if err := unix.Madvise(b, unix.MADV_POPULATE_WRITE); err != nil {
		// Before Linux 5.14: fault the pages in by hand.
		for i := 0; i < len(b); i += page {
			b[i] = 0
		}
	}
	return b, nil
}

// Unmap gives back what Map gave, also when it was cut shorter since.
func Unmap(b []byte) error {
	if b == nil {
		return nil
	}
	return unix.Munmap(b[:cap(b)])
}

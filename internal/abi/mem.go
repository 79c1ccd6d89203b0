package abi

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// HugePageSize is the PMD-sized huge page of x86-64 and of arm64 with 4 KiB
// pages; mappings are aligned to it so that the kernel can use one.
const HugePageSize = 2 << 20

// populateStep is how much memory one call brings in. The kernel holds the process's
// memory map (mmap_lock) for all of such a call, and every thread that maps memory
// waits for it: the Go runtime does so with locks of its own held, which stops the
// threads that have nothing to do with that memory. Where a hypervisor has to find the
// memory first, a GiB can take seconds.
const populateStep = 4 * HugePageSize

// Map gives size bytes (rounded up to whole pages) of zeroed, prefaulted
// memory that the Go runtime neither moves nor frees, for buffers the kernel
// keeps pointers to. With huge it comes from the reserved huge pages and
// fails with ENOMEM when there are too few; without, transparent huge pages
// are asked for.
func Map(size int, huge bool) ([]byte, error) {
	flags := unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	page, kind, cure := unix.Getpagesize(), "", ""
	if huge {
		flags |= unix.MAP_HUGETLB
		page, kind, cure = HugePageSize, " of huge pages", " (reserve them: sysctl vm.nr_hugepages)"
	}
	size = (size + page - 1) &^ (page - 1)
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes%s: %w%s", size, kind, err, cure)
	}
	if !huge && size >= HugePageSize {
		// Only a wish: a kernel without THP answers EINVAL, and it is the
		// same memory then.
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
	if err := populate(b, page); err != nil {
		_ = unix.Munmap(b) // as it was just mapped
		return nil, fmt.Errorf("bring in %d bytes%s: %w%s", size, kind, err, cure)
	}
	return b, nil
}

// populate has the kernel bring in all pages of a mapping, for writing.
func populate(b []byte, page int) error {
	for len(b) > 0 {
		part := b[:min(len(b), populateStep)]
		switch err := unix.Madvise(part, unix.MADV_POPULATE_WRITE); err {
		case nil:
			b = b[len(part):]
		case unix.EINTR:
		case unix.EINVAL: // before Linux 5.14: fault the pages in by hand
			for i := 0; i < len(b); i += page {
				b[i] = 0
			}
			return nil
		default:
			return err
		}
	}
	return nil
}

// Unmap gives back what Map gave, also when it was cut shorter since.
func Unmap(b []byte) error {
	if b == nil {
		return nil
	}
	return unix.Munmap(b[:cap(b)])
}

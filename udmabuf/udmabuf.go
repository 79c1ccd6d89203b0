// Package udmabuf makes dma-bufs, memory that devices and sockets share by a
// file descriptor: of ordinary memory, from a dma-buf heap, or any that another
// exporter made.
package udmabuf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/fault"
)

// Buffer is a dma-buf. Whatever exports one, a GPU or a VFIO device too, is a
// Buffer by its descriptor: FromFD.
type Buffer struct {
	fd   int
	size int
	mem  []byte // mapped, nil until Map
}

// lacking makes err one of what this host lacks where it is one of the answers that a
// kernel gives that does not know the call, the driver or the size of page, or that does
// not let this user.
func lacking(err error, answers ...unix.Errno) error {
	if slices.ContainsFunc(append(answers, unix.EPERM, unix.EACCES), func(e unix.Errno) bool { return errors.Is(err, e) }) {
		return fault.Wrap(fault.Unsupported, err)
	}
	return err
}

// The files that decide what there is.
const (
	device     = "/dev/udmabuf"
	sizeLimit  = "/sys/module/udmabuf/parameters/size_limit_mb"
	heapFolder = "/dev/dma_heap"
)

// New makes a Buffer of at least size bytes of memory, in huge pages if asked
// for. It is one range of one memfd, so that the driver's list_limit, on
// buffers of many ranges, never matters.
func New(size int, huge bool) (*Buffer, error) {
	flags, page, kind := unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING, unix.Getpagesize(), "memory"
	if huge {
		flags, page, kind = flags|unix.MFD_HUGETLB|unix.MFD_HUGE_2MB, abi.HugePageSize, "huge pages"
	}
	size = (size + page - 1) / page * page
	if err := checkSize(size, huge); err != nil {
		return nil, err
	}
	dev, err := openDevice()
	if err != nil {
		return nil, err
	}
	defer unix.Close(dev)
	memfd, err := unix.MemfdCreate("zcbench", flags)
	if err != nil {
		return nil, lacking(fmt.Errorf("make a file in %s: %w", kind, err), unix.ENOSYS, unix.EINVAL, unix.ENODEV)
	}
	// The dma-buf holds the pages by itself.
	defer unix.Close(memfd)
	if err := unix.Ftruncate(memfd, int64(size)); err != nil {
		return nil, fmt.Errorf("make a file of %d bytes in %s: %w", size, kind, err)
	}
	// Here a lack of pages has a name; later it has not.
	if err := fallocate(memfd, size); err != nil {
		if huge {
			return nil, fmt.Errorf("reserve %d bytes of huge pages for a dma-buf: %w (make more: sysctl vm.nr_hugepages=%d)", size, err, size/page)
		}
		return nil, fmt.Errorf("reserve %d bytes for a dma-buf: %w", size, err)
	}
	if _, err := unix.FcntlInt(uintptr(memfd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK); err != nil {
		return nil, fmt.Errorf("seal a file in %s: %w", kind, err)
	}
	fd, e := abi.CreateUdmabuf(dev, memfd, size)
	if e != 0 {
		err := fmt.Errorf("make a dma-buf of %d bytes of %s: %w", size, kind, e)
		if huge { // a kernel that makes them of ordinary pages alone says EINVAL
			return nil, lacking(err, unix.ENOTTY, unix.EINVAL)
		}
		return nil, lacking(err, unix.ENOTTY)
	}
	return &Buffer{fd: fd, size: size}, nil
}

func openDevice() (int, error) {
	dev, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, openError(device, err, "modprobe udmabuf (CONFIG_UDMABUF, Linux 4.20)")
	}
	return dev, nil
}

// Probe says why New could not work here.
func Probe() error {
	dev, err := openDevice()
	if err != nil {
		return err
	}
	return unix.Close(dev)
}

func fallocate(fd, size int) error {
	for {
		if err := unix.Fallocate(fd, 0, 0, int64(size)); err != unix.EINTR {
			return err
		}
	}
}

// checkSize refuses what the driver would, and what this host has no memory
// for: the driver's own limit is none on recent kernels, and filling the file
// until there is no memory left ends other processes.
func checkSize(size int, huge bool) error {
	mib := (size + 1<<20 - 1) >> 20
	if b, err := os.ReadFile(sizeLimit); err == nil { // else the driver finds out
		limit, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			return fmt.Errorf("read %s: %w", sizeLimit, err)
		}
		if mib > limit {
			return fault.Errorf(fault.Unsupported, "a dma-buf of %d MiB is more than udmabuf allows, %d MiB: raise it: echo %d > %s", mib, limit,
				mib, sizeLimit)
		}
	}
	if huge {
		return nil // they are counted by themselves
	}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return err
	}
	m, err := fs.Meminfo()
	if err != nil {
		return err
	}
	if free := m.MemAvailableBytes; free != nil && uint64(size) > *free {
		return fmt.Errorf("a dma-buf of %d MiB is more than the memory available, %d MiB", mib, *free>>20)
	}
	return nil
}

// FromHeap makes a Buffer of at least size bytes out of a dma-buf heap.
func FromHeap(name string, size int) (*Buffer, error) {
	page := unix.Getpagesize()
	size = (size + page - 1) / page * page
	path := filepath.Join(heapFolder, name)
	heap, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, openError(path, err, "a kernel with that heap (CONFIG_DMABUF_HEAPS); here: "+heaps())
	}
	defer unix.Close(heap)
	fd, e := abi.AllocDMAHeap(heap, size)
	if e != 0 {
		return nil, lacking(fmt.Errorf("take a dma-buf of %d bytes from the heap %s: %w", size, name, e), unix.ENOTTY)
	}
	return &Buffer{fd: fd, size: size}, nil
}

// heaps names those there are.
func heaps() string {
	entries, err := os.ReadDir(heapFolder)
	if err != nil || len(entries) == 0 {
		return "none"
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func openError(path string, err error, cure string) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
		return fault.Errorf(fault.Unsupported, "%s: %w: %s", path, err, cure)
	}
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return fault.Errorf(fault.Unsupported, "%s: %w: run as root", path, err)
	}
	return fmt.Errorf("open %s: %w", path, err)
}

// FromFD makes a Buffer of a dma-buf that this process was given. The
// descriptor stays its owner's.
func FromFD(fd int) (*Buffer, error) {
	// Nothing but a dma-buf knows the call.
	if e := abi.SyncDMABuf(fd, abi.DMA_BUF_SYNC_START|abi.DMA_BUF_SYNC_READ); e != 0 {
		return nil, fault.Errorf(fault.Usage, "descriptor %d is no dma-buf: %w", fd, e)
	}
	if e := abi.SyncDMABuf(fd, abi.DMA_BUF_SYNC_END|abi.DMA_BUF_SYNC_READ); e != 0 {
		return nil, fmt.Errorf("end the access to the dma-buf %d: %w", fd, e)
	}
	size, err := unix.Seek(fd, 0, unix.SEEK_END)
	if err != nil {
		return nil, fmt.Errorf("size of the dma-buf %d: %w", fd, err)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate the dma-buf %d: %w", fd, err)
	}
	return &Buffer{fd: own, size: int(size)}, nil
}

// FD is the dma-buf's descriptor, the Buffer's own.
func (b *Buffer) FD() int { return b.fd }

// Size is the dma-buf's size in bytes.
func (b *Buffer) Size() int { return b.size }

// Map gives the memory, where the exporter allows it, until Close. Access it
// between Begin and End.
func (b *Buffer) Map() ([]byte, error) {
	if b.mem == nil {
		mem, err := unix.Mmap(b.fd, 0, b.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return nil, fmt.Errorf("map a dma-buf of %d bytes (its exporter may not allow it): %w", b.size, err)
		}
		b.mem = mem
	}
	return b.mem, nil
}

// Access is what a CPU does with the memory.
type Access uint64

// The kinds of access.
const (
	Read  Access = abi.DMA_BUF_SYNC_READ
	Write Access = abi.DMA_BUF_SYNC_WRITE
)

// Begin makes what devices wrote visible to the CPU. It allocates nothing.
func (b *Buffer) Begin(a Access) unix.Errno {
	return abi.SyncDMABuf(b.fd, abi.DMA_BUF_SYNC_START|uint64(a))
}

// End makes what the CPU wrote visible to devices.
func (b *Buffer) End(a Access) unix.Errno {
	return abi.SyncDMABuf(b.fd, abi.DMA_BUF_SYNC_END|uint64(a))
}

// Close gives mapping and descriptor back. The memory lasts for as long as a
// device or a socket uses it.
func (b *Buffer) Close() error {
	var err error
	if b.mem != nil {
		err = unix.Munmap(b.mem)
		b.mem = nil
	}
	return errors.Join(err, unix.Close(b.fd))
}

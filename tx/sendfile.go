package tx

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/feature"
)

// Sendfile sends by sendfile(2) from a file in memory.
//
// Segments refer to the file's own pages, which no CPU of this end copies:
// not even over loopback or veth, where the receiver reads those very pages.
// That is unlike MSG_ZEROCOPY, whose pages may change under the receiver and
// are therefore copied on delivery; a page of the page cache is shared by
// reference count alone.
func Sendfile() endpoint.Engine { return sendfile{} }

type sendfile struct{}

func (sendfile) Name() string { return "sendfile" }

func (sendfile) Layout() endpoint.Layout {
	return endpoint.Layout{Syscalls: []string{"sendfile"}, ZeroCopy: true}
}

func (sendfile) Options() []endpoint.Option { return nil }

// Probe sends a page through a UNIX socket: TCP takes pages by the same way,
// and a namespace may have no interface up to connect over.
func (sendfile) Probe(iface string) feature.Verdict {
	f, err := sealedFile(make([]byte, os.Getpagesize()))
	if err != nil {
		return feature.Refused(err, "Linux 3.17 or later; allow memfd_create if a seccomp filter forbids it")
	}
	defer f.Close()
	s, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return feature.Undecided(fmt.Sprintf("make a pair of sockets: %v", err), "run it where UNIX sockets are allowed")
	}
	defer unix.Close(s[0])
	defer unix.Close(s[1])
	var off int64
	n, err := unix.Sendfile(s[0], int(f.Fd()), &off, os.Getpagesize())
	if err == nil && n == 0 {
		err = io.ErrShortWrite
	}
	if err != nil {
		return feature.Refused(fmt.Errorf("sendfile from a memfd: %w", err), "allow sendfile if a seccomp filter forbids it")
	}
	return limited(feature.Possible(), iface, "")
}

// Memory has each payload twice: it is written into its file.
func (sendfile) Memory(p endpoint.Params) (int64, error) { return 2 * regions(p), nil }

func (e sendfile) Open(p endpoint.Params) (endpoint.Session, error) {
	if _, err := endpoint.ParseOptions(e.Options(), p.Options); err != nil {
		return nil, err
	}
	if err := usable(e); err != nil {
		return nil, err
	}
	return endpoint.PerFlow(p.Flows, func(i int) (endpoint.Worker, error) {
		r, err := newRegion(p, i)
		if err != nil {
			return nil, err
		}
		defer r.close()
		f, err := sealedFile(r.mem)
		if err != nil {
			return nil, err
		}
		return &sendfileWorker{file: f, fd: int(f.Fd()), period: int64(len(r.mem)), length: int64(p.Length)}, nil
	}), nil
}

// sealedFile is content in a file without a name, which can no longer change
// while the kernel sends it.
func sealedFile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("zcbench", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "zcbench")
	if _, err := f.Write(content); err != nil {
		f.Close()
		return nil, fmt.Errorf("write %d bytes to a file in memory: %w", len(content), err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS,
		unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal a file in memory: %w", err)
	}
	return f, nil
}

type sendfileWorker struct {
	file           *os.File
	fd             int
	off            int64 // in the file, of the next byte of the stream
	period, length int64
}

func (w *sendfileWorker) Run(conns []endpoint.Conn, stop *endpoint.Stop) error {
	c := conns[0]
	var pacer endpoint.Pacer
	for !stop.Requested() {
		// The offset is explicit; a short send's rest comes first.
		n, err := unix.Sendfile(c.FD, w.fd, &w.off, int(w.length-w.off%w.length))
		c.Counters.Syscalls[0].Add(1)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("sendfile on flow %d: %w", c.Index+1, err)
		default:
			c.Counters.ZeroCopied.Add(uint64(n))
			if w.off == w.period {
				w.off = 0
			}
		}
		pacer.Tick()
	}
	return nil
}

func (w *sendfileWorker) Close() error { return w.file.Close() }

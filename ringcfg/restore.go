package ringcfg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"zcbench/internal/bounded"
)

// Restore puts back all that the journal holds for an interface in the network
// namespace of the calling thread, last change first: what Apply was told to
// keep, and what processes were killed over.
func Restore(ctx context.Context, iface string, j Journal, wait time.Duration) ([]Drift, error) {
	s, err := begin(iface, j, wait)
	if err != nil {
		return nil, err
	}
	drift, err := s.undoBook(ctx, func(*change) bool { return true })
	return drift, errors.Join(err, s.close())
}

// RestoreAll is Restore for every interface that the journal knows, in
// whatever network namespace it is, and for the host.
func RestoreAll(ctx context.Context, j Journal) ([]Drift, error) {
	return everyBook(ctx, j, func(*change) bool { return true }, nil)
}

// Recover puts back what processes were killed over, on every interface, in
// whatever network namespace it is. What a living process holds, and what
// Apply was told to keep, stays.
func Recover(ctx context.Context, j Journal) ([]Drift, error) {
	return everyBook(ctx, j, (*change).orphaned, ErrBusy)
}

// orphaned says that no process is left that would undo the change: whoever
// looks at it holds the lock that such a process would hold.
func (c *change) orphaned() bool { return !c.kept }

// everyBook undoes which changes of every journal file; but is no error.
func everyBook(ctx context.Context, j Journal, which func(*change) bool, but error) ([]Drift, error) {
	dir, err := j.Dir()
	if err != nil {
		return nil, err
	}
	var all []Drift
	var errs []error
	for _, path := range glob(filepath.Join(dir, "*.journal")) {
		drift, err := undoFile(ctx, path, which)
		all = append(all, drift...)
		if but == nil || !errors.Is(err, but) {
			errs = append(errs, err)
		}
	}
	return all, errors.Join(errs...)
}

func undoFile(ctx context.Context, path string, which func(*change) bool) ([]Drift, error) {
	text, err := bounded.ReadFile(path, bounded.Large)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // its process has just ended
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	var b book
	if _, err := b.parse(text); err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	open := b.open()
	if len(open) > 0 && !slices.ContainsFunc(open, which) {
		return nil, nil
	}
	var tx transaction // of a journal without a change, which is only removed
	if len(b.changes) > 0 {
		tx = *b.changes[0].tx
	}
	h, err := hostOf(tx)
	if err != nil {
		return nil, err
	}
	s, err := beginOn(h, path, 0)
	if err != nil {
		return nil, err
	}
	drift, err := s.undoBook(ctx, which)
	return drift, errors.Join(err, s.close())
}

// recover is Recover for the interface of s alone.
func (s *session) recover(ctx context.Context) error {
	drift, err := s.undoBook(ctx, (*change).orphaned)
	for _, d := range drift {
		err = errors.Join(err, errors.New(d.String()))
	}
	return err
}

// undoBook undoes changes that other processes made.
func (s *session) undoBook(ctx context.Context, which func(*change) bool) ([]Drift, error) {
	var all []Drift
	var errs []error
	for _, c := range s.book.open() {
		if !which(c) {
			continue
		}
		if s.stale(c) {
			errs = append(errs, s.book.write(entry{Undone: &c.number}))
			c.undone = true
			continue
		}
		if f, _, err := familyOf(c.Family + "."); err == nil {
			if err := s.takeFor(f, c.Set.names()); err != nil {
				return all, errors.Join(append(errs, err)...)
			}
		}
		drift, err := s.undoChange(ctx, c)
		all = append(all, drift...)
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// stale says that what a change was made to no longer exists: the machine was
// booted anew, the interface is another one of the same name, or the network
// namespace is gone.
func (s *session) stale(c *change) bool {
	if c.tx.Boot != bootID() {
		return true
	}
	if c.Family == "sysctl" {
		ns, err := inode(s.h.ns)
		return err == nil && ns != c.tx.Namespace && s.h.ownAny(c.Set.names())
	}
	f, _, err := familyOf(c.Family + ".")
	return err == nil && f.group == device && (s.h.mac != c.tx.MAC || s.h.driver != c.tx.Driver)
}

// announce notes whose changes follow.
func (s *session) announce() error {
	ns, err := inode(s.h.ns)
	if err != nil {
		return err
	}
	return s.book.write(entry{Begin: &transaction{
		PID: os.Getpid(), Time: time.Now().UTC(), Boot: bootID(), Interface: s.h.iface, Driver: s.h.driver, MAC: s.h.mac, Namespace: ns,
	}})
}

// hostOf looks for the interface of a transaction: in the namespace it was in,
// or, when that is gone, in the initial one, where physical interfaces return
// to. Without it the host alone is given.
func hostOf(tx transaction) (*host, error) {
	initial, err := netns.GetFromPath("/proc/1/ns/net")
	if err != nil {
		if initial, err = netns.Get(); err != nil {
			return nil, fmt.Errorf("open a network namespace: %w", err)
		}
	}
	if ns, ok := findNamespace(tx.Namespace); ok {
		if exists(ns, tx.Interface) {
			initial.Close()
			return openHost(ns, tx.Interface)
		}
		ns.Close()
	}
	if tx.Interface != "" && exists(initial, tx.Interface) {
		return openHost(initial, tx.Interface)
	}
	return openHost(initial, "")
}

func exists(ns netns.NsHandle, iface string) bool {
	return iface == "" || within(ns, func() error {
		_, err := net.InterfaceByName(iface)
		return err
	}) == nil
}

// findNamespace looks a network namespace up by its inode: this one, a named
// one, or that of any process.
func findNamespace(want uint64) (netns.NsHandle, bool) {
	paths := []string{"/proc/thread-self/ns/net"}
	paths = append(paths, glob("/run/netns/*")...)
	paths = append(paths, glob("/proc/[0-9]*/ns/net")...)
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || st.Ino != want {
			continue
		}
		if ns, err := netns.GetFromPath(path); err == nil {
			if ino, err := inode(ns); err == nil && ino == want {
				return ns, true
			}
			ns.Close()
		}
	}
	return netns.None(), false
}

// inode names a network namespace.
func inode(ns netns.NsHandle) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(ns), &st); err != nil {
		return 0, fmt.Errorf("name a network namespace: %w", err)
	}
	return st.Ino, nil
}

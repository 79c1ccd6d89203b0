package ringcfg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netns"
)

// Restored is what Restore did.
type Restored struct {
	Changes []PutBack
	Drift   []Drift  // left alone
	Gone    []string // what no longer exists, and its settings with it
}

// PutBack is a setting that was put back, of an interface by the name that it
// has now, or of the host.
type PutBack struct {
	Interface string
	Change
}

func (r *Restored) add(o Restored) {
	r.Changes = append(r.Changes, o.Changes...)
	r.Drift = append(r.Drift, o.Drift...)
	r.Gone = append(r.Gone, o.Gone...)
}

// Restore puts back all that the journal holds for an interface in the network
// namespace of the calling thread, last change first: what Apply was told to
// keep, and what processes were killed over. What cannot be put back stays in
// the journal, and is in the error.
func Restore(ctx context.Context, iface string, j Journal, wait time.Duration) (Restored, error) {
	s, err := begin(iface, j, wait)
	if err != nil {
		return Restored{}, err
	}
	id := s.h.whole()
	done, err := s.undoBook(ctx, everything)
	err = errors.Join(err, s.close())
	more, merr := s.elsewhere(ctx, j, id)
	done.add(more)
	return done, errors.Join(err, merr)
}

// RestoreAll is Restore for every interface that the journal knows, wherever
// it is now, and for the host; with a name only for those that were called so.
func RestoreAll(ctx context.Context, j Journal, name string) (Restored, error) {
	return everyBook(ctx, j, everything, func(b *book) bool {
		return name == "" || slices.ContainsFunc(b.open(), func(c *change) bool { return c.tx.Interface == name })
	}, false)
}

// Recover puts back what processes were killed over, on every interface,
// wherever it is. What a living process holds, and what Apply was told to
// keep, stays.
func Recover(ctx context.Context, j Journal) (Restored, error) {
	return everyBook(ctx, j, orphans, func(*book) bool { return true }, true)
}

// selection says which changes to undo.
type selection struct {
	kept bool // also what was kept on purpose, and what a damaged journal is sure of
}

var everything, orphans = selection{kept: true}, selection{}

// covers says whether a change is one of them. Of what was not kept no process
// is left that would undo it: whoever looks holds the lock that it would hold.
func (s selection) covers(c *change) bool { return s.kept || !c.kept }

// everyBook undoes changes of the journal files that are wanted, those changed
// last first. What a living process holds is passed over, or an error.
func everyBook(ctx context.Context, j Journal, which selection, want func(*book) bool, pass bool) (Restored, error) {
	var all Restored
	dirs, err := j.held()
	if err != nil {
		return all, err
	}
	var errs []error
	for _, b := range books(dirs) {
		if len(b.changes) > 0 && !want(b) {
			continue
		}
		done, err := undoFile(ctx, b.path, which)
		all.add(done)
		if !pass || !isBusy(err) {
			errs = append(errs, err)
		}
	}
	// What processes left that were killed before they changed anything.
	for _, dir := range dirs {
		for _, path := range glob(filepath.Join(dir, "*.lock")) {
			if l, err := tryLock(path); err == nil {
				l.release()
			}
		}
	}
	return all, errors.Join(errs...)
}

// books reads all journal files of some directories, those begun last first.
func books(dirs []string) []*book {
	var all []*book
	var paths []string
	for _, dir := range dirs {
		paths = append(paths, files(dir)...)
	}
	for _, path := range paths {
		b, err := readBook(strings.TrimSuffix(path, unborn))
		if b.f != nil {
			b.f.Close()
		}
		if errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(path, unborn) {
			continue // its process has just ended
		}
		all = append(all, b)
	}
	began := func(b *book) (t time.Time) {
		for _, c := range b.open() {
			if c.tx.Time.After(t) {
				t = c.tx.Time
			}
		}
		return t
	}
	slices.SortStableFunc(all, func(a, b *book) int { return began(b).Compare(began(a)) })
	return all
}

// undoFile undoes changes of one journal file.
func undoFile(ctx context.Context, path string, which selection) (Restored, error) {
	if strings.HasSuffix(path, damaged) {
		return undoDamaged(ctx, path, which)
	}
	b, err := readBook(path)
	if b.f != nil {
		b.f.Close()
	}
	if open := b.open(); err == nil && len(open) > 0 && !slices.ContainsFunc(open, which.covers) {
		return Restored{}, nil
	}
	if err := blocked(path); err != nil {
		return Restored{}, err
	}
	h, err := wholeHost()
	if err != nil {
		return Restored{}, err
	}
	s, err := beginOn(h, path, tryOnce)
	if err != nil {
		return Restored{}, err
	}
	done, err := s.undoBook(ctx, which)
	err = errors.Join(err, s.close())
	if s.aside != "" {
		more, merr := undoDamaged(ctx, s.aside, which)
		done.add(more)
		err = errors.Join(err, merr)
	}
	return done, err
}

// undoDamaged puts back what a damaged journal is sure of, and keeps it: what
// was behind the damage is not known.
func undoDamaged(ctx context.Context, path string, which selection) (done Restored, err error) {
	b, why := readBook(path)
	var bad *damage
	if !errors.As(why, &bad) {
		return done, why
	}
	name := filepath.Base(path)
	if which.kept {
		if err := blocked(path); err != nil {
			return done, err
		}
		h, err := wholeHost()
		if err != nil {
			return done, err
		}
		s, err := beginOn(h, path, tryOnce)
		if err != nil {
			return done, err
		}
		b.sealed, s.book = true, b
		done, err = s.undoBook(ctx, which)
		if err = errors.Join(err, s.close()); err != nil {
			return done, err
		}
	}
	return done, fmt.Errorf("the journal %s is damaged (%w): some settings may not be as they were; %s"+
		"look at them (zcbench tune show), put them right, and drop it: zcbench tune journal --forget %s", name, why, b.about(), name)
}

// about names what a book speaks of, as far as it can be read.
func (b *book) about() string {
	var names []string
	for _, c := range b.changes {
		if n := c.tx.owner(c.Family); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "it speaks of " + strings.Join(names, ", ") + "; "
}

// owner names what a family of settings is of.
func (tx *transaction) owner(family string) string {
	if f, _, err := familyOf(family); err == nil && f.group != device || tx.Interface == "" {
		return "the host"
	}
	return tx.Interface
}

// elsewhere undoes what other journal files hold for the interface of s, which
// is closed: it had another name, or was in another network namespace, then.
func (s *session) elsewhere(ctx context.Context, j Journal, id identity) (all Restored, err error) {
	dirs, err := j.held()
	if err != nil {
		return all, err
	}
	var errs []error
	for _, b := range books(dirs) {
		about := slices.ContainsFunc(b.open(), func(c *change) bool { return c.tx.Identity.is(id, c.tx.Namespace == s.h.space) })
		if b.path == s.path || !about && !strings.HasPrefix(b.path, strings.TrimSuffix(s.path, ".journal")+"-") {
			continue
		}
		done, err := undoFile(ctx, b.path, everything)
		all.add(done)
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// recover is Recover for the interface of s alone.
func (s *session) recover(ctx context.Context) error {
	done, err := s.undoBook(ctx, orphans)
	for _, d := range done.Drift {
		err = errors.Join(err, errors.New(d.String()))
	}
	return err
}

// undoBook undoes changes that other processes made. Where one could not be
// undone, those before it that it may cover stay too.
func (s *session) undoBook(ctx context.Context, which selection) (all Restored, err error) {
	var errs []error
	stuck := map[string]bool{}
	for _, c := range s.book.open() {
		if !which.covers(c) {
			continue
		}
		f, _, err := familyOf(c.Family)
		if err != nil {
			return all, err
		}
		if stuck[f.group] {
			continue
		}
		done, err := s.undoOther(ctx, f, c)
		all.add(done)
		if err != nil {
			errs = append(errs, err)
			stuck[f.group] = true
		}
	}
	return all, errors.Join(errs...)
}

func (s *session) undoOther(ctx context.Context, f family, c *change) (done Restored, err error) {
	h, gone, err := s.where(f, c)
	if err != nil {
		return done, err
	}
	if gone != "" {
		done.Gone = append(done.Gone, gone)
	}
	if h == nil {
		s.book.note(entry{Undone: &c.number})
		c.undone = true
		return done, nil
	}
	h.addSysctls(c.Set.names())
	if err := s.takeFor(h, f, c.Set.names()); err != nil {
		return done, err
	}
	put, err := s.undoChange(ctx, h, c)
	done.add(put)
	return done, err
}

// where finds what a change was made to. What is gone for good is said; no
// host is given when that is all.
func (s *session) where(f family, c *change) (h *host, gone string, err error) {
	tx := c.tx
	switch {
	case tx.Boot != bootID():
		return nil, fmt.Sprintf("the machine was booted since %s of %s was changed", strings.Join(c.Set.names(), ", "), tx.owner(c.Family)), nil
	case f.group == device:
		return s.findDevice(c)
	case f.group == "sysctl" && tx.Namespace != s.h.space:
		ns, ok := findSpace(tx.Namespace)
		if ok {
			h, err = s.keepOpen(openHost(ns, ""))
			return h, "", err
		}
		own := slices.DeleteFunc(c.Set.names(), func(name string) bool { return slices.Contains(c.Host, name) })
		if len(own) > 0 {
			gone = fmt.Sprintf("the network namespace %d is gone, and %s with it", tx.Namespace.Inode, strings.Join(own, ", "))
		}
		if len(c.Host) == 0 {
			return nil, gone, nil
		}
		c.only(c.Host)
	}
	return s.h, gone, nil
}

// only forgets all but some names of a change.
func (c *change) only(names []string) {
	for _, s := range []Settings{c.Set, c.Before, c.after} {
		for name := range s {
			if !slices.Contains(names, name) {
				delete(s, name)
			}
		}
	}
}

// findDevice looks for the interface of a change.
func (s *session) findDevice(c *change) (h *host, gone string, err error) {
	tx := c.tx
	if s.h.iface != "" && tx.Identity.is(s.h.identity, tx.Namespace == s.h.space) && s.here() {
		return s.h, "", nil
	}
	for _, h := range s.others {
		if h.iface != "" && tx.Identity.is(h.identity, tx.Namespace == h.space) {
			return h, "", nil
		}
	}
	if ns, name, ok := findInterface(tx); ok {
		if h, err = s.keepOpen(openHost(ns, name)); err != nil {
			return nil, "", fmt.Errorf("%s, which was called %s: %w", name, tx.Interface, err)
		}
		// Whoever works on it where it is now must be done.
		return h, "", s.take(lockPath(bookPath(s.dir, h.index, h.space)), "interface "+name)
	}
	ns, there := findSpace(tx.Namespace)
	if there {
		ns.Close()
	} else if name, ok := findLike(c); ok {
		return nil, "", fmt.Errorf("interface %s is gone with its network namespace, or is %s now, which has the settings that were made (%s): "+
			"if it is, put them back by hand; then, or if it is not: zcbench tune journal --forget %s", tx.Interface, name,
			strings.Join(c.Set.names(), ", "), filepath.Base(s.path))
	} else if tx.Identity.Bus == "" {
		return nil, fmt.Sprintf("interface %s is gone with its network namespace, and its settings with it", tx.Interface), nil
	}
	return nil, "", fmt.Errorf("the interface that was called %s (%s) is in no network namespace that can be seen here, and its settings "+
		"are not put back: "+
		"bring it back and run zcbench tune restore; or, if it is gone for good: zcbench tune journal --forget %s",
		tx.Interface, strings.Trim(tx.Identity.MAC+" "+tx.Identity.Bus, " "), filepath.Base(s.path))
}

// keepOpen keeps a host until s is closed.
func (s *session) keepOpen(h *host, err error) (*host, error) {
	if err == nil {
		s.others = append(s.others, h)
	}
	return h, err
}

// announce notes whose changes follow.
func (s *session) announce() error {
	s.tx = &transaction{
		PID: os.Getpid(), Time: time.Now().UTC(), Boot: bootID(), Interface: s.h.iface, Identity: s.h.whole(), Namespace: s.h.space,
	}
	return s.book.write(entry{Begin: s.tx})
}

// wholeHost is the host seen from the initial network namespace, or from this
// one where that cannot be had.
func wholeHost() (*host, error) {
	ns, err := netns.GetFromPath("/proc/1/ns/net")
	if err != nil {
		if ns, err = netns.Get(); err != nil {
			return nil, fmt.Errorf("open a network namespace: %w", err)
		}
	}
	h, err := openHost(ns, "")
	if err == nil {
		h.wide = true
	}
	return h, err
}

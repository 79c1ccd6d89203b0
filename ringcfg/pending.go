package ringcfg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Pending is what one journal file holds to be put back.
type Pending struct {
	Name      string // of the file; its path where another one is called so too
	Interface string // what it was called; empty: the host
	PID       int    // of the process that began
	Time      time.Time
	Holder    string   // a process that is at work on it
	Kept      bool     // on purpose, until Restore
	Damage    error    // it cannot be read, or not to its end
	Blocked   error    // nothing can be put back while it cannot be written
	Changes   []Change // From is what is put back, To what was set
}

// Journaled lists what the journal holds, those begun last first.
func Journaled(j Journal) ([]Pending, error) {
	dirs, err := j.held()
	if err != nil {
		return nil, err
	}
	var all []Pending
	named := map[string]int{}
	list := books(dirs)
	for _, b := range list {
		named[filepath.Base(b.path)]++
	}
	for _, b := range list {
		p := Pending{Name: filepath.Base(b.path), Holder: holder(lockPath(b.path)), Blocked: blocked(b.path)}
		if named[p.Name] > 1 {
			p.Name = b.path
		}
		if now, err := readBook(b.path); err == nil {
			now.f.Close()
		} else if !errors.Is(err, fs.ErrNotExist) {
			p.Damage = err
		}
		for _, c := range b.open() {
			p.Interface, p.PID, p.Time, p.Kept = c.tx.Interface, c.tx.PID, c.tx.Time, p.Kept || c.kept
			p.Changes = append(p.Changes, c.told()...)
		}
		if len(p.Changes) > 0 || p.Damage != nil {
			all = append(all, p)
		}
	}
	return all, nil
}

// Of names what the journal is of.
func (p Pending) Of() string {
	var space uint64
	var index int
	base := filepath.Base(p.Name)
	switch {
	case p.Interface != "":
		return p.Interface
	case strings.HasPrefix(base, "host"):
		return "the host"
	}
	// Nothing in it tells, and its name does (bookPath).
	if _, err := fmt.Sscanf(base, "%d-%d", &space, &index); err != nil {
		return "nobody knows what"
	}
	return fmt.Sprintf("interface number %d of the network namespace %d", index, space)
}

// holder names the process that holds a lock, if one does.
func holder(path string) string {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return ""
	}
	if who, err := readFile(path); err == nil && who != "" {
		return who
	}
	return "a process"
}

// Forget drops a journal file by the name that Journaled gives it: what it holds stays
// as it is now.
func Forget(j Journal, name string) error {
	path, err := j.find(name)
	if err != nil {
		return err
	}
	if err := blocked(path); err != nil {
		return err
	}
	l, err := takeLock(lockPath(path), name, 0)
	if err != nil {
		return err
	}
	defer l.release()
	if err := ignoreMissing(os.Remove(path)); err != nil {
		return fmt.Errorf("drop the journal: %w", err)
	}
	return nil
}

// find gives the path of a journal file.
func (j Journal) find(name string) (string, error) {
	dirs, err := j.held()
	if err != nil {
		return "", err
	}
	var found []string
	for _, dir := range dirs {
		for _, path := range files(dir) {
			if !strings.HasSuffix(path, unborn) && (path == name || filepath.Base(path) == name) {
				found = append(found, path)
			}
		}
	}
	switch len(found) {
	case 0:
		return "", usage("%q is no name of a journal that is here; zcbench tune journal lists them", name)
	case 1:
		return found[0], nil
	}
	return "", usage("several journals are called so; give one of %s", strings.Join(found, ", "))
}

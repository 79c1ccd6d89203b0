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
	Name      string // of the file
	Interface string // what it was called; empty: the host
	PID       int    // of the process that began
	Time      time.Time
	Holder    string // a process that is at work on it
	Kept      bool   // on purpose, until Restore
	Damage    error
	Changes   []Change // From is what is put back, To what was set
}

// Journaled lists what the journal holds, those begun last first.
func Journaled(j Journal) ([]Pending, error) {
	dir, err := j.Dir()
	if err != nil {
		return nil, err
	}
	var all []Pending
	for _, b := range books(dir) {
		p := Pending{Name: filepath.Base(b.path), Holder: holder(lockPath(b.path))}
		var bad *damage
		if _, err := readBook(b.path); errors.As(err, &bad) {
			p.Damage = err
		}
		for _, c := range b.open() {
			p.Interface, p.PID, p.Time, p.Kept = c.tx.Interface, c.tx.PID, c.tx.Time, p.Kept || c.kept
			for _, name := range c.Set.names() {
				p.Changes = append(p.Changes, Change{name, c.Before[name], c.Set[name]})
			}
		}
		if len(p.Changes) > 0 || p.Damage != nil {
			all = append(all, p)
		}
	}
	return all, nil
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

// Forget drops a journal file by its name: what it holds stays as it is now.
func Forget(j Journal, name string) error {
	dir, err := j.Dir()
	if err != nil {
		return err
	}
	if name != filepath.Base(name) || !strings.HasSuffix(name, ".journal") && !strings.HasSuffix(name, damaged) {
		return usage("%q is no name of a journal; zcbench tune journal lists them", name)
	}
	path := filepath.Join(dir, name)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return usage("the journal holds no %s; zcbench tune journal lists what it holds", name)
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

package ringcfg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/bounded"
)

// Journal is a directory in which every change is noted before it is made, so
// that another process can undo it. The empty one is a place that the next
// boot forgets, as it forgets the settings.
type Journal string

// A journal file holds the transactions of one interface, or of none, one line
// of JSON for each entry. Only the last line can be torn, by a crash while it
// was written: then the change it announces was never made.
type entry struct {
	Begin *transaction `json:"begin,omitempty"`
	// Change announces a change of the transaction begun last; it is in doubt
	// until Done follows.
	Change *change `json:"change,omitempty"`
	// Done gives, for the change announced last, what is not as it was.
	Done *Settings `json:"done,omitempty"`
	// Undo announces that the change of this number, counted from 0, is being
	// undone: it is in doubt again.
	Undo *int `json:"undo,omitempty"`
	// Undone tells that it is.
	Undone *int `json:"undone,omitempty"`
	// Kept tells that the transaction outlives its process.
	Kept bool `json:"kept,omitempty"`
}

// transaction says whose changes follow, and on what.
type transaction struct {
	PID       int       `json:"pid"`
	Time      time.Time `json:"time"`
	Boot      string    `json:"boot"`
	Interface string    `json:"interface,omitempty"`
	Driver    string    `json:"driver,omitempty"`
	MAC       string    `json:"mac,omitempty"`
	Namespace uint64    `json:"namespace"` // inode
}

// change is one write to one family.
type change struct {
	Family string   `json:"family"`
	Set    Settings `json:"set"`
	Before Settings `json:"before"` // the whole group

	number int
	tx     *transaction
	after  Settings // what is not as before; nil while in doubt
	kept   bool
	undone bool
}

// check refuses a change that no zcbench would have made.
func (c *change) check() error {
	if _, _, err := familyOf(c.Family); err != nil {
		return err
	}
	for _, name := range c.Set.names() {
		if !strings.HasPrefix(name, c.Family+".") {
			return fmt.Errorf("%s is no setting of the family %s", name, c.Family)
		}
	}
	return errors.Join(c.covers(c.Set), c.covers(c.Before))
}

// covers refuses settings that a change cannot have touched.
func (c *change) covers(s Settings) error {
	family, _, err := familyOf(c.Family)
	if err != nil {
		return err
	}
	for _, name := range s.names() {
		if f, _, err := familyOf(name); err != nil {
			return err
		} else if f.group != family.group {
			return fmt.Errorf("%s does not change with the family %s", name, c.Family)
		}
		if key, ok := sysctlKey(name); ok {
			if err := mayBeSet(key); err != nil {
				return err
			}
		}
	}
	return nil
}

// book is an open journal file.
type book struct {
	f       *os.File
	changes []*change
}

// bookPath names the file for an interface in a namespace.
func bookPath(dir, iface string, ns uint64) string {
	if iface == "" {
		return filepath.Join(dir, "host.journal")
	}
	return filepath.Join(dir, fmt.Sprintf("%d-%s.journal", ns, iface))
}

// openBook opens a journal file, making it if need be, and cuts a torn line
// off its end.
func openBook(path string) (*book, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	b := &book{f: f}
	text, err := bounded.ReadFile(path, bounded.Large)
	if err == nil {
		var good int
		if good, err = b.parse(text); err == nil {
			err = errors.Join(f.Truncate(int64(good)), seekEnd(f))
		}
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return b, nil
}

func seekEnd(f *os.File) error {
	_, err := f.Seek(0, 2)
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// parse reads entries and gives the length of the whole ones.
func (b *book) parse(text []byte) (good int, err error) {
	var tx *transaction
	line := 0
	for rest := text; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return good, nil // torn
		}
		line++
		var e entry
		if err := json.Unmarshal(rest[:end], &e); err != nil {
			if end+1 == len(rest) {
				return good, nil // torn, and written over
			}
			return 0, fmt.Errorf("line %d: %w", line, err)
		}
		if err := b.apply(&tx, e); err != nil {
			return 0, fmt.Errorf("line %d: %w", line, err)
		}
		good += end + 1
		rest = rest[end+1:]
	}
	return good, nil
}

func (b *book) apply(tx **transaction, e entry) error {
	last := len(b.changes) - 1
	numbered := func(n int) (*change, error) {
		if n < 0 || n > last {
			return nil, fmt.Errorf("no change has number %d", n)
		}
		return b.changes[n], nil
	}
	switch {
	case e.Begin != nil:
		*tx = e.Begin
	case e.Change != nil:
		if *tx == nil {
			return errors.New("a change outside of a transaction")
		}
		if err := e.Change.check(); err != nil {
			return err
		}
		e.Change.number, e.Change.tx = last+1, *tx
		b.changes = append(b.changes, e.Change)
	case e.Undo != nil:
		c, err := numbered(*e.Undo)
		if err != nil {
			return err
		}
		c.after = nil
	case e.Undone != nil:
		c, err := numbered(*e.Undone)
		if err != nil {
			return err
		}
		c.undone = true
	case e.Kept:
		for _, c := range b.changes {
			c.kept = c.kept || c.tx == *tx
		}
	case e.Done != nil:
		if last < 0 || *e.Done == nil {
			return errors.New("a change done that was not announced")
		}
		if err := b.changes[last].covers(*e.Done); err != nil {
			return err
		}
		b.changes[last].after = *e.Done
	}
	return nil
}

// write appends an entry and waits until it is stored.
func (b *book) write(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	if _, err := b.f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	if err := b.f.Sync(); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// open lists the changes that are not undone, last first.
func (b *book) open() []*change {
	var list []*change
	for i := len(b.changes) - 1; i >= 0; i-- {
		if c := b.changes[i]; !c.undone {
			list = append(list, c)
		}
	}
	return list
}

// close closes the file, and removes it when nothing in it is left to undo.
func (b *book) close() error {
	defer b.f.Close()
	if len(b.open()) > 0 {
		return nil
	}
	if err := os.Remove(b.f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the journal: %w", err)
	}
	return nil
}

// bootID tells one boot of the machine from another.
func bootID() string {
	id, _ := readFile("/proc/sys/kernel/random/boot_id") // empty: never the same boot twice is assumed
	return id
}

// lock is held by the process that may change an interface, or what is not an
// interface's. Its file names the holder for those who wait.
type lock struct{ f *os.File }

// takeLock waits until nobody else holds the lock, for at most a time.
func takeLock(path, what string, wait time.Duration) (*lock, error) {
	deadline := time.Now().Add(wait)
	for {
		l, err := tryLock(path)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", what, err)
		}
		if l != nil {
			return l, nil
		}
		if !time.Now().Before(deadline) {
			holder, err := readFile(path)
			if err != nil || holder == "" {
				holder = "a process that is just beginning or ending"
			}
			return nil, &kindError{ErrBusy, fmt.Errorf("%s is held by %s, which lets go when it ends (lock %s)", what, holder, path)}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// tryLock gives no lock when somebody else has it, or has just removed it.
func tryLock(path string) (*lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		var mine, there unix.Stat_t
		if err = unix.Fstat(int(f.Fd()), &mine); err == nil {
			if unix.Stat(path, &there) != nil || there.Ino != mine.Ino {
				err = unix.EWOULDBLOCK // it was removed between open and lock
			}
		}
	}
	if err == nil {
		comm, _ := readFile("/proc/self/comm") // for people to read
		if err = f.Truncate(0); err == nil {
			_, err = fmt.Fprintf(f, "process %d (%s)\n", os.Getpid(), comm)
		}
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, err
	}
	return &lock{f}, nil
}

// release lets others in.
func (l *lock) release() {
	if l != nil {
		os.Remove(l.f.Name()) // while it is held: nobody else can have it
		l.f.Close()
	}
}

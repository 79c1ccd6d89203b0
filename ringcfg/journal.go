package ringcfg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
// was written, and then has no end: the change it announces was never made.
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
	Interface string    `json:"interface,omitempty"` // what it was called
	Identity  identity  `json:"identity,omitzero"`
	Namespace space     `json:"namespace"`
}

// change is one write to one family.
type change struct {
	Family string   `json:"family"`
	Set    Settings `json:"set"`
	Before Settings `json:"before"` // the whole group
	// Host are those of a namespace's sysctls that are the machine's: they
	// outlive it.
	Host []string `json:"host,omitempty"`

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

// book is a journal file, which begins to exist with its first entry: one that
// is empty is damaged. Who writes to it holds its lock.
type book struct {
	path    string
	f       *os.File // nil: there is none yet
	size    int64
	changes []*change
	// lost is the first note that could not be written since it was opened.
	lost error
	// sealed books are damaged, and take no notes.
	sealed bool
}

// bookPath names the file for the interface of an index in a namespace.
func bookPath(dir string, index int, ns space) string {
	if index == 0 {
		return filepath.Join(dir, "host.journal")
	}
	return filepath.Join(dir, fmt.Sprintf("%d-%d.journal", ns.Inode, index))
}

// damage is a journal that makes no sense from some line on.
type damage struct{ err error }

func (d *damage) Error() string { return d.err.Error() }

// readBook reads a journal file. Of one that is damaged the changes before the
// damage are given along with the error.
func readBook(path string) (*book, error) {
	b := &book{path: path}
	const flags = unix.O_NOFOLLOW | unix.O_NONBLOCK
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0)
	if errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) {
		f, err = os.OpenFile(path, os.O_RDONLY|flags, 0) // to tell what it holds
	}
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EISDIR):
		return b, &damage{err}
	case err != nil:
		return b, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return b, &damage{errors.Join(err, errors.New("no file"))}
	}
	text, err := io.ReadAll(io.LimitReader(f, bounded.Large))
	if err != nil {
		f.Close()
		return b, err
	}
	good, err := b.parse(text)
	switch {
	case err != nil:
	case good == 0:
		err = errors.New("it is empty")
	case len(text) == bounded.Large:
		err = errors.New("it is too large")
	}
	if err != nil {
		f.Close()
		return b, &damage{err}
	}
	b.f, b.size = f, int64(good)
	return b, nil
}

// openBook opens a journal file to go on with it. One that is damaged is set
// aside, under a name that is given, for Restore.
func openBook(path string) (_ *book, aside string, err error) {
	// Its maker was killed before it had an entry.
	if err := ignoreMissing(os.Remove(path + unborn)); err != nil {
		return nil, "", fmt.Errorf("open the journal: %w", err)
	}
	b, err := readBook(path)
	var bad *damage
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b, "", nil
	case errors.As(err, &bad):
		aside = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ".journal"), time.Now().UnixNano(), damaged)
		if err := os.Rename(path, aside); err != nil {
			return nil, "", fmt.Errorf("set the damaged journal %s aside: %w", path, err)
		}
		return &book{path: path}, aside, nil
	case err != nil:
		return nil, "", fmt.Errorf("open the journal %s: %w", path, err)
	}
	// A torn line is written over.
	if err := b.f.Truncate(b.size); err != nil {
		b.f.Close()
		return nil, "", fmt.Errorf("open the journal %s: %w", path, err)
	}
	return b, "", nil
}

// Ends of file names.
const (
	unborn  = ".new"     // a journal until its first entry is whole
	damaged = ".damaged" // one that was set aside
)

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
			return good, fmt.Errorf("line %d: %w", line, err)
		}
		if err := b.apply(&tx, e); err != nil {
			return good, fmt.Errorf("line %d: %w", line, err)
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

// write appends an entry and waits until it is stored. What could not be
// stored whole is taken away again.
func (b *book) write(e entry) error {
	line, err := json.Marshal(e)
	if err == nil {
		line = append(line, '\n')
		if b.f == nil {
			err = b.create(line)
		} else if _, err = b.f.WriteAt(line, b.size); err == nil {
			err = b.f.Sync()
		}
		if err == nil {
			b.size += int64(len(line))
		} else if b.f != nil {
			err = errors.Join(err, b.f.Truncate(b.size))
		}
	}
	if err != nil {
		return fmt.Errorf("write the journal %s: %w", b.path, err)
	}
	return nil
}

// note is write for what is true already, and is no reason to stop.
func (b *book) note(e entry) {
	if b.sealed {
		return
	}
	if err := b.write(e); err != nil && b.lost == nil {
		b.lost = err
	}
}

// create makes the file with its first line in it.
func (b *book) create(line []byte) error {
	f, err := os.OpenFile(b.path+unborn, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(line); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(b.path+unborn, b.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(b.path))
	}
	if err != nil {
		f.Close()
		return errors.Join(err, ignoreMissing(os.Remove(b.path+unborn)))
	}
	b.f = f
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
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
	if b.f == nil {
		return nil
	}
	defer b.f.Close()
	if len(b.open()) > 0 {
		return b.lost
	}
	if err := ignoreMissing(os.Remove(b.path)); err != nil {
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

// lookWait is for those who hold a lock only to look whether there is something
// to do.
const lookWait = 200 * time.Millisecond

// tryOnce is no wait at all.
const tryOnce = -lookWait

// takeLock waits until nobody else holds the lock, for at most a time.
func takeLock(path, what string, wait time.Duration) (*lock, error) {
	deadline := time.Now().Add(wait + lookWait)
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
			return nil, busy{fmt.Errorf("%s is held by %s, which lets go when it ends (lock %s)", what, holder, path)}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// tryLock gives no lock when somebody else has it, or has just removed it.
func tryLock(path string) (*lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
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
		// For people to read: a full disk takes it from them, and the lock holds.
		comm, _ := readFile("/proc/self/comm")
		_ = f.Truncate(0)
		_, _ = fmt.Fprintf(f, "process %d (%s)\n", os.Getpid(), comm)
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

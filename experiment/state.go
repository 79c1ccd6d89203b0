package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/bounded"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/results"
)

// Files of an output directory.
const (
	StoreFile = results.StoreFile
	StateFile = results.PlanFile
	spareFile = results.SpareFile // is locked, and takes room that is given up when the disk is full
)

// Forget removes what was measured in an output directory.
func Forget(dir string) error {
	for _, name := range []string{StoreFile, StateFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the results of last time: %w", err)
		}
	}
	return nil
}

// spareBytes is room for the records that runs in progress will make, and for
// the word that the disk is full.
const spareBytes = 4 << 20

// stateSchema names this version of the state file.
const stateSchema = results.PlanSchema

// State is what an output directory remembers of its experiment, so that
// nothing else is ever continued in it.
type State struct {
	Schema  string    `json:"schema"`
	Version string    `json:"zcbench"`
	Name    string    `json:"experiment"`
	Started time.Time `json:"started"`
	Digest  string    `json:"digest"`
	Choice  Choice    `json:"choice"`
	Cells   []string  `json:"cells"`
	// Plan is for who reads the results; what is missing may change it.
	Plan results.Plan `json:"plan"`
}

// Choice is what a user may choose apart from the spec.
type Choice struct {
	Repeats int    `json:"repeats,omitempty"` // 0: the spec's
	Seed    uint64 `json:"seed,omitempty"`    // 0: the spec's
	Only    string `json:"only,omitempty"`
	Shard   string `json:"shard,omitempty"` // "2/8"
	// SkipMissing runs what can be run when a host lacks something.
	SkipMissing bool `json:"skip_missing,omitempty"`
}

// Apply makes the choice in a plan that was expanded with it.
func (c Choice) Apply(p *Plan) error {
	if c.Only != "" {
		if err := p.Only(c.Only); err != nil {
			return err
		}
	}
	if c.Shard != "" {
		var i, n int
		if _, err := fmt.Sscanf(c.Shard, "%d/%d", &i, &n); err != nil || fmt.Sprintf("%d/%d", i, n) != c.Shard {
			return fault.Errorf(fault.Usage, "--shard %q: it is two numbers such as 1/8, the first from 1 to the second", c.Shard)
		}
		return p.Shard(i, n)
	}
	return nil
}

// Over gives the choice of an experiment that is resumed: what is not chosen
// anew is as it was.
func (c Choice) Over(was Choice) Choice {
	if c.Repeats == 0 {
		c.Repeats = was.Repeats
	}
	if c.Seed == 0 {
		c.Seed = was.Seed
	}
	if c.Only == "" {
		c.Only = was.Only
	}
	if c.Shard == "" {
		c.Shard = was.Shard
	}
	c.SkipMissing = c.SkipMissing || was.SkipMissing
	return c
}

// ReadState looks at an output directory; ok is false when no experiment has
// begun there.
func ReadState(dir string) (s State, ok bool, err error) {
	b, err := bounded.ReadFile(filepath.Join(dir, StateFile), bounded.Large)
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, false, fmt.Errorf("read what was begun in %s: %w", dir, err)
	}
	if s.Schema != stateSchema {
		return s, false, fault.Errorf(fault.Usage, "%s was begun by another version of zcbench (%s, %s): continue with that one, or give "+
			"another -o", dir, s.Version, s.Schema)
	}
	return s, true, nil
}

// output is an output directory that this process holds.
type output struct {
	dir   string
	store string
	spare *os.File
	done  map[string]map[int]bool // by key of the cell, by repeat
	facts map[string]*history     // by name of pair
	torn  []*results.LineError
}

// openOutput takes the directory for a plan. Without resume nothing may have
// been measured there.
func openOutput(dir string, p *Plan, c Choice, version string, resume bool) (_ *output, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the output directory: %w", err)
	}
	o := &output{dir: dir, store: filepath.Join(dir, StoreFile), done: map[string]map[int]bool{}, facts: map[string]*history{}}
	if o.spare, err = takeFile(filepath.Join(dir, spareFile)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	was, begun, err := ReadState(dir)
	if err != nil {
		return nil, err
	}
	switch {
	case begun && !resume:
		return nil, fault.Errorf(fault.Usage, "experiment %s was begun in %s: continue it with --resume, or give another -o", was.Name, dir)
	case begun:
		if err := p.sameAs(was, dir); err != nil {
			return nil, err
		}
		if now := p.planned(); !reflect.DeepEqual(was.Plan, now) {
			was.Plan = now
			if err := writeState(filepath.Join(dir, StateFile), was); err != nil {
				return nil, err
			}
		}
	default:
		if st, err := os.Stat(o.store); err == nil && st.Size() > 0 {
			return nil, fault.Errorf(fault.Usage, "%s holds results of something else: give another -o", dir)
		}
		s := State{Schema: stateSchema, Version: version, Name: p.Spec.Name, Started: time.Now().UTC(), Digest: p.digest(), Choice: c,
			Cells: p.names(), Plan: p.planned()}
		if err := writeState(filepath.Join(dir, StateFile), s); err != nil {
			return nil, err
		}
	}
	if err := o.load(); err != nil {
		return nil, err
	}
	return o, o.reserve()
}

func writeState(path string, s State) (err error) {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	// The directory is locked; what a kill left of the last attempt is written
	// over.
	f, err := os.Create(path + ".new")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// names tell the cells of a plan from those of another, for people.
func (p *Plan) names() []string {
	var names []string
	for i := range p.Cells {
		names = append(names, p.Cells[i].ID+" "+p.Cells[i].String())
	}
	return names
}

// planned is the plan for who reads the results.
func (p *Plan) planned() results.Plan {
	out := results.Plan{Whole: p.digest(), All: len(p.Cells)}
	if p.part.of > 0 {
		out = results.Plan{Shard: p.part.shard, Shards: p.part.of, Whole: p.part.whole, All: p.part.all}
	}
	for i := range p.Cells {
		c := &p.Cells[i]
		runs := p.Spec.Repeats
		if len(c.Missing) > 0 {
			runs = 1 // the record that says why it is skipped
		}
		out.Cells = append(out.Cells, results.PlannedCell{Pair: c.Pair.Name, Cell: c.ID, Name: c.String(), Runs: runs})
	}
	return out
}

// sameAs says what is not as it was when the directory was begun.
func (p *Plan) sameAs(was State, dir string) error {
	if p.digest() == was.Digest {
		return nil
	}
	old := map[string]bool{}
	for _, n := range was.Cells {
		old[n] = true
	}
	var added []string
	for _, n := range p.names() {
		if !old[n] {
			added = append(added, n)
		}
		delete(old, n)
	}
	what := "its name, repeats, drop or seed are others"
	if len(added)+len(old) > 0 {
		what = fmt.Sprintf("%s not among those that were begun, %d of those gone", printable.Count(len(added), "cell"), len(old))
		if len(added) > 0 {
			_, name, _ := strings.Cut(added[0], " ")
			what += ", as " + name
		}
	}
	return fault.Errorf(fault.Usage, "the experiment is not the one begun in %s: %s. Put the spec, the flags and the hosts back as they "+
		"were, or give another -o", dir, what)
}

// load reads what was measured before.
func (o *output) load() error {
	f, err := os.Open(o.store)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	defer f.Close()
	for r, err := range results.Read(f) {
		if line, ok := errors.AsType[*results.LineError](err); ok {
			o.torn = append(o.torn, line)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.store, err)
		}
		o.note(&r)
	}
	return nil
}

// note remembers a record that is in the store.
func (o *output) note(r *results.Record) {
	key := r.Pair + "/" + r.Cell
	if o.done[key] == nil {
		o.done[key] = map[int]bool{}
	}
	o.done[key][r.Repeat] = true
	o.remember(r)
}

// takeFile opens and locks a file that goes when its holder does.
func takeFile(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("write to the output directory: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fault.Errorf(fault.Failed, "another zcbench run writes to %s", filepath.Dir(path))
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock the output directory: %w", err)
		}
		mine, err := f.Stat()
		there, terr := os.Stat(path)
		if err == nil && terr == nil && os.SameFile(mine, there) {
			return f, nil
		}
		f.Close() // its holder ended between the two calls
	}
}

// reserve takes room that is given up when the disk is full.
func (o *output) reserve() error {
	err := unix.Fallocate(int(o.spare.Fd()), 0, 0, spareBytes)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil // a full disk then loses the run that was on
	}
	if err != nil {
		return fault.Errorf(fault.Failed, "%s: %w: an experiment wants at least %d MiB free there to begin", o.dir, err, spareBytes>>20)
	}
	return nil
}

// append stores a record. When the disk is full the record goes where the
// spare room was, and the error says so.
func (o *output) append(r results.Record) error {
	err := results.Append(o.store, r)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		full := fault.Errorf(fault.Failed, "the disk of %s is full: %w; what was measured is stored: make room and go on with --resume", o.dir,
			err)
		if e := o.spare.Truncate(0); e != nil {
			return errors.Join(err, e)
		}
		if e := results.Append(o.store, r); e != nil {
			return fmt.Errorf("the disk of %s is full, and run %s of cell %s is lost: %w; make room and go on with --resume", o.dir, r.ID, r.Cell, e)
		}
		o.note(&r)
		return full
	}
	if err == nil {
		o.note(&r)
	}
	return err
}

func (o *output) close() {
	os.Remove(o.spare.Name()) // while it is locked: nobody else can have it
	o.spare.Close()
}

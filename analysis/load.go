package analysis

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"zcbench/internal/printable"
	"zcbench/results"
)

// Set is the runs that reports are made of.
type Set struct {
	// Problems say in a line each what could not be read, or was left out.
	Problems []string
	// Plan says in a line each which planned runs are not there, as of an
	// experiment that was interrupted, or that this cannot be known.
	Plan []string

	runs []*Run
}

// Run is one record and where the whole of it is.
type Run struct {
	*results.Record // lean, where it comes from a file: see results.Pool
	flat            flat
	Begun           time.Time
	file            string       // empty: the record is whole
	line            results.Line // without its text
	Size            int          // of its text
	redact          *results.Redactor
}

// flat are a record's facts and settings. Runs that have the same may share
// them.
type flat struct{ rx, tx, settings facts }

func flatten(r *results.Record) flat {
	return flat{sorted(r.Facts.RX), sorted(r.Facts.TX), sorted(r.Settings)}
}

// facts are those of a host, or settings, cleaned and in order of name.
type facts []results.Fact

func sorted(f results.Facts) facts {
	list := f.Flat()
	for i := range list {
		list[i] = results.Fact{Name: printable.Line(list[i].Name), Value: printable.Line(list[i].Value)}
	}
	return list
}

// value is one of them by name; empty where it is absent.
func (f facts) value(name string) string {
	i, ok := slices.BinarySearchFunc(f, name, func(f results.Fact, name string) int { return cmp.Compare(f.Name, name) })
	if !ok {
		return ""
	}
	return f[i].Value
}

// Full is the record with its samples and all.
func (r *Run) Full() (results.Record, error) {
	if r.file == "" {
		return *r.Record, nil
	}
	f, err := os.Open(r.file)
	if err != nil {
		return results.Record{}, fmt.Errorf("read run %s again: %w", r.ID, err)
	}
	defer f.Close()
	line := r.line
	line.Text = make([]byte, r.Size)
	if _, err := f.ReadAt(line.Text, line.Offset); err != nil {
		return results.Record{}, fmt.Errorf("read run %s again from %s: %w", r.ID, r.file, err)
	}
	if r.redact != nil {
		line.Text = r.redact.Line(line.Text)
	}
	rec, err := line.Record()
	if err == nil && rec.ID != r.ID {
		err = errors.New("the file has changed")
	}
	if err != nil {
		return results.Record{}, fmt.Errorf("read run %s again from %s: %w", r.ID, r.file, err)
	}
	return rec, nil
}

// Of makes a set of records at hand.
func Of(records []results.Record) *Set {
	s := &Set{}
	for i := range records {
		s.runs = append(s.runs, &Run{Record: &records[i], flat: flatten(&records[i]), Begun: started(&records[i])})
	}
	return s
}

// Load reads stores, and files that -J printed; of a directory, every *.jsonl in it. A record that is in
// them more than once counts once. Lines that cannot be read are told in
// Problems; the error is about the paths.
func Load(paths ...string) (*Set, error) { return load(paths, nil) }

// LoadRedacted is Load for reports that others may read: see results.Redactor.
func LoadRedacted(paths ...string) (*Set, error) {
	redact := &results.Redactor{}
	s, err := load(paths, redact)
	if err != nil {
		return nil, err
	}
	for _, list := range [][]string{s.Problems, s.Plan} {
		for i := range list {
			list[i] = redact.Text(list[i], paths...)
		}
	}
	return s, nil
}

func load(paths []string, redact *results.Redactor) (*Set, error) {
	plans := plans{redact: redact}
	files, err := stores(paths, &plans)
	if err != nil {
		return nil, err
	}
	s := &Set{}
	var pool results.Pool
	lists := map[results.Digest]facts{}
	list := func(d results.Digest, f results.Facts) facts {
		if d == (results.Digest{}) {
			return sorted(f)
		}
		if lists[d] == nil {
			lists[d] = sorted(f)
		}
		return lists[d]
	}
	known := map[string]uint64{} // id to a hash of the line
	seed := maphash.MakeSeed()
	again, changed := 0, 0
	for _, from := range files {
		path := from.path
		var bad troubles
		err := read(path, redact, &pool, seed, func(l results.Line, size int, sum uint64, r *results.Record, same results.Shared,
			err error) {
			if err != nil {
				bad.add(err)
				return
			}
			plans.note(from, r)
			if first, ok := known[r.ID]; ok && r.ID != "" {
				if first == sum {
					again++
				} else {
					changed++
				}
				return
			}
			known[r.ID] = sum
			l.Text = nil
			flat := flat{list(same.Facts.RX, r.Facts.RX), list(same.Facts.TX, r.Facts.TX), list(same.Settings, r.Settings)}
			s.runs = append(s.runs, &Run{Record: r, flat: flat, Begun: started(r), file: path, line: l, Size: size, redact: redact})
		})
		if err != nil {
			return nil, err
		}
		s.Problems = append(s.Problems, bad.texts(path)...)
	}
	s.Plan = plans.remarks()
	if again > 0 {
		s.Problems = append(s.Problems, fmt.Sprintf("%d %s more than once; each counts once", again,
			printable.Plural(again, "record is there", "records are there")))
	}
	if changed > 0 {
		s.Problems = append(s.Problems,
			fmt.Sprintf("%d %s the id of another but not its content; the first of each id counts, the others are left out", changed,
				printable.Plural(changed, "record has", "records have")))
	}
	if text := s.pairs(); text != "" {
		s.Problems = append(s.Problems, text)
	}
	return s, nil
}

// noStore is what holds no records.
type noStore struct{ path, why string }

func (s noStore) Error() string { return "read records: " + printable.Line(s.path) + " " + s.why }

// Is says that something was named that is not there.
func (noStore) Is(target error) bool { return target == fs.ErrNotExist }

// pairs tells how many runs each pair of hosts made, where there are several.
func (s *Set) pairs() string {
	runs := map[string]int{}
	for _, r := range s.runs {
		tx, rx := r.flat.tx.value("machine.hostname"), r.flat.rx.value("machine.hostname")
		if tx != "" && rx != "" {
			runs[tx+" → "+rx]++
		}
	}
	if len(runs) < 2 {
		return ""
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", name, runs[name]))
	}
	return fmt.Sprintf("runs of %d pairs of hosts: %s; --group-by or --filter machine.hostname parts them", len(runs),
		strings.Join(printable.Shorten(parts), ", "))
}

// Empty says that there is no run.
func (s *Set) Empty() bool { return len(s.runs) == 0 }

// stores are the files that paths mean. A directory in which an experiment was
// begun may have none yet.
func stores(paths []string, plans *plans) ([]source, error) {
	var files []source
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("read records: %w", err)
		}
		if st.Mode()&fs.ModeDevice != 0 {
			return nil, noStore{p, "is a device, and no file of records"}
		}
		if !st.IsDir() {
			from := source{path: p}
			if filepath.Base(p) == results.StoreFile {
				from.home = home(filepath.Dir(p))
			}
			files = append(files, from)
			continue
		}
		home := home(p)
		if home != "" {
			plans.open(home)
		}
		in, err := filepath.Glob(filepath.Join(escape(p), "*.jsonl"))
		if err != nil {
			return nil, fmt.Errorf("look for records in %s: %w", p, err)
		}
		if len(in) == 0 && home == "" {
			return nil, noStore{p, "holds no *.jsonl"}
		}
		slices.Sort(in)
		for _, path := range in {
			files = append(files, source{path, home})
		}
	}
	return files, nil
}

// escape keeps Glob from taking a path for a pattern.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// open reads a store by lines, unless it begins as a record over several.
func open(f *os.File) iter.Seq2[results.Line, error] {
	start := make([]byte, 2)
	n, _ := f.ReadAt(start, 0) // what cannot be read is told by who reads all
	if string(start[:n]) == "{\n" {
		return results.Documents(f)
	}
	return results.Lines(f)
}

// read gives the records of one file in order; several goroutines decode.
func read(path string, redact *results.Redactor, pool *results.Pool, seed maphash.Seed,
	give func(results.Line, int, uint64, *results.Record, results.Shared, error)) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	defer f.Close()
	type decoded struct {
		line results.Line
		size int
		sum  uint64
		rec  results.Record
		same results.Shared
		err  error
	}
	workers := runtime.GOMAXPROCS(0)
	type job struct {
		line results.Line
		size int // of its text in the file
		to   chan decoded
	}
	jobs := make(chan job)
	ahead := make(chan chan decoded, 2*workers) // bounds the lines in memory
	go func() {
		defer close(ahead)
		defer close(jobs)
		for line, err := range open(f) {
			to := make(chan decoded, 1)
			ahead <- to
			if err != nil {
				to <- decoded{err: err}
				continue
			}
			size := len(line.Text)
			if redact != nil { // here, so that stand-ins are numbered in order
				line.Text = redact.Line(line.Text)
			}
			jobs <- job{line, size, to}
		}
	}()
	for range workers {
		go func() {
			for j := range jobs {
				d := decoded{line: j.line, size: j.size, sum: maphash.Bytes(seed, j.line.Text)}
				d.rec, d.same, d.err = pool.Lean(j.line)
				j.to <- d
			}
		}()
	}
	for to := range ahead {
		d := <-to
		if _, ok := errors.AsType[*results.LineError](d.err); d.err != nil && !ok {
			err = fmt.Errorf("%s: %w", path, d.err)
			continue
		}
		rec := d.rec // d holds the line, which is large
		give(d.line, d.size, d.sum, &rec, d.same, d.err)
	}
	return err
}

// troubles are the lines of one file that could not be read, by cause.
type troubles struct {
	causes []string
	lines  map[string][]int
}

func (t *troubles) add(err error) {
	line, ok := errors.AsType[*results.LineError](err)
	if !ok {
		return
	}
	cause := line.Err.Error()
	if t.lines == nil {
		t.lines = map[string][]int{}
	}
	if _, ok := t.lines[cause]; !ok {
		t.causes = append(t.causes, cause)
	}
	t.lines[cause] = append(t.lines[cause], line.Line)
}

func (t *troubles) texts(path string) []string {
	const most = 5
	var list []string
	for _, cause := range t.causes {
		n := t.lines[cause]
		where := make([]string, 0, most)
		for _, line := range n[:min(most, len(n))] {
			where = append(where, fmt.Sprint(line))
		}
		if len(n) > most {
			where = append(where, "…")
		}
		list = append(list, fmt.Sprintf("%s: %d %s not read (%s %s): %s", printable.Line(path), len(n),
			printable.Plural(len(n), "line", "lines"), printable.Plural(len(n), "line", "lines"), strings.Join(where, ", "),
			printable.Line(cause)))
	}
	return list
}

// started is zero for a time that is none.
func started(r *results.Record) time.Time {
	t, err := time.Parse(time.RFC3339Nano, r.Started)
	if err != nil {
		return time.Time{}
	}
	return t
}

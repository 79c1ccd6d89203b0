package analysis

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"zcbench/internal/printable"
	"zcbench/results"
)

// source is a file of records, and the directory whose plan it belongs to;
// empty: none that is known.
type source struct{ path, home string }

// planned is what a directory was to hold, and which runs it does.
type planned struct {
	dir, experiment string
	results.Plan
	there map[plannedRun]bool
	most  int // repeats that some cell has
}

type plannedRun struct {
	pair, cell string
	repeat     int
}

// plans are those of the directories that records were read from.
type plans struct {
	all     []*planned
	texts   []string            // what could not be read
	unknown map[string][]string // by experiment, the files of which no plan is known
	redact  *results.Redactor   // of the records; nil: none
}

// open reads the plan of a directory, once.
func (p *plans) open(dir string) *planned {
	for _, one := range p.all {
		if one.dir == dir {
			return one
		}
	}
	name, plan, err := results.ReadPlan(dir)
	one := &planned{dir: dir, experiment: name, Plan: plan, there: map[plannedRun]bool{}}
	if err != nil {
		p.texts = append(p.texts, printable.Line(err.Error())+"; whether all runs are there cannot be known")
		one.Cells = nil
	}
	for i := range one.Cells {
		if p.redact != nil { // as the records have it
			c := &one.Cells[i]
			name, paired := strings.CutPrefix(c.Name, c.Pair+": ")
			c.Name, c.Pair = p.redact.Text(name), p.redact.Pair(c.Pair)
			if paired {
				c.Name = c.Pair + ": " + c.Name
			}
		}
	}
	p.all = append(p.all, one)
	return one
}

// note counts a record of a file, also one that is in another file too.
func (p *plans) note(from source, r *results.Record) {
	if from.home == "" {
		if r.Experiment == "" {
			return
		}
		if p.unknown == nil {
			p.unknown = map[string][]string{}
		}
		p.unknown[r.Experiment] = add(p.unknown[r.Experiment], from.path)
		return
	}
	one := p.open(from.home)
	if r.Experiment != one.experiment {
		return
	}
	one.there[plannedRun{r.Pair, r.Cell, r.Repeat}] = true
	one.most = max(one.most, r.Repeat+1)
}

// remarks say what is not all there, or that nobody knows.
func (p *plans) remarks() []string {
	texts := slices.Clone(p.texts)
	for _, one := range p.all {
		if text := one.missing(); text != "" {
			texts = append(texts, text)
		}
	}
	texts = append(texts, p.shards()...)
	for _, name := range slices.Sorted(maps.Keys(p.unknown)) {
		files := slices.Clone(p.unknown[name])
		for i := range files {
			files[i] = printable.Line(files[i])
		}
		texts = append(texts,
			fmt.Sprintf(
				"whether all planned runs of experiment %s are here cannot be known: no %s stands beside %s; "+
					"zcbench report DIR over the directory of zcbench run would know",
				printable.Line(name), results.PlanFile, strings.Join(printable.Shorten(files), ", ")))
	}
	return texts
}

// missing says which of the directory's runs are not there; nothing where all
// are.
func (p *planned) missing() string {
	have, want, complete, atLeast := 0, 0, 0, ""
	var none, few []string
	for _, c := range p.Cells {
		n := 0
		for r := range p.there {
			if r.pair == c.Pair && r.cell == c.Cell {
				n++
			}
		}
		runs := c.Runs
		if runs == 0 { // an older plan: as many as others have
			runs, atLeast = max(p.most, 1), "at least "
		}
		have, want = have+min(n, runs), want+runs
		switch {
		case n >= runs:
			complete++
		case n == 0:
			none = append(none, printable.Line(c.Name))
		default:
			few = append(few, fmt.Sprintf("%s (%d of %d)", printable.Line(c.Name), n, runs))
		}
	}
	if have == want {
		return ""
	}
	text := fmt.Sprintf("experiment %s in %s is incomplete: %d of %s%d planned runs are there, and %d of %s complete",
		printable.Line(p.experiment), printable.Line(p.dir), have, atLeast, want, complete, printable.Count(len(p.Cells), "cell"))
	const most = 5
	for _, part := range []struct {
		head string
		list []string
	}{{"without a run: ", none}, {"with fewer than planned: ", few}} {
		if n := len(part.list); n > most {
			part.list = append(part.list[:most:most], fmt.Sprintf("and %d more", n-most))
		}
		if len(part.list) > 0 {
			text += "; " + part.head + strings.Join(part.list, ", ")
		}
	}
	how := "It was interrupted, or gave up"
	if _, err := os.Lstat(filepath.Join(p.dir, results.SpareFile)); err == nil {
		how = "It is still being measured, or was killed"
	}
	return text + ". " + how + "; zcbench run with --resume goes on"
}

// shards says which parts of divided experiments are in no directory that was
// given.
func (p *plans) shards() []string {
	type whole struct {
		experiment, digest string
		shards             int
	}
	parts := map[whole]map[int]*planned{}
	for _, one := range p.all {
		if one.Shards > 1 {
			key := whole{one.experiment, one.Whole, one.Shards}
			if parts[key] == nil {
				parts[key] = map[int]*planned{}
			}
			parts[key][one.Shard] = one
		}
	}
	keys := slices.SortedFunc(maps.Keys(parts), func(a, b whole) int {
		return cmp.Or(cmp.Compare(a.experiment, b.experiment), cmp.Compare(a.digest, b.digest), cmp.Compare(a.shards, b.shards))
	})
	var texts []string
	for _, key := range keys {
		var missing []string
		cells, all := 0, 0
		for _, one := range parts[key] {
			cells, all = cells+len(one.Cells), max(all, one.All)
		}
		const most = 20
		left := 0
		for i := 1; i <= key.shards; i++ {
			if parts[key][i] != nil {
				continue
			}
			if left++; left <= most {
				missing = append(missing, fmt.Sprint(i))
			}
		}
		if left == 0 {
			continue
		}
		if left > most {
			missing = append(missing, "…")
		}
		text := fmt.Sprintf("experiment %s is incomplete: of its %d shards %s %s missing", printable.Line(key.experiment), key.shards,
			strings.Join(missing, ", "), printable.Plural(left, "is", "are"))
		if all > 0 {
			text += fmt.Sprintf(", with %d of %s", all-cells, printable.Count(all, "cell"))
		}
		texts = append(texts, text)
	}
	return texts
}

// home is the directory whose plan a file of records belongs to.
func home(dir string) string {
	if _, err := os.Lstat(filepath.Join(dir, results.PlanFile)); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return filepath.Clean(dir)
}

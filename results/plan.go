package results

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"zcbench/internal/bounded"
)

// Files of a directory that an experiment is measured into.
const (
	StoreFile = "results.jsonl"
	PlanFile  = "experiment.json" // what is to be measured; see Plan
	SpareFile = ".spare"          // there while it is measured, and after a kill
)

// PlanSchema names this version of a PlanFile.
const PlanSchema = "zcbench-experiment/1"

// Plan is what was to be measured into one directory. It says when records are
// not all there.
type Plan struct {
	// Shard of Shards is the directory's part of the experiment, from 1; zero
	// where it was not divided. The parts of one have the same Whole.
	Shard  int    `json:"shard,omitempty"`
	Shards int    `json:"shards,omitempty"`
	Whole  string `json:"whole"`
	All    int    `json:"all_cells"` // of all shards; 0: not known
	// Cells are those of this directory.
	Cells []PlannedCell `json:"cells"`
}

// PlannedCell is one cell of a Plan, and how many records it is to have.
type PlannedCell struct {
	Pair string `json:"pair,omitempty"`
	Cell string `json:"cell"`
	Name string `json:"name"`
	Runs int    `json:"runs"` // 0: not known, in a plan of an older version
}

// ReadPlan reads a directory's plan and its experiment's name. An error is
// fs.ErrNotExist where there is none.
func ReadPlan(dir string) (experiment string, p Plan, err error) {
	b, err := bounded.ReadFile(filepath.Join(dir, PlanFile), bounded.Large)
	if err != nil {
		return "", p, fmt.Errorf("read what was planned: %w", err)
	}
	var file struct {
		Schema     string `json:"schema"`
		Experiment string `json:"experiment"`
		Plan       *Plan  `json:"plan"`
		// Older versions have the names of the cells alone, and what the user
		// chose.
		Cells  []string `json:"cells"`
		Choice struct {
			Repeats int    `json:"repeats"`
			Shard   string `json:"shard"`
		} `json:"choice"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return "", p, fmt.Errorf("read what was planned in %s: %w", dir, err)
	}
	if file.Schema != PlanSchema {
		return "", p, fmt.Errorf("read what was planned in %s: %w", dir, &SchemaError{file.Schema})
	}
	if file.Plan != nil {
		return file.Experiment, *file.Plan, nil
	}
	if file.Choice.Shard != "" {
		if _, err := fmt.Sscanf(file.Choice.Shard, "%d/%d", &p.Shard, &p.Shards); err != nil {
			return "", p, fmt.Errorf("read what was planned in %s: shard %q: %w", dir, file.Choice.Shard, err)
		}
	}
	for _, text := range file.Cells {
		c := PlannedCell{Runs: file.Choice.Repeats}
		c.Cell, c.Name, _ = strings.Cut(text, " ")
		if word, _, _ := strings.Cut(c.Name, " "); strings.HasSuffix(word, ":") {
			c.Pair = strings.TrimSuffix(word, ":")
		}
		p.Cells = append(p.Cells, c)
	}
	return file.Experiment, p, nil
}

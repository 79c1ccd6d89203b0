package reports

import (
	"encoding/json"
	"fmt"
	"io"
	"math"

	"zcbench/analysis"
	"zcbench/internal/printable"
	"zcbench/results"
)

// reportSchema names this version of what writeJSON writes.
const reportSchema = "zcbench-report/1"

type jsonReport struct {
	Schema     string           `json:"schema"`
	GroupBy    []string         `json:"group_by"`
	Metrics    []jsonMetric     `json:"metrics"`
	Cells      []jsonCell       `json:"cells"`
	References []analysis.Study `json:"references"`
	Plan       []string         `json:"plan"`
	Problems   []string         `json:"problems"`
}

type jsonMetric struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	Unit   string `json:"unit"`
	Better int    `json:"better"`
}

type jsonCell struct {
	Name     string                `json:"name"`
	Cell     string                `json:"cell"`
	TX       string                `json:"tx"`
	RX       string                `json:"rx"`
	TXScope  string                `json:"tx_cpu_scope"`
	RXScope  string                `json:"rx_cpu_scope"`
	TXClock  []string              `json:"tx_cpu_methods"`
	RXClock  []string              `json:"rx_cpu_methods"`
	TXPower  string                `json:"tx_power_scope"`
	RXPower  string                `json:"rx_power_scope"`
	Group    map[string]string     `json:"group"`
	Differs  string                `json:"differs"`
	N        int                   `json:"n"`
	Dropped  int                   `json:"dropped"`
	Failed   int                   `json:"failed"`
	Skipped  int                   `json:"skipped"`
	Figures  map[string]jsonFigure `json:"figures"`
	Runs     []jsonRun             `json:"runs"`
	Warnings []string              `json:"warnings"`
}

type jsonFigure struct {
	N      int      `json:"n"`
	Mean   *float64 `json:"mean"`
	Lo     *float64 `json:"lo95"`
	Hi     *float64 `json:"hi95"`
	SD     *float64 `json:"sd"`
	Median *float64 `json:"median"`
	Min    *float64 `json:"min"`
	Max    *float64 `json:"max"`
}

type jsonRun struct {
	ID       string              `json:"id"`
	Repeat   int                 `json:"repeat"`
	Started  string              `json:"started"`
	Status   results.Status      `json:"status"`
	Dropped  string              `json:"dropped"`
	Reason   string              `json:"reason"`
	Values   map[string]*float64 `json:"values"`
	Warnings []string            `json:"warnings"`
}

// writeJSON writes all figures, all runs that they are made of, and those that
// they are not.
func writeJSON(w io.Writer, r *analysis.Report) error {
	out := jsonReport{Schema: reportSchema, GroupBy: append([]string{}, r.By...), Metrics: []jsonMetric{}, Cells: []jsonCell{},
		References: []analysis.Study{}, Plan: append([]string{}, r.Plan...), Problems: append([]string{}, r.Problems...)}
	for _, one := range r.References {
		out.References = append(out.References, one.Study)
	}
	for _, m := range r.Metrics {
		out.Metrics = append(out.Metrics, jsonMetric{m.Name, m.Title, m.Unit, m.Better})
	}
	for _, c := range r.Cells {
		tx, rx := c.Conditions("tx"), c.Conditions("rx")
		k := jsonCell{Name: c.Name(), Cell: c.ID, TX: c.TX, RX: c.RX, TXScope: tx.CPUScope, RXScope: rx.CPUScope,
			TXClock: append([]string{}, tx.Clocks...), RXClock: append([]string{}, rx.Clocks...), TXPower: tx.PowerScope,
			RXPower: rx.PowerScope, Group: map[string]string{}, Differs: c.Differs,
			N: len(c.Runs), Dropped: len(c.Dropped), Failed: len(c.Failed), Skipped: len(c.Skipped),
			Figures: map[string]jsonFigure{}, Runs: []jsonRun{}, Warnings: append([]string{}, c.Warnings()...)}
		for i, name := range r.By {
			k.Group[name] = c.By[i]
		}
		for _, m := range r.Metrics {
			if f := m.Over(c.Runs); f.N > 0 {
				k.Figures[m.Name] = jsonFigure{f.N, finite(f.Mean), finite(f.Lo), finite(f.Hi), finite(f.SD), finite(f.Median),
					finite(f.Min), finite(f.Max)}
			}
		}
		for _, one := range c.Records() {
			run := jsonRun{one.ID, one.Repeat, one.Started, one.Status, one.Dropped, one.Reason, map[string]*float64{},
				append([]string{}, one.Warnings...)}
			if one.Status == results.OK {
				for _, m := range r.Metrics {
					v := m.Of(one.Record)
					if v != nil {
						v = finite(*v)
					}
					run.Values[m.Name] = v
				}
			}
			k.Runs = append(k.Runs, run)
		}
		out.Cells = append(out.Cells, k)
	}
	return writeIndented(w, out)
}

// writeIndented writes a value as JSON over several lines.
func writeIndented(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	_, err = w.Write(append(printable.JSON(b), '\n'))
	return err
}

// writeRecords writes the records themselves, a line each, as a store has them.
func writeRecords(w io.Writer, r *analysis.Report) error {
	for _, one := range r.Runs {
		rec, err := one.Full()
		if err != nil {
			return err
		}
		b, err := json.Marshal(rec)
		if err != nil {
			return fmt.Errorf("encode run %s: %w", printable.Line(rec.ID), err)
		}
		if _, err := w.Write(append(printable.JSON(b), '\n')); err != nil {
			return err
		}
	}
	return nil
}

// finite is a number as JSON has it: nothing where there is none.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

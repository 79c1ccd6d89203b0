package reports

import (
	"fmt"
	"slices"
	"strings"

	"zcbench/internal/digits"
	"zcbench/internal/printable"
	"zcbench/results"
)

// powerText says what the power meters of one run saw: a paragraph for each end
// that has one.
func powerText(b *strings.Builder, r *results.Record) {
	for _, e := range []struct {
		name string
		end  *results.End
	}{{"sender", r.TX}, {"receiver", r.RX}} {
		if e.end == nil {
			continue
		}
		if e.end.Power != nil {
			b.WriteString(wrap("Power, "+e.name+": ", onePower(e.end.Power)))
		}
		for i := range e.end.Meters {
			m := &e.end.Meters[i]
			if p := e.end.Power; p == nil || m.Meter != p.Meter {
				// One of the same scope that is not in the sum sees what is in it.
				beside := p != nil && m.Scope == p.Scope && !slices.Contains(strings.Split(p.Meter, " + "), m.Meter)
				b.WriteString(wrap(map[bool]string{false: "  of it: ", true: "  counted once, also: "}[beside], onePower(m)))
			}
		}
	}
	if p := r.Total.Power; p != nil {
		b.WriteString(wrap("Power, both ends: ", onePower(p)))
	}
}

// told is which share of the watts their bound must be to be shown.
const told = 0.01

// onePower is a meter's figures; what it saw is part of them, as watts of a
// CPU package are no watts of a host.
func onePower(p *results.Power) string {
	unit := func(v float64) string { return digits.Fixed(v, digits.Places(v)) }
	text := unit(p.Watts) + " W"
	if p.Bound > told*p.Watts {
		text += " ± " + unit(p.Bound)
	}
	if p.Min != nil && p.Max != nil {
		text += fmt.Sprintf(" (%s to %s)", unit(*p.Min), unit(*p.Max))
	}
	if p.Baseline != nil {
		text += fmt.Sprintf(", idle %s W", unit(*p.Baseline))
	}
	if p.JoulesPerG != nil {
		text += fmt.Sprintf(", %s J/GB", unit(*p.JoulesPerG))
	}
	by := printable.Count(p.Samples, "value")
	if p.Energy {
		by = "energy counter"
	}
	return fmt.Sprintf("%s, %s, by %s (%s)", text, sees(p), printable.Clip(printable.Line(p.Meter), 80), by)
}

func sees(p *results.Power) string {
	switch p.Scope {
	case "wall":
		return "at the wall"
	case "package":
		return "of the CPU packages and not the wall"
	case "gpu":
		return "of the GPU and not the wall"
	}
	return "of what the meter is on"
}

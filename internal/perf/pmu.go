package perf

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"zcbench/internal/cpulist"
)

// PMU is a unit that counts, as the kernel describes it in
// /sys/bus/event_source/devices (Documentation/ABI/testing/
// sysfs-bus-event_source-devices-*).
type PMU struct {
	Name string
	CPUs []int // that its events are opened on; none where it has no cpumask
	kind uint32
	dir  string
}

const devices = "sys/bus/event_source/devices"

// PMUs lists those whose names begin with prefix.
func PMUs(root, prefix string) ([]PMU, error) {
	entries, err := os.ReadDir(filepath.Join(root, devices))
	if err != nil {
		return nil, fmt.Errorf("list performance units: %w", err)
	}
	var all []PMU
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		p := PMU{Name: e.Name(), dir: filepath.Join(root, devices, e.Name())}
		kind, err := p.file("type")
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(kind, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("performance unit %s: type %q", p.Name, kind)
		}
		p.kind = uint32(n)
		if mask, err := p.file("cpumask"); err == nil {
			if p.CPUs, err = cpulist.Parse(mask); err != nil {
				return nil, fmt.Errorf("performance unit %s: %w", p.Name, err)
			}
		}
		all = append(all, p)
	}
	return all, nil
}

func (p *PMU) file(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		return "", fmt.Errorf("performance unit %s: %w", p.Name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Events lists the names of the unit's events.
func (p *PMU) Events() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(p.dir, "events"))
	if err != nil {
		if os.IsNotExist(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("performance unit %s: %w", p.Name, err)
	}
	var names []string
	for _, e := range entries {
		if !strings.Contains(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Event gives an event by its name, and what one count of it is: scale of unit.
func (p *PMU) Event(name string) (e Event, scale float64, unit string, err error) {
	text, err := p.file("events/" + name)
	if err != nil {
		return e, 0, "", err
	}
	if e, err = p.Encode(text); err != nil {
		return e, 0, "", fmt.Errorf("event %s: %w", name, err)
	}
	scale = 1
	if s, err := p.file("events/" + name + ".scale"); err == nil {
		if scale, err = strconv.ParseFloat(s, 64); err != nil {
			return e, 0, "", fmt.Errorf("performance unit %s, event %s: scale %q", p.Name, name, s)
		}
		unit, _ = p.file("events/" + name + ".unit")
	}
	return e, scale, unit, nil
}

// Encode gives an event by its terms: "event=0x04,umask=0x3".
func (p *PMU) Encode(terms string) (Event, error) {
	e, err := parseEvent(terms, func(term string) (string, error) { return p.file("format/" + term) })
	if err != nil {
		return e, fmt.Errorf("performance unit %s: %w", p.Name, err)
	}
	e.Type = p.kind
	return e, nil
}

// parseEvent reads "event=0x04,umask=0x3,edge" by the formats of its terms.
func parseEvent(text string, format func(term string) (string, error)) (e Event, err error) {
	for term := range strings.SplitSeq(text, ",") {
		name, value, has := strings.Cut(term, "=")
		v := uint64(1)
		if has {
			if v, err = strconv.ParseUint(value, 0, 64); err != nil {
				return e, fmt.Errorf("%q is no number", value)
			}
		}
		if name == "" || strings.ContainsAny(name, "/.") {
			return e, fmt.Errorf("%q is no term", name)
		}
		f, err := format(name)
		if err != nil {
			return e, err
		}
		if err := e.set(f, v); err != nil {
			return e, fmt.Errorf("term %s: %w", name, err)
		}
	}
	return e, nil
}

// set puts a value into the bits of a format: "config:0-7,32-35".
func (e *Event) set(format string, v uint64) error {
	word, ranges, _ := strings.Cut(format, ":")
	to := map[string]*uint64{"config": &e.Config, "config1": &e.Config1, "config2": &e.Config2}[word]
	if to == nil {
		return fmt.Errorf("format %q", format)
	}
	for r := range strings.SplitSeq(ranges, ",") {
		low, high, isRange := strings.Cut(r, "-")
		if !isRange {
			high = low
		}
		a, err1 := strconv.ParseUint(low, 10, 6)
		b, err2 := strconv.ParseUint(high, 10, 6)
		if err1 != nil || err2 != nil || b < a {
			return fmt.Errorf("format %q", format)
		}
		mask := ^uint64(0) >> (63 - (b - a))
		*to |= v & mask << a
		v = v >> (b - a) >> 1
	}
	if v != 0 {
		return fmt.Errorf("the value has more bits than format %q", format)
	}
	return nil
}

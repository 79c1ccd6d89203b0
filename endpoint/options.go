package endpoint

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"zcbench/internal/fault"
)

// Option is one setting of an engine. A stranger may set it over the control
// port, so it is a bounded number or one of a few words, never free text.
type Option struct {
	Name    string
	Default string
	Doc     string
	// With is what another option must be for this one to do anything, as
	// "mem=heap"; empty: nothing.
	With string
	// Words are the values it may have. When there are none it is a number
	// of Min to Max, and K, M and G multiply by powers of 1024.
	Words    []string
	Min, Max int
}

// Switch is an option that is off or on.
func Switch(name string, on bool, doc string) Option {
	o := Option{Name: name, Default: "off", Doc: doc, Words: []string{"off", "on"}}
	if on {
		o.Default = "on"
	}
	return o
}

// Values are the values of all options of an engine: a number, or the
// index of a word.
type Values map[string]int

// Int is the value of a number. Asking for an option that the engine does not
// list is a mistake in the engine.
func (s Values) Int(name string) int {
	v, ok := s[name]
	if !ok {
		panic("endpoint: the engine does not list its option " + name)
	}
	return v
}

// On is the value of a Switch.
func (s Values) On(name string) bool { return s.Int(name) == 1 }

// ParseOptions reads the options given to an engine, over the defaults of
// those it knows. Anything amiss is an Error of kind Usage.
func ParseOptions(known []Option, given map[string]string) (Values, error) {
	s := Values{}
	for _, o := range known {
		text, ok := given[o.Name]
		if !ok {
			text = o.Default
		}
		v, err := o.parse(text)
		if err != nil {
			return nil, fault.Errorf(fault.Usage, "option %s: %w", o.Name, err)
		}
		s[o.Name] = v
	}
	for _, o := range known {
		if _, ok := given[o.Name]; !ok || o.With == "" {
			continue
		}
		name, word, _ := strings.Cut(o.With, "=")
		if i := slices.IndexFunc(known, func(o Option) bool { return o.Name == name }); known[i].Words[s[name]] != word {
			return nil, fault.Errorf(fault.Usage, "option %s does nothing without %s", o.Name, o.With)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, ok := s[name]; ok {
			continue
		}
		if len(known) == 0 {
			return nil, fault.Errorf(fault.Usage, "unknown option %q: the engine has no options", name)
		}
		var names []string
		for _, o := range known {
			names = append(names, o.Name)
		}
		return nil, fault.Errorf(fault.Usage, "unknown option %q: the engine has %s", name, strings.Join(names, ", "))
	}
	return s, nil
}

func (o Option) parse(text string) (int, error) {
	if len(o.Words) > 0 {
		if i := slices.Index(o.Words, text); i >= 0 {
			return i, nil
		}
		return 0, fmt.Errorf("%q is none of %s", text, strings.Join(o.Words, ", "))
	}
	v, err := ParseSize(text)
	if err != nil {
		return 0, err
	}
	if v < o.Min || v > o.Max {
		return 0, fmt.Errorf("%s is not within %d and %d", text, o.Min, o.Max)
	}
	return v, nil
}

// ParseSize reads a number as iperf3 writes sizes: 4096, 512K, 2M, 1G, the
// suffix in either case and a power of 1024.
func ParseSize(text string) (int, error) {
	digits, shift := text, 0
	if n := len(text); n > 0 {
		switch text[n-1] {
		case 'k', 'K':
			shift = 10
		case 'm', 'M':
			shift = 20
		case 'g', 'G':
			shift = 30
		}
		if shift > 0 {
			digits = text[:n-1]
		}
	}
	// ParseUint takes no sign, but underscores only with base 0.
	v, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || v > math.MaxInt>>shift {
		return 0, fmt.Errorf("%q is not a size such as 4096, 512K or 2M", text)
	}
	return int(v) << shift, nil
}

// Package experiment makes of one file the runs of a matrix, in what order and
// which cannot be done here, and carries them out over pairs of hosts.
package experiment

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"zcbench/internal/fault"
	"zcbench/internal/printable"
)

// Spec is an experiment as its file has it.
type Spec struct {
	Name, About string
	Pairs       []Pair // at least one
	Axes        []Axis
	Repeats     int
	Drop        []int // repeats, from 0, whose runs are left out of figures; -1 is the last
	Seed        uint64
	Cooldown    time.Duration // after each run
	Hooks       Hooks
	// SkipMissing runs what can be run when a host lacks something.
	SkipMissing bool

	path      string
	base      Flags
	variables map[string]string
	include   []extra
	exclude   []exclusion
	known     map[string]Flag
}

// Pair is a sender and a receiver.
type Pair struct {
	Name string // "" when it is the only one and has no name
	// Link is for a pair within this machine: two interfaces that are wired
	// back to back, the sender's first. Empty with hosts, or for what the
	// program takes by default.
	Link   []string
	TX, RX Host

	variables map[string]string
	line      int
}

// Host is a machine, and how it is reached: by one of SSH, Agent and Here.
type Host struct {
	Name string // in the file; "": a pair within this machine has none

	SSH  string // destination, as ssh(1) takes it
	Sudo bool   // the user that SSH logs in as becomes root

	Agent     string // HOST:PORT where zcbench agent --listen waits
	Pin       string // of its key
	TokenFile string // path of the secret it wants

	Here bool // it is this machine

	Interface string // that carries the payload; "": the one with Address, or by which the other end is reached
	Address   string // of that interface; "": its first
}

// Hooks are shell commands that the program runs on its own machine.
type Hooks struct {
	Before, After       string // the whole experiment
	BeforeRun, AfterRun string // each run
}

// Axis is one dimension of the matrix.
type Axis struct {
	Name   string
	Values []Value
}

// Value is a point on an axis: its label, and the flags that it stands for.
type Value struct {
	Label string
	flags Flags
}

// Flags are flags of a run by their long names. A flag that takes NAME=VALUE
// has one entry for each.
type Flags map[string][]string

// Flag is what a spec may say of one flag of a run.
type Flag struct {
	List  bool // it may be given several times
	Pairs bool // its values are NAME=VALUE: a later one replaces one of the same name
	Check func(value string) error
}

// extra is a cell beside those of the axes.
type extra struct {
	line   int
	labels map[string]string
	flags  Flags
}

// exclusion leaves out the cells whose labels are all among its own.
type exclusion map[string][]string

const (
	maxRepeats = 10000
	maxCells   = 1 << 20
)

// Load reads a spec strictly: all that is amiss is an Error of kind Usage with
// its line. known are the flags of a run that it may set.
func Load(path string, text []byte, known map[string]Flag) (*Spec, error) {
	s := &Spec{
		Name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), Repeats: 1, Seed: 1,
		path: path, base: Flags{}, variables: map[string]string{}, known: known,
	}
	root, err := parseYAML(text)
	if err == nil {
		err = s.load(root)
	}
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "%s: %w", path, err)
	}
	return s, nil
}

func (s *Spec) load(root node) error {
	if root.kind != mapping {
		return mistake(root.line, "an experiment is a mapping, not %s", root.kind)
	}
	hosts := map[string]Host{}
	var drop, pairs *pair
	// In this order, whichever they have in the file.
	keys := []struct {
		name string
		read func(pair) error
	}{
		{"name", func(p pair) error { return p.name(&s.Name) }},
		{"about", func(p pair) error { return p.scalar(&s.About) }},
		{"variables", func(p pair) error { return p.variables(s.variables) }},
		{"hosts", func(p pair) error { return readHosts(p, hosts) }},
		{"pairs", func(p pair) error { pairs = &p; return s.readPairs(p, hosts) }},
		{"base", func(p pair) error { return s.flags(p, s.base) }},
		{"axes", s.readAxes},
		{"include", s.readInclude},
		{"exclude", s.readExclude},
		{"repeats", func(p pair) error { return p.number(&s.Repeats, 1, maxRepeats) }},
		{"drop", func(p pair) error { drop = &p; return s.readDrop(p) }},
		{"seed", s.readSeed},
		{"cooldown", func(p pair) error { return p.duration(&s.Cooldown) }},
		{"hooks", s.readHooks},
		{"skip-missing", func(p pair) error { return p.boolean(&s.SkipMissing) }},
	}
	var names []string
	for _, k := range keys {
		names = append(names, k.name)
	}
	for _, p := range root.keys {
		if !slices.Contains(names, p.key.text) {
			if _, ok := s.known[p.key.text]; ok {
				return mistake(p.key.line, "%q is a flag of the runs: put it under base or an axis", p.key.text)
			}
			return unknown(p.key, "key", names)
		}
	}
	for _, k := range keys {
		i := slices.IndexFunc(root.keys, func(p pair) bool { return p.key.text == k.name })
		if i >= 0 {
			if err := k.read(root.keys[i]); err != nil {
				return err
			}
		}
	}
	if i := slices.IndexFunc(root.keys, func(p pair) bool { return p.key.text == "hosts" }); i >= 0 && pairs == nil && len(hosts) > 0 {
		return mistake(root.keys[i].key.line, "hosts are named and no pair uses them: add pairs, such as `pairs: [{tx: A, rx: B}]`")
	}
	if pairs == nil {
		s.Pairs = []Pair{{}}
	}
	line := root.line
	if drop != nil {
		line = drop.key.line
	}
	if err := s.checkDrop(); err != nil {
		return mistake(line, "%w", err)
	}
	return nil
}

// SetRepeats changes how often each cell is run.
func (s *Spec) SetRepeats(n int) error {
	if n < 1 || n > maxRepeats {
		return fault.Errorf(fault.Usage, "%d repeats: it must be from 1 to %d", n, maxRepeats)
	}
	s.Repeats = n
	if err := s.checkDrop(); err != nil {
		return fault.Wrap(fault.Usage, err)
	}
	return nil
}

// SetBase gives a flag of all runs, as base does; axes take precedence.
func (s *Spec) SetBase(flag string, values ...string) error {
	for _, v := range values {
		if err := s.known[flag].Check(v); err != nil {
			return fault.Errorf(fault.Usage, "%s: %w", flag, err)
		}
	}
	s.base[flag] = s.merge(flag, s.base[flag], values)
	return nil
}

func (s *Spec) checkDrop() error {
	left := s.Repeats
	for repeat := range s.Repeats {
		if s.dropped(repeat) != "" {
			left--
		}
	}
	if left == 0 {
		return fmt.Errorf("drop leaves no run of %d: more repeats are needed", s.Repeats)
	}
	return nil
}

// dropped is why a repeat, from 0, is left out of figures, or "".
func (s *Spec) dropped(repeat int) string {
	for _, d := range s.Drop {
		switch {
		case d == 0 && repeat == 0:
			return fmt.Sprintf("first of %s", printable.Count(s.Repeats, "run"))
		case d == -1 && repeat == s.Repeats-1:
			return fmt.Sprintf("last of %s", printable.Count(s.Repeats, "run"))
		case d == repeat:
			return fmt.Sprintf("run %d of %d", repeat+1, s.Repeats)
		}
	}
	return ""
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)

func (p pair) scalar(to *string) error {
	if err := p.want(scalar); err != nil {
		return err
	}
	*to = p.value.text
	return nil
}

func (p pair) name(to *string) error {
	if err := p.scalar(to); err != nil {
		return err
	}
	return p.value.checkName(p.key.text)
}

// checkName keeps names fit for --only, file names and tables.
func (n node) checkName(what string) error {
	if !nameForm.MatchString(n.text) {
		return mistake(n.line, "%s %q: letters, digits and . _ + - are allowed, the first one a letter or a digit", what, n.text)
	}
	return nil
}

func (p pair) number(to *int, least, most int) error {
	if err := p.want(scalar); err != nil {
		return err
	}
	n, err := strconv.Atoi(p.value.text)
	if err != nil || n < least || n > most {
		return mistake(p.value.line, "%s is %q; it must be a number from %d to %d", p.key.text, p.value.text, least, most)
	}
	*to = n
	return nil
}

func (p pair) boolean(to *bool) error {
	if err := p.want(scalar); err != nil {
		return err
	}
	switch p.value.text {
	case "true", "on", "yes":
		*to = true
	case "false", "off", "no":
		*to = false
	default:
		return mistake(p.value.line, "%s is %q; it must be true or false", p.key.text, p.value.text)
	}
	return nil
}

// duration takes seconds, or a Go duration such as 500ms.
func (p pair) duration(to *time.Duration) error {
	if err := p.want(scalar); err != nil {
		return err
	}
	if n, err := strconv.ParseFloat(p.value.text, 64); err == nil && n >= 0 && n <= 1e6 {
		*to = time.Duration(math.Round(n * float64(time.Second)))
		return nil
	}
	d, err := time.ParseDuration(p.value.text)
	if err != nil || d < 0 {
		return mistake(p.value.line, "%s is %q; it must be seconds, or a duration such as 500ms", p.key.text, p.value.text)
	}
	*to = d
	return nil
}

func (p pair) variables(to map[string]string) error {
	if err := p.want(mapping); err != nil {
		return err
	}
	for _, v := range p.value.keys {
		if err := v.key.checkName("variable"); err != nil {
			return err
		}
		var text string
		if err := v.scalar(&text); err != nil {
			return err
		}
		to[v.key.text] = text
	}
	return nil
}

// fields reads a mapping with keys that are known.
func (p pair) fields(what string, read map[string]func(pair) error) error {
	if err := p.want(mapping); err != nil {
		return err
	}
	for _, f := range p.value.keys {
		set, ok := read[f.key.text]
		if !ok {
			var names []string
			for name := range read {
				names = append(names, name)
			}
			return unknown(f.key, what, names)
		}
		if err := set(f); err != nil {
			return err
		}
	}
	return nil
}

func readHosts(p pair, hosts map[string]Host) error {
	if err := p.want(mapping); err != nil {
		return err
	}
	for _, h := range p.value.keys {
		if err := h.key.checkName("host"); err != nil {
			return err
		}
		host := Host{Name: h.key.text}
		if err := h.fields("key of a host", map[string]func(pair) error{
			"ssh":        func(p pair) error { return p.scalar(&host.SSH) },
			"sudo":       func(p pair) error { return p.boolean(&host.Sudo) },
			"agent":      func(p pair) error { return p.scalar(&host.Agent) },
			"pin":        func(p pair) error { return p.scalar(&host.Pin) },
			"token-file": func(p pair) error { return p.scalar(&host.TokenFile) },
			"here":       func(p pair) error { return p.boolean(&host.Here) },
			"iface":      func(p pair) error { return p.scalar(&host.Interface) },
			"address":    func(p pair) error { return p.scalar(&host.Address) },
		}); err != nil {
			return err
		}
		if err := host.check(); err != nil {
			return mistake(h.key.line, "host %s %w", host.Name, err)
		}
		hosts[host.Name] = host
	}
	return nil
}

// machine is equal for two hosts that are known to be one.
func (h *Host) machine() string { return h.SSH + h.Agent }

func (h *Host) check() error {
	ways := 0
	for _, is := range []bool{h.SSH != "", h.Agent != "", h.Here} {
		if is {
			ways++
		}
	}
	switch {
	case ways != 1 || strings.HasPrefix(h.SSH, "-"):
		return errors.New("wants one of ssh: where ssh(1) reaches it, agent: HOST:PORT of an agent that listens, and here: true")
	case h.Sudo && h.SSH == "":
		return errors.New("has sudo, which goes with ssh")
	case (h.Agent != "") != (h.Pin != "") || (h.Agent != "") != (h.TokenFile != ""):
		return errors.New("wants agent, pin and token-file together")
	}
	return nil
}

func (s *Spec) readPairs(p pair, hosts map[string]Host) error {
	if err := p.want(list); err != nil {
		return err
	}
	for _, item := range p.value.list {
		v := Pair{line: item.line, variables: map[string]string{}}
		host := func(to *Host) func(pair) error {
			return func(p pair) error {
				var name string
				if err := p.scalar(&name); err != nil {
					return err
				}
				h, ok := hosts[name]
				if !ok {
					var names []string
					for n := range hosts {
						names = append(names, n)
					}
					return unknown(p.value, "host", names)
				}
				*to = h
				return nil
			}
		}
		if err := (pair{node{line: item.line, text: "a pair"}, item}).fields("key of a pair", map[string]func(pair) error{
			"name": func(p pair) error { return p.name(&v.Name) },
			"tx":   host(&v.TX), "rx": host(&v.RX),
			"variables": func(p pair) error { return p.variables(v.variables) },
			"link": func(p pair) error {
				if p.value.kind == scalar && p.value.text == "veth" {
					v.Link = []string{"veth"}
					return nil
				}
				if err := p.want(list); err != nil {
					return err
				}
				for _, n := range p.value.list {
					v.Link = append(v.Link, n.text)
				}
				if len(v.Link) != 2 || v.Link[0] == "" || v.Link[1] == "" {
					return mistake(p.key.line, "link wants two interfaces, the sender's first, or veth")
				}
				return nil
			},
		}); err != nil {
			return err
		}
		if (v.TX.Name == "") != (v.RX.Name == "") || v.TX.Name != "" && v.Link != nil {
			return mistake(item.line, "a pair has tx and rx, which name hosts, or a link within this machine")
		}
		if v.TX.Name != "" && v.TX.Name == v.RX.Name {
			return mistake(item.line, "both ends of the pair are one interface of one host")
		}
		if slices.ContainsFunc(s.Pairs, func(o Pair) bool { return o.Name == v.Name }) || v.Name == "" && len(p.value.list) > 1 {
			return mistake(item.line, "each pair wants a name of its own")
		}
		s.Pairs = append(s.Pairs, v)
	}
	if len(s.Pairs) == 0 {
		return mistake(p.key.line, "pairs has none; leave it out for a pair within this machine")
	}
	return nil
}

// flags reads flags of runs, as base, an axis' value or an extra cell has them.
func (s *Spec) flags(p pair, to Flags) error {
	if p.value.kind == empty {
		return nil
	}
	if err := p.want(mapping); err != nil {
		return err
	}
	for _, f := range p.value.keys {
		values, err := s.flagValues(f)
		if err != nil {
			return err
		}
		to[f.key.text] = s.merge(f.key.text, to[f.key.text], values)
	}
	return nil
}

func (s *Spec) flagValues(f pair) ([]string, error) {
	known, ok := s.known[f.key.text]
	if !ok {
		var names []string
		for n := range s.known {
			names = append(names, n)
		}
		return nil, unknown(f.key, "flag of a run", names)
	}
	var values []string
	var lines []int
	add := func(n node, prefix string) error {
		// The engine that does nothing is called what YAML calls nothing.
		if n.kind != scalar && n.text != "null" {
			return mistake(max(n.line, f.key.line), "%s wants a single value, not %s", f.key.text, n.kind)
		}
		values, lines = append(values, prefix+n.text), append(lines, n.line)
		return nil
	}
	switch {
	case f.value.kind == mapping && known.Pairs:
		for _, kv := range f.value.keys {
			if err := add(kv.value, kv.key.text+"="); err != nil {
				return nil, err
			}
		}
	case f.value.kind == list && (known.List || known.Pairs):
		for _, n := range f.value.list {
			if err := add(n, ""); err != nil {
				return nil, err
			}
		}
	default:
		if err := add(f.value, ""); err != nil {
			return nil, err
		}
	}
	for i, v := range values {
		for _, name := range variablesIn(v) {
			if !s.isVariable(name) {
				return nil, mistake(lines[i], "%s: no variable is called %q", f.key.text, name)
			}
		}
		if strings.Contains(v, "${") {
			continue // checked when it is known
		}
		if err := known.Check(v); err != nil {
			return nil, mistake(lines[i], "%s: %w", f.key.text, err)
		}
	}
	return values, nil
}

var variableForm = regexp.MustCompile(`\$\{([^}]*)\}`)

func variablesIn(v string) []string {
	var names []string
	for _, m := range variableForm.FindAllStringSubmatch(v, -1) {
		names = append(names, m[1])
	}
	return names
}

// isVariable says whether each pair has the variable.
func (s *Spec) isVariable(name string) bool {
	if _, ok := s.variables[name]; ok {
		return true
	}
	for _, p := range s.Pairs {
		if _, ok := p.variables[name]; !ok {
			return false
		}
	}
	return len(s.Pairs) > 0
}

// merge gives the values of a flag after more of them: those with a name
// replace the one of the same name, others all that was there.
func (s *Spec) merge(flag string, have, more []string) []string {
	if !s.known[flag].Pairs {
		return more
	}
	all := slices.Clone(have)
	for _, m := range more {
		name, _, _ := strings.Cut(m, "=")
		name = strings.TrimSuffix(name, "?")
		i := slices.IndexFunc(all, func(h string) bool {
			n, _, _ := strings.Cut(h, "=")
			return strings.TrimSuffix(n, "?") == name
		})
		if i >= 0 {
			all[i] = m
		} else {
			all = append(all, m)
		}
	}
	return all
}

func (s *Spec) readAxes(p pair) error {
	if err := p.want(mapping); err != nil {
		return err
	}
	cells := 1
	for _, a := range p.value.keys {
		if err := a.key.checkName("axis"); err != nil {
			return err
		}
		if a.key.text == "pair" {
			return mistake(a.key.line, "an axis cannot be called pair: that is what --only calls the host pairs")
		}
		axis := Axis{Name: a.key.text}
		add := func(label node, flags Flags) error {
			if err := label.checkName("value of axis " + axis.Name); err != nil {
				return err
			}
			if slices.ContainsFunc(axis.Values, func(v Value) bool { return v.Label == label.text }) {
				return mistake(label.line, "axis %s has %q twice", axis.Name, label.text)
			}
			axis.Values = append(axis.Values, Value{label.text, flags})
			return nil
		}
		switch a.value.kind {
		case list: // the values of the flag of that name
			for _, n := range a.value.list {
				values, err := s.flagValues(pair{a.key, n})
				if err != nil {
					return err
				}
				label := n
				label.text = strings.NewReplacer("=", "-", ",", "+", ":", "-", "/", "-", " ", "-").Replace(n.text)
				if err := add(label, Flags{axis.Name: values}); err != nil {
					return err
				}
			}
		case mapping:
			for _, v := range a.value.keys {
				flags := Flags{}
				if err := s.flags(v, flags); err != nil {
					return err
				}
				if err := add(v.key, flags); err != nil {
					return err
				}
			}
		default:
			return mistake(a.key.line, "axis %s wants a list of values of the flag of that name, or a mapping from names to flags, not %s",
				axis.Name, a.value.kind)
		}
		if len(axis.Values) == 0 {
			return mistake(a.key.line, "axis %s has no values", axis.Name)
		}
		if cells *= len(axis.Values); cells > maxCells {
			return mistake(a.key.line, "with axis %s there are over %d cells", axis.Name, maxCells)
		}
		s.Axes = append(s.Axes, axis)
	}
	return nil
}

// label finds a value of an axis.
func (s *Spec) label(axis, label node) error {
	var names []string
	for _, a := range s.Axes {
		if a.Name != axis.text {
			names = append(names, a.Name)
			continue
		}
		var labels []string
		for _, v := range a.Values {
			labels = append(labels, v.Label)
		}
		if !slices.Contains(labels, label.text) {
			return unknown(label, "value of axis "+a.Name, labels)
		}
		return nil
	}
	return unknown(axis, "axis", names)
}

func (s *Spec) readInclude(p pair) error {
	if err := p.want(list); err != nil {
		return err
	}
	for _, item := range p.value.list {
		if item.kind != mapping {
			return mistake(max(item.line, p.key.line), "an extra cell is a mapping of axes and flags, not %s", item.kind)
		}
		e := extra{line: item.line, labels: map[string]string{}, flags: Flags{}}
		rest := item
		rest.keys = nil
		for _, kv := range item.keys {
			if kv.key.text != "axes" {
				rest.keys = append(rest.keys, kv)
				continue
			}
			if err := kv.want(mapping); err != nil {
				return err
			}
			for _, l := range kv.value.keys {
				if err := l.want(scalar); err != nil {
					return err
				}
				if slices.ContainsFunc(s.Axes, func(a Axis) bool { return a.Name == l.key.text }) {
					// A value that the axis does not have is one of this cell's own.
					if err := l.value.checkName("value of axis " + l.key.text); err != nil {
						return err
					}
				} else if err := s.label(l.key, l.value); err != nil {
					return err
				}
				e.labels[l.key.text] = l.value.text
			}
		}
		if len(e.labels) == 0 {
			return mistake(item.line, "an extra cell wants axes: what sets it apart in tables, as axes: {mode: devmem}")
		}
		if err := s.flags(pair{node{line: item.line, text: "an extra cell"}, rest}, e.flags); err != nil {
			return err
		}
		s.include = append(s.include, e)
	}
	return nil
}

func (s *Spec) readExclude(p pair) error {
	if err := p.want(list); err != nil {
		return err
	}
	for _, item := range p.value.list {
		if item.kind != mapping || len(item.keys) == 0 {
			return mistake(max(item.line, p.key.line), "an exclusion is a mapping from axes to values, not %s", item.kind)
		}
		e := exclusion{}
		for _, kv := range item.keys {
			labels := []node{kv.value}
			if kv.value.kind == list {
				labels = kv.value.list
			}
			for _, l := range labels {
				if err := s.label(kv.key, l); err != nil {
					return err
				}
				e[kv.key.text] = append(e[kv.key.text], l.text)
			}
		}
		s.exclude = append(s.exclude, e)
	}
	return nil
}

func (s *Spec) readDrop(p pair) error {
	if err := p.want(list); err != nil {
		return err
	}
	for _, n := range p.value.list {
		switch n.text {
		case "first":
			s.Drop = append(s.Drop, 0)
		case "last":
			s.Drop = append(s.Drop, -1)
		default:
			i, err := strconv.Atoi(n.text)
			if err != nil || i < 1 || i > maxRepeats {
				return mistake(max(n.line, p.key.line), "drop: %q is not first, last or the number of a run from 1", n.text)
			}
			s.Drop = append(s.Drop, i-1)
		}
	}
	return nil
}

func (s *Spec) readSeed(p pair) error {
	if err := p.want(scalar); err != nil {
		return err
	}
	n, err := strconv.ParseUint(p.value.text, 10, 64)
	if err != nil {
		return mistake(p.value.line, "seed is %q; it must be a number", p.value.text)
	}
	s.Seed = n
	return nil
}

func (s *Spec) readHooks(p pair) error {
	return p.fields("hook", map[string]func(pair) error{
		"before":     func(p pair) error { return p.scalar(&s.Hooks.Before) },
		"after":      func(p pair) error { return p.scalar(&s.Hooks.After) },
		"before-run": func(p pair) error { return p.scalar(&s.Hooks.BeforeRun) },
		"after-run":  func(p pair) error { return p.scalar(&s.Hooks.AfterRun) },
	})
}

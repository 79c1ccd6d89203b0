package main

import (
	"maps"
	"strings"

	"github.com/spf13/pflag"

	"zcbench/endpoint/wire"
	"zcbench/internal/fault"
	"zcbench/results"
	"zcbench/ringcfg"
)

// tuning is the flags --tune-profile and --set: the state that NICs and hosts shall
// have for a run. Both ends have it put back afterwards.
type tuning struct {
	profiles []string
	both     []string // NAME=VALUE; a ? after the name: where the host has it
	rx, tx   []string
}

func (t *tuning) add(f *pflag.FlagSet) {
	f.StringArrayVar(&t.profiles, "tune-profile", nil, "settings of both ends for the run: "+strings.Join(ringcfg.Profiles(), ", ")+", or the path of your own (repeatable)")
	f.StringArrayVar(&t.both, "set", nil, "one setting of both ends for the run, NAME=VALUE as tune has them; NAME?=VALUE where the end has such a setting (repeatable; overrides profiles)")
	f.StringArrayVar(&t.rx, "rx-set", nil, "the same of the receiver alone; overrides --set")
	f.StringArrayVar(&t.tx, "tx-set", nil, "the same of the sender alone")
}

// want is what each end is to have.
func (t *tuning) want() (results.Pair[ringcfg.Want], error) {
	var w results.Pair[ringcfg.Want]
	base := ringcfg.Want{}
	for _, name := range t.profiles {
		p, err := ringcfg.LoadProfile(name)
		if err != nil {
			return w, err
		}
		next := ringcfg.Want{} // the last one wins
		next.Add(p)
		override(&base, next)
	}
	for _, part := range []struct {
		to   []*ringcfg.Want
		sets []string
	}{{[]*ringcfg.Want{&w.RX, &w.TX}, t.both}, {[]*ringcfg.Want{&w.RX}, t.rx}, {[]*ringcfg.Want{&w.TX}, t.tx}} {
		set, err := parseSets(part.sets)
		if err != nil {
			return w, err
		}
		for _, to := range part.to {
			override(to, set)
		}
	}
	for _, to := range []*ringcfg.Want{&w.RX, &w.TX} {
		all := ringcfg.Want{}
		override(&all, base)
		override(&all, *to)
		*to = all
	}
	return w, nil
}

// override puts the settings of b into a; one that is mandatory in b is no
// longer optional in a, and the other way round.
func override(a *ringcfg.Want, b ringcfg.Want) {
	for _, part := range []struct {
		to, other *map[string]string
		from      map[string]string
	}{
		{&a.Settings, &a.Optional, b.Settings}, {&a.Optional, &a.Settings, b.Optional},
	} {
		for name, value := range part.from {
			if *part.to == nil {
				*part.to = map[string]string{}
			}
			for _, full := range ringcfg.Names(name) {
				(*part.to)[full] = value
				delete(*part.other, full)
			}
		}
	}
}

func parseSets(sets []string) (ringcfg.Want, error) {
	w := ringcfg.Want{}
	for _, s := range sets {
		name, value, ok := strings.Cut(s, "=")
		name, optional := strings.CutSuffix(name, "?")
		if !ok || name == "" {
			return w, fault.Errorf(fault.Usage, "a setting is NAME=VALUE, not %q", s)
		}
		if err := ringcfg.Check(name, value); err != nil {
			return w, err
		}
		one := ringcfg.Want{Settings: map[string]string{name: value}}
		if optional {
			one = ringcfg.Want{Optional: one.Settings}
		}
		override(&w, one)
	}
	return w, nil
}

// fill puts the settings into what the agents are asked for.
func (t *tuning) fill(rx, tx *wire.Prepare) error {
	w, err := t.want()
	if err != nil {
		return err
	}
	rx.Settings, rx.Optional = maps.Clone(w.RX.Settings), maps.Clone(w.RX.Optional)
	tx.Settings, tx.Optional = maps.Clone(w.TX.Settings), maps.Clone(w.TX.Optional)
	return nil
}

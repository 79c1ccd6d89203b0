package ringcfg

import "strings"

// ParseSets reads single settings, each NAME=VALUE, or NAME?=VALUE for one that is
// left out where the host does not have it. A later one overrides an earlier.
func ParseSets(sets []string) (Want, error) {
	var w Want
	for _, s := range sets {
		name, value, ok := strings.Cut(s, "=")
		name, optional := strings.CutSuffix(name, "?")
		if !ok || name == "" {
			return w, usage("a setting is NAME=VALUE, not %q", s)
		}
		if err := Check(name, value); err != nil {
			return w, err
		}
		one := Want{Settings: map[string]string{name: value}}
		if optional {
			one = Want{Optional: one.Settings}
		}
		w.Override(one)
	}
	return w, nil
}

// LoadProfiles gives the settings of profiles, of which a later one overrides an
// earlier.
func LoadProfiles(names []string) (Want, error) {
	var w Want
	for _, name := range names {
		p, err := LoadProfile(name)
		if err != nil {
			return w, err
		}
		w.Override(p.want())
	}
	return w, nil
}

// Override puts the settings of b into w; one that is mandatory in b is no longer
// optional in w, and the other way round.
func (w *Want) Override(b Want) {
	for _, part := range []struct {
		to, other *map[string]string
		from      map[string]string
	}{
		{&w.Settings, &w.Optional, b.Settings}, {&w.Optional, &w.Settings, b.Optional},
	} {
		for name, value := range part.from {
			if *part.to == nil {
				*part.to = map[string]string{}
			}
			for _, full := range Names(name) {
				(*part.to)[full] = value
				delete(*part.other, full)
			}
		}
	}
}

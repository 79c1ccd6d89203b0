package ringcfg

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

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

// OfInterface names a setting of w that an interface has, and no host; "": there is
// none.
func (w *Want) OfInterface() string {
	for _, names := range []map[string]string{w.Settings, w.Optional} {
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if f, _, err := familyOf(Names(name)[0]); err == nil && f.group == device {
				return name
			}
		}
	}
	return ""
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
// optional in w, and the other way round. Of one that is twice in b, as a profile may
// have it, the mandatory value holds, and then that by the full name.
func (w *Want) Override(b Want) {
	for _, part := range []struct {
		to, other *map[string]string
		from      map[string]string
	}{
		{&w.Optional, &w.Settings, b.Optional}, {&w.Settings, &w.Optional, b.Settings},
	} {
		for _, name := range slices.SortedFunc(maps.Keys(part.from), func(a, b string) int {
			return cmp.Or(cmp.Compare(strings.Count(a, "."), strings.Count(b, ".")), cmp.Compare(a, b))
		}) {
			value := part.from[name]
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

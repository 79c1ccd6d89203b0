package ringcfg

import (
	"bytes"
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"zcbench/internal/bounded"
	"zcbench/internal/plainyaml"
)

// Profile is a set of settings with a name.
type Profile struct {
	// About says what it is for.
	About string `yaml:"about"`
	// Settings must all be had.
	Settings map[string]Value `yaml:"settings"`
	// Optional are applied where the host has them.
	Optional map[string]Value `yaml:"if-supported"`
}

// Value is a setting's value as text: "4096", "on", "4096 87380 536870912".
type Value string

// UnmarshalYAML takes a scalar as it is written, on and 0x10 included.
func (v *Value) UnmarshalYAML(b []byte) error {
	text := strings.TrimSpace(string(b))
	if text == "" || strings.ContainsAny(text, "\n[{") || strings.Contains(text, ": ") {
		return fmt.Errorf("a setting has one value, not %q", text)
	}
	if q := text[0]; len(text) > 1 && (q == '"' || q == '\'') && text[len(text)-1] == q {
		text = text[1 : len(text)-1]
	}
	*v = Value(text)
	return nil
}

//go:embed profiles/*.yaml
var shipped embed.FS

// Profiles lists the names of the profiles that zcbench comes with.
func Profiles() []string {
	entries, err := shipped.ReadDir("profiles")
	if err != nil {
		panic(err) // the folder is in the binary
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// LoadProfile reads a profile that zcbench comes with by its name, or one of
// the user's by the path of its file.
func LoadProfile(name string) (Profile, error) {
	var b []byte
	var err error
	if slices.Contains(Profiles(), name) {
		b, err = shipped.ReadFile(path.Join("profiles", name+".yaml"))
	} else if strings.ContainsAny(name, "/.") {
		b, err = bounded.ReadFile(name, bounded.Small)
	} else {
		return Profile{}, usage("no profile is called %q; there are %s, and yours by a path such as ./mine.yaml", name,
			strings.Join(Profiles(), ", "))
	}
	if err != nil {
		return Profile{}, usage("read the profile: %w", err)
	}
	p, err := parseProfile(b)
	if err != nil {
		return Profile{}, usage("profile %s: %w", name, err)
	}
	return p, nil
}

// parseProfile is strict: a key that is not known, or there twice, is an error
// with its line.
func parseProfile(b []byte) (Profile, error) {
	var p Profile
	if err := plainyaml.Check(b, false); err != nil {
		return Profile{}, err
	}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&p); err != nil {
		return Profile{}, err
	}
	for _, part := range []map[string]Value{p.Settings, p.Optional} {
		for name := range part {
			if _, err := expand(name, nil); err != nil {
				return Profile{}, err
			}
		}
	}
	if len(p.Settings)+len(p.Optional) == 0 {
		return Profile{}, fmt.Errorf("it has no settings")
	}
	return p, nil
}

// want is what a profile asks for.
func (p Profile) want() Want {
	w := Want{Settings: map[string]string{}, Optional: map[string]string{}}
	for name, v := range p.Settings {
		w.Settings[name] = string(v)
	}
	for name, v := range p.Optional {
		w.Optional[name] = string(v)
	}
	return w
}

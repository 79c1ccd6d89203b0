package power

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// hwmon reads a sensor that a kernel driver offers
// (Documentation/hwmon/sysfs-interface.rst): an energy counter where the
// driver has one, else power, in µJ and µW.
type hwmon struct {
	info   Info
	file   sysfile
	energy bool
}

// hwmonSensor is one channel of one chip.
type hwmonSensor struct {
	chip, dir string // "amdgpu", "hwmon3"
	channel   string // "power1"
	label     string
	path      string
	scope     Scope
	id        string // of the chip: its driver's name, or its directory's where several have that
}

func (s *hwmonSensor) energy() bool { return strings.HasPrefix(s.channel, "energy") }

// hwmonScope is what the sensors of a chip see, by the name of its driver. The
// sensors of others are whatever the board's maker put them on.
func hwmonScope(chip string) Scope {
	switch chip {
	case "amdgpu", "i915", "xe", "nouveau", "radeon":
		return GPU
	case "amd_energy", "zenergy", "zenpower", "fam15h_power":
		return Package
	}
	if strings.HasPrefix(chip, "i915_gt") {
		return GPU
	}
	return Other
}

// of names what a sensor sees: a CPU package as RAPL has it, or a part of the
// device that the driver is for.
func (s *hwmonSensor) of(all []hwmonSensor) string {
	number := strings.TrimLeft(s.channel, "abcdefghijklmnopqrstuvwxyz")
	if s.scope == Package {
		// amd_energy has Esocket0 and Ecore000.
		switch what := strings.TrimRight(s.label, "0123456789"); what {
		case "Esocket":
			return thisHost() + "/rapl/package-" + strings.TrimPrefix(s.label, what)
		case "Ecore":
			return thisHost() + "/rapl/package-*/core/" + strings.TrimPrefix(s.label, what)
		case "RAPL_P_Package", "":
			return thisHost() + "/rapl/package-*"
		}
		return thisHost() + "/rapl/package-*/?" + element(s.label)
	}
	if s.chip == "power_meter" {
		return thisHost() // ACPI's, of the server
	}
	dir := filepath.Dir(s.path)
	if device, err := filepath.EvalSymlinks(filepath.Join(dir, "device")); err == nil {
		dir = device
	}
	device := thisHost() + "/device-" + element(dir)
	one := !slices.ContainsFunc(all, func(o hwmonSensor) bool {
		return o.dir == s.dir && strings.TrimLeft(o.channel, "abcdefghijklmnopqrstuvwxyz") != number
	})
	switch {
	case strings.HasPrefix(s.chip, "i915_gt"):
		return device + "/" + s.chip
	// The input of a supply, and a whole card, see the others of their chip.
	case one, s.label == "pin", s.label == "card":
		return device
	case strings.HasPrefix(s.label, "pout"):
		return device + "/" + s.label
	}
	return device + "/?" + number
}

func hwmonSensors(sys string) ([]hwmonSensor, error) {
	dirs, err := filepath.Glob(filepath.Join(sys, "class/hwmon/hwmon*"))
	if err != nil {
		return nil, err
	}
	var all []hwmonSensor
	for _, dir := range dirs {
		chip, err := readLine(filepath.Join(dir, "name"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a driver that is being unloaded
		}
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		for _, form := range []string{"energy*_input", "power*_average", "power*_input"} {
			paths, err := filepath.Glob(filepath.Join(dir, form))
			if err != nil {
				return nil, err
			}
			slices.Sort(paths)
			for _, path := range paths {
				channel, _, _ := strings.Cut(filepath.Base(path), "_")
				if seen[channel] {
					continue // input of a channel that has an average too
				}
				seen[channel] = true
				label, err := readLine(filepath.Join(dir, channel+"_label"))
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return nil, err
				}
				all = append(all, hwmonSensor{chip: chip, dir: filepath.Base(dir), channel: channel, label: label, path: path, scope: hwmonScope(chip)})
			}
		}
	}
	if len(all) == 0 {
		return nil, lacking("no driver in %s offers power or energy; on servers with an ACPI power meter: modprobe acpi_power_meter",
			filepath.Join(sys, "class/hwmon"))
	}
	for i := range all {
		s := &all[i]
		s.id = s.chip
		if slices.ContainsFunc(all, func(other hwmonSensor) bool { return other.chip == s.chip && other.dir != s.dir }) {
			s.id = s.dir
		}
	}
	return all, nil
}

// openHwmon opens CHIP[/CHANNEL], where CHIP is a driver's name or hwmonN, and
// CHANNEL is a label or powerN or energyN. Of a chip that has both, energy it
// is.
func openHwmon(sys, address string) (Meter, error) {
	all, err := hwmonSensors(sys)
	if err != nil {
		return nil, err
	}
	chip, channel, _ := strings.Cut(address, "/")
	var fit []hwmonSensor
	for _, s := range all {
		if (chip == "" || chip == s.chip || chip == s.dir) && (channel == "" || channel == s.channel || channel == s.label) {
			fit = append(fit, s)
		}
	}
	if channel == "" {
		if i := slices.IndexFunc(fit, func(s hwmonSensor) bool { return s.energy() }); i >= 0 {
			counters := slices.DeleteFunc(slices.Clone(fit), func(s hwmonSensor) bool { return !s.energy() })
			if slices.IndexFunc(counters, func(s hwmonSensor) bool { return s.dir != fit[0].dir }) < 0 {
				fit = counters
			}
		}
	}
	if len(fit) != 1 {
		var names []string
		for _, s := range all {
			names = append(names, s.id+"/"+s.channel+" ("+strings.TrimSpace(s.chip+" "+s.label)+")")
		}
		return nil, noMeter("%d sensors are called %q; there are: %s", len(fit), address, strings.Join(names, ", "))
	}
	s := fit[0]
	m := &hwmon{file: sysfile{path: s.path}, energy: s.energy()}
	m.info = Info{Name: "hwmon:" + s.id + "/" + s.channel, Scope: s.scope, Of: []string{s.of(all)}, Whole: s.chip == "power_meter"}
	interval := "update_interval"
	if strings.HasSuffix(s.path, "_average") {
		interval = s.channel + "_average_interval"
	}
	switch ms, err := readUint(filepath.Join(filepath.Dir(s.path), interval)); {
	case err == nil:
		m.info.Interval = time.Duration(ms) * time.Millisecond
		if strings.HasSuffix(s.path, "_average") {
			m.info.Latency = m.info.Interval / 2
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if _, err := m.Read(context.Background()); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *hwmon) Info() Info { return m.info }

func (m *hwmon) Read(context.Context) (Reading, error) {
	r := Reading{At: time.Now()}
	v, err := m.file.read()
	if errors.Is(err, fs.ErrPermission) {
		return r, lacking("%w: run as root, or let others: chmod a+r %s", err, m.file.path)
	}
	if err != nil {
		return r, err
	}
	value := float64(v) / 1e6
	if m.energy {
		r.Joules = &value
	} else {
		r.Watts = &value
	}
	return r, nil
}

// Close closes the file.
func (m *hwmon) Close() error { return m.file.close() }

func findHwmon(sys string) ([]Found, error) {
	all, err := hwmonSensors(sys)
	if err != nil {
		return nil, err
	}
	var found []Found
	for _, s := range all {
		what := "watts"
		if s.energy() {
			what = "energy counter"
		}
		found = append(found, Found{Meter: "hwmon:" + s.id + "/" + s.channel, Scope: s.scope, About: strings.TrimSpace(s.chip+" "+s.label) +
			", " + what})
	}
	return found, nil
}

package counters

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"zcbench/endpoint/instrument"
	"zcbench/internal/fault"
	"zcbench/internal/procfile"
	"zcbench/results/caveat"
)

// thermal is how hot the CPU packages are and how often they were slowed down
// for it. Sensors of single cores are left out: reading one interrupts its core.
func thermal(root string) instrument.Counter {
	return instrument.Counter{
		Name: "thermal", About: "temperature of the CPU packages, and throttling for heat",
		Open: func(s instrument.Place) (instrument.Reader, error) {
			r := &valueReader{}
			if err := errorOf(r.sensors(root), r.throttling(root, s.CPUs)); err != nil {
				_ = r.Close()
				return nil, err
			}
			if len(r.q) == 0 {
				return nil, fault.Errorf(fault.Unsupported, "no temperature of the CPU in /sys/class/hwmon and /sys/class/thermal, and no "+
					"thermal_throttle counts: load the sensor's driver (modprobe coretemp, or k10temp); a virtual machine has none")
			}
			return r, nil
		},
	}
}

func (r *valueReader) sensor(f *procfile.File) {
	const milli = 1e-3
	r.add(f, instrument.Quantity{Name: "cpu_temperature_celsius_max", Form: instrument.Gauge, Scale: milli})
}

// sensors finds the packages' sensors by the drivers' names.
func (r *valueReader) sensors(root string) error {
	dirs, err := glob(root, "sys/class/hwmon/hwmon*")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		name, _ := readOnce(root, dir+"/name")
		if !slices.Contains([]string{"coretemp", "k10temp", "zenpower", "cpu_thermal"}, name) {
			continue
		}
		inputs, err := glob(root, dir+"/temp*_input")
		if err != nil {
			return err
		}
		for _, path := range inputs {
			label, _ := readOnce(root, strings.TrimSuffix(path, "input")+"label")
			if strings.HasPrefix(label, "Core ") || strings.HasPrefix(label, "Tccd") {
				continue
			}
			f, err := procfile.Open(root, path)
			if err != nil {
				return err
			}
			r.sensor(f)
		}
	}
	if len(r.q) > 0 {
		return nil
	}
	if dirs, err = glob(root, "sys/class/thermal/thermal_zone*"); err != nil {
		return err
	}
	for _, dir := range dirs {
		kind, _ := readOnce(root, dir+"/type")
		if kind != "x86_pkg_temp" && !strings.HasPrefix(kind, "cpu") && !strings.HasPrefix(kind, "soc") {
			continue
		}
		f, err := procfile.Open(root, dir+"/temp")
		if err != nil {
			return err
		}
		r.sensor(f)
	}
	return nil
}

// throttling counts by core and, once for each package, by package.
func (r *valueReader) throttling(root string, cpus []int) error {
	seen := map[string]bool{}
	for _, n := range cpus {
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d/", n)
		core, _ := readOnce(root, dir+"topology/physical_package_id")
		pkg := core
		if id, _ := readOnce(root, dir+"topology/core_id"); id != "" {
			core += " " + id
		} else {
			core += fmt.Sprint(" cpu", n)
		}
		for _, c := range []struct{ file, of, name, means string }{
			{"core_throttle_count", core, "core_throttles", "a core was slowed down because it was too hot"},
			{"package_throttle_count", pkg, "package_throttles", "a CPU package was slowed down because it was too hot"},
		} {
			if seen[c.name+c.of] {
				continue
			}
			f, err := procfile.Open(root, dir+"thermal_throttle/"+c.file)
			if isAbsent(err) {
				continue
			}
			if err != nil {
				return err
			}
			seen[c.name+c.of] = true
			r.add(f, instrument.Quantity{Name: c.name, Code: caveat.CPUHot, Means: c.means})
		}
	}
	return nil
}

// glob lists paths below root; pattern and results have no leading slash.
func glob(root, pattern string) ([]string, error) {
	// Entries of /sys/class are links; what the pattern goes through must be
	// followed, which Glob does.
	all, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i], err = filepath.Rel(root, all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

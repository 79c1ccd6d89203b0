package power

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// rapl reads the energy counters of Linux's powercap
// (Documentation/power/powercap/powercap.rst): of every CPU package and its
// memory, or of the zones that bear one name. That is not the wall: fans,
// disks, NICs and the power supply's losses are not in it.
type rapl struct {
	name  string
	scope Scope
	of    string // the part of the host that the zones are
	zones []raplZone
	total float64 // joules since it was opened
	last  time.Time
}

// raplZone is one counter; each wraps by itself.
type raplZone struct {
	file   *sysfile // energy_uj
	name   string
	wrap   uint64 // µJ, the first value after the highest
	before uint64
}

// raplInterval is the counters' own: about a millisecond (Intel SDM volume 3,
// 16.10.3); ten reads a second are enough for any window.
const raplInterval = time.Millisecond

// mostWatts is more than any package draws; it bounds how long a counter may
// go unread before it has wrapped more than once.
const mostWatts = 1000

// raplZones finds the zones to add up: the packages and their memory, or all
// that are called name. A package's other subzones are part of it.
func raplZones(sys, name string) ([]raplZone, error) {
	dir := filepath.Join(sys, "class/powercap")
	// The same counters show again as intel-rapl-mmio on some machines.
	var paths []string
	for _, control := range []string{"intel-rapl", "intel-rapl-mmio"} {
		var err error
		if paths, err = filepath.Glob(filepath.Join(dir, control+":*", "energy_uj")); err != nil {
			return nil, err
		}
		if len(paths) > 0 {
			break
		}
	}
	slices.Sort(paths)
	var zones []raplZone
	var names []string
	for _, p := range paths {
		z := raplZone{file: &sysfile{path: p}}
		var err error
		if z.name, err = readLine(filepath.Join(filepath.Dir(p), "name")); err != nil {
			return nil, err
		}
		names = append(names, z.name)
		if name == "" && !strings.HasPrefix(z.name, "package") && z.name != "dram" || name != "" && z.name != name {
			continue
		}
		top, err := readUint(filepath.Join(filepath.Dir(p), "max_energy_range_uj"))
		if err != nil {
			return nil, err
		}
		z.wrap = top + 1
		zones = append(zones, z)
	}
	if len(paths) == 0 {
		return nil, lacking("no RAPL counters in %s: the CPU or the virtual machine has none, or the driver is not loaded (modprobe "+
			"intel_rapl_msr, which serves AMD too)", dir)
	}
	if len(zones) == 0 {
		return nil, noMeter("no zone is called %q; there are: %s", name, strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), " "))
	}
	return zones, nil
}

func openRAPL(sys, name string) (Meter, error) {
	zones, err := raplZones(sys, name)
	if err != nil {
		return nil, err
	}
	m := &rapl{name: "rapl:" + name, scope: Package, zones: zones}
	switch {
	case name == "":
		m.of = "rapl"
	case name == "psys":
		m.scope = Other // the platform as its vendor wired it
	case strings.HasPrefix(name, "package"), name == "dram":
		m.of = "rapl/" + name
	default:
		m.of = "rapl/package-*/" + name // core, uncore
	}
	for i := range m.zones {
		if m.zones[i].before, err = m.zones[i].read(); err != nil {
			return nil, errors.Join(err, m.Close())
		}
	}
	m.last = time.Now()
	return m, nil
}

func (z *raplZone) read() (uint64, error) {
	v, err := z.file.read()
	if errors.Is(err, fs.ErrPermission) {
		return 0, lacking("%w: only root may read it; run as root, or let others: chmod a+r %s", err,
			filepath.Join(filepath.Dir(filepath.Dir(z.file.path)), "intel-rapl*/energy_uj"))
	}
	return v, err
}

func (m *rapl) Info() Info {
	i := Info{Name: m.name, Scope: m.scope, Interval: raplInterval, Of: []string{thisHost() + "/" + m.of}}
	if m.of == "" {
		i.Of, i.Whole = []string{thisHost()}, true
	}
	return i
}

func (m *rapl) Read(context.Context) (Reading, error) {
	now := time.Now()
	unread := now.Sub(m.last).Seconds()
	m.last = now
	long := ""
	for i := range m.zones {
		z := &m.zones[i]
		v, err := z.read()
		if err != nil {
			return Reading{}, err
		}
		if unread*mostWatts*1e6 > float64(z.wrap) {
			long = z.name
		}
		if v < z.before {
			m.total += float64(v+z.wrap-z.before) / 1e6
		} else {
			m.total += float64(v-z.before) / 1e6
		}
		z.before = v
	}
	if long != "" {
		return Reading{}, fmt.Errorf("%s was not read for %.0f s and may have wrapped more than once", long, unread)
	}
	total := m.total
	return Reading{At: now, Joules: &total}, nil
}

// Close closes the files.
func (m *rapl) Close() error {
	var errs []error
	for i := range m.zones {
		errs = append(errs, m.zones[i].file.close())
	}
	return errors.Join(errs...)
}

// findRAPL lists what a host has.
func findRAPL(sys string) ([]Found, error) {
	zones, err := raplZones(sys, "")
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range zones {
		_, err := zones[i].read()
		if err = errors.Join(err, zones[i].file.close()); err != nil {
			return nil, err
		}
		names = append(names, zones[i].name)
	}
	return []Found{{Meter: "rapl:", Scope: Package, About: strings.Join(names, " + ") + ", energy counters"}}, nil
}

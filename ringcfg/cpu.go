package ringcfg

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// cpu.N.governor, cpu.N.epp, cpu.N.min-khz, cpu.N.max-khz and
// cpu.N.idle-STATE (on or off) are those of one CPU; cpu.turbo (on or off) is
// that of all. cpu.dma-latency, in microseconds, lasts as long as the process
// that set it: the kernel forgets it when the process ends.

// cpus is the directory of all CPUs.
func (h *host) cpus() string { return h.root + "/sys/devices/system/cpu/" }

// cpuFiles are in the order they are written: a governor may fix the energy
// preference, and a minimum above the maximum is refused.
var cpuFiles = []struct{ name, file string }{
	{"governor", "cpufreq/scaling_governor"},
	{"epp", "cpufreq/energy_performance_preference"},
	{"max-khz", "cpufreq/scaling_max_freq"},
	{"min-khz", "cpufreq/scaling_min_freq"},
}

// turboFile is the switch and the value that means on.
func (h *host) turboFile() (path, on, off string) {
	if path := h.cpus() + "intel_pstate/no_turbo"; exist(path) {
		return path, "0", "1"
	}
	return h.cpus() + "cpufreq/boost", "1", "0"
}

func (h *host) dmaLatency() string { return h.root + "/dev/cpu_dma_latency" }

func readCPUs(h *host, to Settings) error {
	for _, f := range cpuFiles {
		for _, path := range glob(h.cpus() + "cpu[0-9]*/" + f.file) {
			addFile(to, "cpu."+h.cpuOf(path)+"."+f.name, path)
		}
	}
	for _, path := range glob(h.cpus() + "cpu[0-9]*/cpuidle/state[0-9]*") {
		if v, err := readFile(filepath.Join(path, "disable")); err == nil {
			to[h.idleName(path)] = onOff(v == "0")
		}
	}
	path, on, _ := h.turboFile()
	if v, err := readFile(path); err == nil {
		to["cpu.turbo"] = onOff(v == on)
	}
	if b, err := os.ReadFile(h.dmaLatency()); err == nil && len(b) == 4 {
		to["cpu.dma-latency"] = strconv.FormatInt(int64(int32(binary.NativeEndian.Uint32(b))), 10)
	}
	return nil
}

// idleName names the idle state of a CPU: "cpu.3.idle-C6".
func (h *host) idleName(path string) string {
	state, err := readFile(filepath.Join(path, "name"))
	if err != nil {
		state = filepath.Base(path)
	}
	return "cpu." + h.cpuOf(path) + ".idle-" + strings.ReplaceAll(state, " ", "-")
}

// cpuOf gives N of …/cpuN/….
func (h *host) cpuOf(path string) string {
	n, _, _ := strings.Cut(strings.TrimPrefix(path, h.cpus()+"cpu"), "/")
	return n
}

// cpuFile is the file that a setting of the family is written to, empty where it
// does not exist here.
func (h *host) cpuFile(name string) string {
	switch name {
	case "cpu.turbo":
		path, _, _ := h.turboFile()
		return path
	case "cpu.dma-latency":
		return h.dmaLatency()
	}
	n, key, _ := strings.Cut(strings.TrimPrefix(name, "cpu."), ".")
	for _, f := range cpuFiles {
		if f.name == key {
			return h.cpus() + "cpu" + n + "/" + f.file
		}
	}
	for _, dir := range glob(h.cpus() + "cpu" + n + "/cpuidle/state[0-9]*") {
		if h.idleName(dir) == name {
			return filepath.Join(dir, "disable")
		}
	}
	return ""
}

func parseCPU(h *host, now Settings, name, value string) (string, error) {
	_, key, _ := strings.Cut(strings.TrimPrefix(name, "cpu."), ".")
	switch {
	case name == "cpu.turbo", strings.HasPrefix(key, "idle-"):
		return parseSwitch(h, now, name, value)
	case name == "cpu.dma-latency", strings.HasSuffix(key, "-khz"):
		return parseCount(h, now, name, value)
	}
	return value, nil // words of the kernel's
}

func refuseCPU(h *host, name, value string) error {
	path := h.cpuFile(name)
	if strings.HasSuffix(name, ".governor") {
		if all, err := readFile(filepath.Join(filepath.Dir(path), "scaling_available_governors")); err == nil && all != "" &&
			!slices.Contains(strings.Fields(all), value) {
			return unsupported("there is no governor %s here, but %s", value, all)
		}
	}
	return refuseFile(path)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func writeCPUs(h *host, set Settings) error {
	left := Settings{}
	for name, value := range set {
		left[name] = value
	}
	write := func(name, path string) error {
		value := set[name]
		delete(left, name)
		if err := writeFile(path, value); err != nil {
			return fmt.Errorf("set %s to %s: %w", name, value, err)
		}
		return nil
	}
	for _, f := range cpuFiles {
		for _, path := range glob(h.cpus() + "cpu[0-9]*/" + f.file) {
			name := "cpu." + h.cpuOf(path) + "." + f.name
			if _, ok := left[name]; !ok {
				continue
			}
			if err := write(name, path); err != nil {
				return err
			}
		}
	}
	for _, path := range glob(h.cpus() + "cpu[0-9]*/cpuidle/state[0-9]*") {
		name := h.idleName(path)
		value, ok := left[name]
		if !ok {
			continue
		}
		delete(left, name)
		disable := map[string]string{"on": "0", "off": "1"}[value]
		if err := writeFile(filepath.Join(path, "disable"), disable); err != nil {
			return fmt.Errorf("set %s to %s: %w", name, value, err)
		}
	}
	if value, ok := left["cpu.turbo"]; ok {
		delete(left, "cpu.turbo")
		path, on, off := h.turboFile()
		if err := writeFile(path, map[string]string{"on": on, "off": off}[value]); err != nil {
			return fmt.Errorf("set cpu.turbo to %s: %w", value, err)
		}
	}
	if value, ok := left["cpu.dma-latency"]; ok {
		delete(left, "cpu.dma-latency")
		if err := h.holdLatency(value); err != nil {
			return err
		}
	}
	for name := range left {
		return missing(name)
	}
	return nil
}

// holdLatency lets go of a limit that this process set, and sets another
// unless what remains is it.
func (h *host) holdLatency(value string) error {
	if h.latency != nil {
		h.latency.Close()
		h.latency = nil
	}
	now := Settings{}
	if value == "" || readCPUs(h, now) == nil && now["cpu.dma-latency"] == value {
		return nil
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return fmt.Errorf("cpu.dma-latency: %q is not a number of microseconds", value)
	}
	f, err := os.OpenFile(h.dmaLatency(), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("limit the latency of CPU idle states: %w", err)
	}
	if _, err := f.Write(binary.NativeEndian.AppendUint32(nil, uint32(n))); err != nil {
		f.Close()
		return fmt.Errorf("limit the latency of CPU idle states to %d µs: %w", n, err)
	}
	h.latency = f
	return nil
}

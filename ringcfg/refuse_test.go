package ringcfg

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zcbench/internal/fault"
)

// Files that nobody can write are known before the first write, whatever their family.
func TestRefusedFiles(t *testing.T) {
	const cpu = "sys/devices/system/cpu/"
	names := map[string]string{
		"smt.control": cpu + "smt/control", "cpu.turbo": cpu + "cpufreq/boost", "cpu.0.governor": cpu + "cpu0/cpufreq/scaling_governor",
		"cpu.0.idle-C6": cpu + "cpu0/cpuidle/state1/disable", "cpu.dma-latency": "dev/cpu_dma_latency",
		"hugepages.node0.2048kB": "sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages",
		"udmabuf.list-limit":     "sys/module/udmabuf/parameters/list_limit",
	}
	files := map[string]string{cpu + "cpu0/cpuidle/state1/name": "C6\n"}
	for _, path := range names {
		files[path] = "0\n"
	}
	h := machine(t, files)
	for name, path := range names {
		f, _, err := familyOf(name)
		if err != nil {
			t.Fatal(err)
		}
		r := resolved{set: map[string]Settings{f.name: {name: "1"}}, optional: map[string]bool{}}
		if err := f.refuse(h, name, "1"); err != nil {
			t.Errorf("%s that can be written: %v", name, err)
		}
		if err := os.Chmod(filepath.Join(h.root, path), 0o444); err != nil {
			t.Fatal(err)
		}
		if _, err := h.refusal(r, false); fault.Of(err) != fault.Unsupported || err != nil && err.Error() != name+": "+errNoWriter.Error() &&
			os.Getuid() == 0 {
			t.Errorf("%s: %v", name, err)
		}
		r.optional[name] = true
		if skipped, err := h.refusal(r, false); os.Getuid() == 0 && (err != nil || skipped[name] == "") {
			t.Errorf("an optional %s: %v, %v", name, err, skipped)
		}
	}
}

// Governors are those of a list, where the kernel has one.
func TestRefusedGovernor(t *testing.T) {
	const dir = "sys/devices/system/cpu/cpu0/cpufreq/"
	h := machine(t, map[string]string{dir + "scaling_governor": "powersave\n", dir + "scaling_available_governors": "performance powersave\n"})
	for value, refused := range map[string]bool{"performance": false, "ondemand": true} {
		if err := refuseCPU(h, "cpu.0.governor", value); (err != nil) != refused {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// What an Apply would be refused with a Plan says in the same words.
func TestPlanRefused(t *testing.T) {
	p := pair(t)
	e := &p.RX
	w := Want{Interface: e.Interface, Settings: map[string]string{"mtu": "4148", "channels.rx": "4000"},
		Optional: map[string]string{"channels.tx": "4000"}}
	in(t, e, func() error {
		plan, err := Plan(w)
		if err != nil {
			return err
		}
		_, _, err = Apply(background, w, Journal(t.TempDir()))
		if plan.Refused == nil || err == nil || err.Error() != plan.Refused.Error() || !strings.HasPrefix(err.Error(), "channels.rx: at most ") {
			t.Errorf("plan: %v\napply: %v", plan.Refused, err)
		}
		if !slices.ContainsFunc(plan.Skipped, func(s string) bool { return strings.HasPrefix(s, "channels.tx (at most ") }) {
			t.Errorf("skipped %q", plan.Skipped)
		}
		return nil
	})
}

// What cannot be kept is said before it is promised.
func TestPlanKeep(t *testing.T) {
	now, err := Snapshot("")
	if err != nil {
		t.Fatal(err)
	}
	if now["cpu.dma-latency"] == "" {
		t.Skip("needs /dev/cpu_dma_latency")
	}
	if _, err := Plan(Want{Keep: true, Settings: map[string]string{"dma-latency": "77"}}); fault.Of(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
}

// What could not be looked at has failed: it is neither unsupported nor, where it is
// optional, to be skipped.
func TestRefusalThatFails(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: others are told which right they lack")
	}
	for _, f := range []string{"sysctl", "shared"} {
		h := machine(t, nil) // of a network namespace that nobody can enter
		name := f + ".net.ipv4.tcp_sack"
		r := resolved{set: map[string]Settings{f: {name: "1"}}, optional: map[string]bool{}}
		for _, optional := range []bool{false, true} {
			r.optional[name] = optional
			if skipped, err := h.refusal(r, false); err == nil || fault.Of(err) != fault.Failed || !strings.HasPrefix(err.Error(),
				name+": enter a network namespace: ") {
				t.Errorf("%s, optional %t: %v of kind %s, skipped %v", name, optional, err, fault.Of(err), skipped)
			}
		}
	}
}

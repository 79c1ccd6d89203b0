package ringcfg

import "fmt"

// smt.control (on or off) says whether a core's other threads are CPUs. Those that go
// take their settings along, so it comes before those of CPUs.
const smtControl = "smt.control"

func (h *host) smtFile() string { return h.cpus() + "smt/control" }

func readSMT(h *host, to Settings) error {
	if v, err := readFile(h.smtFile()); err == nil && (v == "on" || v == "off") { // else it cannot be set
		to[smtControl] = v
	}
	return nil
}

func refuseSMT(h *host, _, _ string) error { return refuseFile(h.smtFile()) }

func writeSMT(h *host, set Settings) error {
	if err := writeFile(h.smtFile(), set[smtControl]); err != nil {
		return fmt.Errorf("set %s to %s: %w", smtControl, set[smtControl], err)
	}
	return nil
}

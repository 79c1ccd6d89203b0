package ringcfg

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// queue.tx-0.xps-cpus and queue.rx-0.rps-cpus say which CPUs use a transmit
// queue and which work for a receive queue, as the kernel's masks
// (networking/scaling.rst); a user may write "cpus 0-3".

var queueFiles = []struct{ name, direction, file string }{
	{"rps-cpus", "rx", "rps_cpus"},
	{"rps-flow-cnt", "rx", "rps_flow_cnt"},
	{"xps-cpus", "tx", "xps_cpus"},
	{"xps-rxqs", "tx", "xps_rxqs"},
}

func readQueues(h *host, to Settings) error {
	if h.sys == "" {
		return nil
	}
	for _, f := range queueFiles {
		for _, dir := range h.glob(h.classFile("queues", f.direction+"-*")) {
			h.addFile(to, "queue."+filepath.Base(dir)+"."+f.name, filepath.Join(dir, f.file))
		}
	}
	return nil
}

// queueFile is the file of a setting of the family, empty where there is none.
func (h *host) queueFile(name string) string {
	queue, key, _ := strings.Cut(strings.TrimPrefix(name, "queue."), ".")
	for _, f := range queueFiles {
		if f.name == key && strings.HasPrefix(queue, f.direction+"-") {
			return filepath.Join(h.sys, "class/net", h.iface, "queues", queue, f.file)
		}
	}
	return ""
}

func refuseQueue(h *host, name, _ string) error { return refuseFile(h.queueFile(name)) }

func writeQueues(h *host, set Settings) error {
	for _, name := range set.names() {
		path := h.queueFile(name)
		if path == "" {
			return missing(name)
		}
		if err := writeFile(path, set[name]); err != nil {
			return fmt.Errorf("set %s of %s: %w", name, h.iface, err)
		}
	}
	return nil
}

// parseQueue gives a mask as the kernel writes it back, and refuses CPUs that cannot be.
func parseQueue(h *host, now Settings, name, value string) (string, error) {
	switch {
	case strings.HasSuffix(name, ".rps-flow-cnt"):
		return parseCount(h, now, name, value)
	case !strings.HasSuffix(name, "-cpus") && !strings.HasSuffix(name, ".xps-rxqs"):
		return value, nil
	}
	list, ok := strings.CutPrefix(value, "cpus ")
	read := parseMask
	if ok {
		read = parseList
	}
	set, err := read(list)
	if err == nil && strings.HasSuffix(name, "-cpus") {
		err = h.possible(set)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return mask(set, now[name]), nil
}

// possible refuses CPUs that this machine never has.
func (h *host) possible(cpus []int) error {
	text, err := readFile(h.root + "/sys/devices/system/cpu/possible")
	if err != nil || h.from.Playing() {
		return nil // the kernel will tell
	}
	all, err := parseList(text)
	if err != nil {
		return fmt.Errorf("the CPUs of this machine: %w", err)
	}
	for _, c := range cpus {
		if c > slices.Max(all) {
			return fmt.Errorf("there is no CPU %d, the last is %d", c, slices.Max(all))
		}
	}
	return nil
}

// parseMask reads a mask as the kernel takes it: "3", "1,00000000".
func parseMask(s string) ([]int, error) {
	var set []int
	words := strings.Split(s, ",")
	for i, w := range words {
		n, err := strconv.ParseUint(w, 16, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is neither a mask in hexadecimal nor a list such as cpus 0-2,5", s)
		}
		for bit := range 32 {
			if n&(1<<bit) != 0 {
				set = append(set, (len(words)-1-i)*32+bit)
			}
		}
	}
	return set, nil
}

// mask writes CPUs as the kernel does: words of 32 bits in hexadecimal, as
// many and as wide as in the mask like.
func mask(cpus []int, like string) string {
	words := make([]uint32, strings.Count(like, ",")+1)
	for _, c := range cpus {
		for len(words) <= c/32 {
			words = append(words, 0)
		}
		words[c/32] |= 1 << (c % 32)
	}
	first, _, _ := strings.Cut(like, ",")
	text := fmt.Sprintf("%0*x", len(first), words[len(words)-1])
	for i := len(words) - 2; i >= 0; i-- {
		text += fmt.Sprintf(",%08x", words[i])
	}
	return text
}

// parseList reads a list of numbers as the kernel writes it: "0-2,5".
func parseList(s string) ([]int, error) {
	var list []int
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, err := strconv.ParseUint(first, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is not a list such as 0-2,5", s)
		}
		b, err := strconv.ParseUint(last, 10, 16)
		if err != nil || b < a {
			return nil, fmt.Errorf("%q is not a list such as 0-2,5", s)
		}
		for n := a; n <= b; n++ {
			list = append(list, int(n))
		}
	}
	return list, nil
}

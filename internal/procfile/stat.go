package procfile

import "fmt"

// Hz is the unit of CPU times: USER_HZ, 100 on every Linux that Go runs on.
const Hz = 100

// CPU is the time one CPU spent in each state, in ticks of 1/Hz s, in the order
// of proc(5). Guest time is in User and Nice already and left out. Iowait is
// idle time with a name, and can go backwards.
type CPU struct{ User, Nice, System, Idle, Iowait, IRQ, SoftIRQ, Steal uint64 }

// Busy is all but idle time.
func (c *CPU) Busy() uint64 { return c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal }

// Add adds another CPU's time.
func (c *CPU) Add(o *CPU) {
	c.User += o.User
	c.Nice += o.Nice
	c.System += o.System
	c.Idle += o.Idle
	c.Iowait += o.Iowait
	c.IRQ += o.IRQ
	c.SoftIRQ += o.SoftIRQ
	c.Steal += o.Steal
}

// Stat is /proc/stat, read again and again.
type Stat struct {
	file       *File
	Total      CPU
	CPUs       []CPU  // by number
	Online     []bool // whether the latest reading had that CPU
	Interrupts uint64 // served since boot, of all CPUs
	Switches   uint64 // of context, likewise
}

// OpenStat opens /proc/stat below root.
func OpenStat(root string) (*Stat, error) {
	f, err := Open(root, "proc/stat")
	if err != nil {
		return nil, err
	}
	return &Stat{file: f}, nil
}

// Close closes the file.
func (s *Stat) Close() error { return s.file.Close() }

// Read takes a new reading.
func (s *Stat) Read() error {
	b, err := s.file.Read()
	if err != nil {
		return err
	}
	return s.parse(b)
}

// maxCPU bounds what a malformed line can make us hold.
const maxCPU = 1 << 14

func (s *Stat) parse(b []byte) error {
	clear(s.Online)
	total := false
	for len(b) > 0 {
		line := Line(&b)
		name := Word(&line)
		switch {
		case string(name) == "intr":
			s.Interrupts, _, _ = Uint(line)
		case string(name) == "ctxt":
			s.Switches, _, _ = Uint(line)
		case len(name) >= 3 && string(name[:3]) == "cpu":
			c, err := cpu(name, line)
			if err != nil {
				return err
			}
			if len(name) == 3 {
				s.Total, total = c, true
				continue
			}
			n, _, ok := Uint(name[3:])
			if !ok || n >= maxCPU {
				return fmt.Errorf("/proc/stat: %q is no CPU", name)
			}
			for uint64(len(s.CPUs)) <= n {
				s.CPUs = append(s.CPUs, CPU{})
				s.Online = append(s.Online, false)
			}
			s.CPUs[n], s.Online[n] = c, true
		}
	}
	if !total {
		return fmt.Errorf("/proc/stat has no CPU times")
	}
	return nil
}

func cpu(name, line []byte) (c CPU, err error) {
	for i, to := range [...]*uint64{&c.User, &c.Nice, &c.System, &c.Idle, &c.Iowait, &c.IRQ, &c.SoftIRQ, &c.Steal} {
		var ok bool
		if *to, line, ok = Uint(line); !ok {
			return c, fmt.Errorf("/proc/stat: column %d of %q is no number", i+1, name)
		}
	}
	return c, nil
}

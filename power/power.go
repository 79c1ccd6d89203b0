// Package power reads electric power: it owns the meters, one kind to a file,
// and the arithmetic that turns their readings into watts over a window; it
// never changes a setting.
package power

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"zcbench/internal/fault"
)

// Scope is what a meter sees.
type Scope string

// The scopes. Only Wall is what the electricity bill shows.
const (
	Wall    Scope = "wall"
	Package Scope = "package"
	GPU     Scope = "gpu"
	Other   Scope = "other"
)

// Info describes an open meter.
type Info struct {
	Name       string        `json:"name"`       // kind and address, for records; never a credential
	Scope      Scope         `json:"scope"`      // what it sees
	Interval   time.Duration `json:"interval"`   // how often its value changes; 0: not known, or as often as it is read
	Resolution float64       `json:"resolution"` // watts; 0: not known
	// Range is the energy counter's wrap in joules; 0: it does not wrap or
	// there is none.
	Range float64 `json:"range"`
	// Latency is how old a value is when the meter gives it, beyond what the
	// time stamp of the Reading says; a mean over the last second is half a
	// second old. 0: not known.
	Latency time.Duration `json:"latency"`
	// Pushed is set where Read waits for the next value; others are asked, at
	// most once in Interval, and answer at once.
	Pushed bool `json:"pushed"`
	// Stamped is set where its readings have times of its own, not of when they
	// came.
	Stamped bool `json:"stamped,omitempty"`
	// Of names what it sees, for Relate.
	Of []string `json:"of,omitempty"`
	// Whole is set where that is all of a server: no other meter adds to it.
	Whole bool `json:"whole,omitempty"`
	// Source says which of its figures it is that is read, or how.
	Source string `json:"source,omitempty"`
	// Cost is what reading it takes, as a share of one CPU; 0: next to nothing.
	Cost float64 `json:"cost,omitempty"`
}

// Reading is one value of a meter. At least one of Watts and Joules is set.
type Reading struct {
	At     time.Time // when the meter gave it, on this host's clock, unless the meter stamps its own
	Watts  *float64
	Joules *float64 // running total; it may wrap at Info.Range
}

// Meter is one open meter, used from one goroutine.
type Meter interface {
	Info() Info
	// Read gives the next value: at once from a meter that is asked, when it
	// comes from one that publishes. After an error it may be called again,
	// but for one that Is io.EOF: there is nothing more to come.
	Read(ctx context.Context) (Reading, error)
	Close() error
}

// errNoValue is what a meter says that answers and has no value now.
var errNoValue = errors.New("no value now")

// notHere begins the text of an error of what this host lacks.
const notHere = "not possible here: "

// noMeter: an address that can never name a meter.
func noMeter(format string, args ...any) error {
	return fault.Errorf(fault.Usage, "not a meter: %w", fmt.Errorf(format, args...))
}

// lacking: what this host lacks, a right included; the text has the cure.
func lacking(format string, args ...any) error {
	return fault.Errorf(fault.Unsupported, notHere+"%w", fmt.Errorf(format, args...))
}

// noAnswer: a meter that does not answer.
func noAnswer(format string, args ...any) error {
	return fault.Errorf(fault.Unreachable, "no answer: %w", fmt.Errorf(format, args...))
}

// kind is one way of reading power.
type kind struct {
	name    string
	address string // what follows the colon, for help: "HOST[:PORT][/CHANNEL]"
	about   string
	// local kinds read the host they run on; others are reached over the network.
	local bool
	open  func(ctx context.Context, address string) (Meter, error)
	// asUser kinds do what only this host's user may ask for: run commands,
	// read files.
	asUser bool
	// find lists what this host has of a local kind; nil where only the user
	// can know. An error says what is lacking and how to get it.
	find func() ([]Found, error)
}

// Kind describes a way of reading power, for help.
type Kind struct {
	Name    string `json:"kind"`
	Address string `json:"address"` // what follows KIND: as in "HOST[:PORT]"
	About   string `json:"about"`
	Local   bool   `json:"local"` // reads the host it runs on
	AsUser  bool   `json:"-"`     // runs commands or reads files of this host's user
}

// Found is a meter of this host.
type Found struct {
	Meter string `json:"meter"` // for Open
	Scope Scope  `json:"scope"`
	About string `json:"about"`
}

// Stock is what this host has of one kind.
type Stock struct {
	Kind
	Found []Found `json:"found"`
	// Lacks says why Found is empty, with the cure.
	Lacks string `json:"lacks,omitempty"`
}

// List says what this host has, kind by kind.
func List() []Stock {
	var all []Stock
	for _, k := range kinds() {
		s := Stock{Kind: k.describe(), Found: []Found{}}
		if k.find != nil {
			found, err := k.find()
			if err != nil {
				s.Lacks = strings.TrimPrefix(err.Error(), notHere)
			}
			s.Found = append(s.Found, found...)
		}
		all = append(all, s)
	}
	return all
}

func (k kind) describe() Kind { return Kind{k.name, k.address, k.about, k.local, k.asUser} }

// kinds lists all, in the order they are shown.
func kinds() []kind {
	const sys = "/sys"
	return []kind{
		{name: "rapl", address: "[ZONE]", about: "the CPUs' own energy counters: packages and their memory, not the wall", local: true,
			open: func(_ context.Context, address string) (Meter, error) { return openRAPL(sys, address) },
			find: func() ([]Found, error) { return findRAPL(sys) }},
		{name: "hwmon", address: "CHIP[/SENSOR]", about: "a sensor of a kernel driver, seldom the wall", local: true,
			open: func(_ context.Context, address string) (Meter, error) { return openHwmon(sys, address) },
			find: func() ([]Found, error) { return findHwmon(sys) }},
		{name: "nvml", address: "GPU", about: "an NVIDIA GPU, by index, UUID or PCI address, through nvidia-smi", local: true,
			open: openNVIDIA, find: findNVIDIA},
		{name: "exec", address: "COMMAND[?interval=1s][&scope=wall][&resolution=1W]", about: "a shell command that prints watts: a number a " +
			"line for as long as it is wanted, or one number, and then it is run again each interval", local: true, asUser: true,
			open: func(_ context.Context, address string) (Meter, error) { return openExec(address) }},
		{name: "replay", address: "FILE", about: "a CSV file with the columns time and watts or joules, written before or meanwhile", local: true,
			asUser: true,
			open:   func(_ context.Context, address string) (Meter, error) { return openReplay(address) }},
		scpiKind(),
		ipmiKind(),
		ipmidevKind(),
		modbusKind(),
		mqttKind(),
		redfishKind(),
		snmpKind(),
		shellyKind(),
		tasmotaKind(),
	}
}

// split takes KIND[±LATENCY]:ADDRESS apart.
func split(spec string) (k kind, late time.Duration, address string, err error) {
	name, address, _ := strings.Cut(spec, ":")
	if i := strings.IndexAny(name, "+-"); i > 0 {
		if late, err = time.ParseDuration(name[i:]); err != nil {
			return kind{}, 0, "", noMeter("%q: after the kind may come how old its values are, as in %s+3s:ADDRESS", name, name[:i])
		}
		name = name[:i]
	}
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.name == name })
	if i < 0 {
		var names []string
		for _, k := range all {
			names = append(names, k.name)
		}
		return kind{}, 0, "", noMeter("unknown kind %q; there are: %s", name, strings.Join(names, " "))
	}
	if !all[i].local && !all[i].asUser {
		if _, _, err := splitHost(all[i].name, address); err != nil {
			return kind{}, 0, "", err
		}
	}
	return all[i], late, address, nil
}

// Describe tells the kind of a meter without opening it. Its errors are of kind fault.Usage.
func Describe(spec string) (Kind, error) {
	k, _, _, err := split(spec)
	return k.describe(), err
}

// Open opens KIND:ADDRESS. KIND+3s or KIND-2s corrects its time stamps: its
// values are that much older, or younger, than they look. An error has its kind:
// fault.Usage is the user's mistake.
func Open(ctx context.Context, spec string) (Meter, error) {
	k, late, address, err := split(spec)
	if err != nil {
		return nil, err
	}
	m, err := k.open(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("meter %s: %w", k.name, err)
	}
	if late != 0 {
		return shifted{m, late}, nil
	}
	return m, nil
}

// shifted is a meter whose time stamps its user corrects.
type shifted struct {
	Meter
	late time.Duration
}

func (s shifted) Info() Info {
	i := s.Meter.Info()
	i.Latency += s.late
	return i
}

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
	Name       string        // kind and address, for records; never a credential
	Scope      Scope         // what it sees
	Interval   time.Duration // how often its value changes; 0: not known, or as often as it is read
	Resolution float64       // watts; 0: not known
	// Range is the energy counter's wrap in joules; 0: it does not wrap or
	// there is none.
	Range float64
	// Latency is how old a value is when the meter gives it; 0: not known.
	Latency time.Duration
}

// Reading is one value of a meter. At least one of Watts and Joules is set.
type Reading struct {
	At     time.Time // when it held; of this host's clock unless the meter stamps its own
	Watts  *float64
	Joules *float64 // running total; it may wrap at Info.Range
}

// Meter is one open meter, used from one goroutine.
type Meter interface {
	Info() Info
	// Read gives the next value: at once from a meter that is asked, when it
	// comes from one that publishes.
	Read(ctx context.Context) (Reading, error)
	Close() error
}

// ErrSpec is an address that can never name a meter.
var ErrSpec = errors.New("not a meter")

// kind is one way of reading power.
type kind struct {
	name    string
	address string // what follows the colon, for help: "HOST[:PORT][/CHANNEL]"
	about   string
	// local kinds read the host they run on; others are reached over the network.
	local bool
	open  func(ctx context.Context, address string) (Meter, error)
}

// kinds lists all, in the order they are shown.
func kinds() []kind {
	return []kind{}
}

// Open opens KIND:ADDRESS. An error that Is ErrSpec is the user's mistake.
func Open(ctx context.Context, spec string) (Meter, error) {
	name, address, _ := strings.Cut(spec, ":")
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.name == name })
	if i < 0 {
		var names []string
		for _, k := range all {
			names = append(names, k.name)
		}
		return nil, fmt.Errorf("%w: unknown kind %q; there are: %s", ErrSpec, name, strings.Join(names, " "))
	}
	m, err := all[i].open(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("meter %s: %w", name, err)
	}
	return m, nil
}

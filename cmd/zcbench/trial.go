package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"zcbench/endpoint"
	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/experiment"
	"zcbench/internal/cpulist"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/hostfacts"
	"zcbench/internal/printable"
	"zcbench/results"
	"zcbench/ringcfg"
)

// trial places the run of these flags on two ends that are known: addresses,
// CPUs, and what identifies its cell.
func (r *runFlags) trial(at results.Pair[experiment.Survey]) (experiment.Trial, error) {
	t := experiment.Trial{RX: r.prepare(endpoint.RX), TX: r.prepare(endpoint.TX), Meters: r.meters.texts, Baseline: time.Duration(r.meters.baseline)}
	rx, tx := &t.RX, &t.TX
	transport := at.RX.Transport
	fill := func() error {
		txAsk, rxAsk, err := parseCPUs("--affinity", r.affinity)
		if err != nil {
			return err
		}
		txSoft, rxSoft, err := parseCPUs("--softirq-cpus", r.softirq)
		if err != nil {
			return err
		}
		if r.softirq != "" && transport == "tcp" {
			return fault.Errorf(fault.Usage, "--softirq-cpus is for a pair within one machine; each end of this one has its machine to itself: steer the interfaces' interrupts with --set irq.*=CPUS")
		}
		rxc, txc := cpus{at.RX.CPUs, at.RX.Cores, rxAsk, rxSoft}, cpus{at.TX.CPUs, at.TX.Cores, txAsk, txSoft}
		shared := at.RX.Shared
		if shared == "" && at.RX.BootID == at.TX.BootID { // facts that were saved by an older zcbench
			shared = driver.OneHost
		}
		if err := place(shared, rx, tx, rxc, txc); err != nil {
			return err
		}
		if err := r.address(rx, tx, at); err != nil {
			return err
		}
		if err := r.tuning.fill(rx, tx); err != nil {
			return err
		}
		t.Settings = r.settings(rx, tx, transport)
		for _, e := range []struct {
			p    *wire.Prepare
			soft []int
		}{{rx, rxSoft}, {tx, txSoft}} {
			if len(e.soft) > 0 && transport == "veth" { // over a link they go where its interrupts go
				if e.p.Settings == nil {
					e.p.Settings = map[string]string{}
				}
				e.p.Settings["queue.rx-*.rps-cpus"] = "cpus " + cpulist.Format(e.soft)
			}
		}
		return nil
	}
	err := fill()
	if t.Settings == nil {
		t.Settings = r.settings(rx, tx, transport)
	}
	return t, err
}

func (r *runFlags) address(rx, tx *wire.Prepare, at results.Pair[experiment.Survey]) error {
	to := at.RX.Addr4
	if r.v6 || to == "" && !r.v4 {
		to = at.RX.Addr6
	}
	if to == "" {
		return fault.Errorf(fault.Unsupported, "%s has no IPv%d address", at.RX.Interface, r.family())
	}
	tx.Host, rx.Bind = to, to
	if at.RX.Transport == "tcp" {
		from := at.TX.Addr4
		if to != at.RX.Addr4 {
			from = at.TX.Addr6
		}
		if from == "" {
			return fault.Errorf(fault.Unsupported, "the sender's %s has no address of the kind of %s", at.TX.Interface, to)
		}
		tx.Bind = from
	}
	rx.DataPort, tx.DataPort = r.port+1, r.port+1
	tx.Interface, rx.Interface = at.TX.Interface, at.RX.Interface
	return nil
}

// survey looks at this host from the network namespace of the calling thread,
// as one end on s.Interface.
func survey(role endpoint.Role, s *experiment.Survey) (err error) {
	if s.View, err = ringcfg.Show(s.Interface); err != nil {
		return err
	}
	s.Host = hostfacts.Collect(s.Interface, version)
	s.Engines = map[string]feature.Verdict{}
	engines := rxEngines()
	if role == endpoint.TX {
		engines = txEngines()
	}
	for _, e := range engines {
		s.Engines[e.Name()] = e.Probe(s.Interface)
	}
	return nil
}

// notInSpecs are flags that an experiment does not set: they are about the
// screen, or about what a pair is.
var notInSpecs = []string{"json", "json-stream", "raw", "bind", "iface", "token-file", "no-tune"}

// matrixFlags are the flags of a run, as a cell of a matrix has them.
func matrixFlags() (*runFlags, *pflag.FlagSet) {
	f := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.SortFlags = false
	f.SetOutput(io.Discard)
	r := &runFlags{}
	r.add(f)
	r.tuning.add(f)
	return r, f
}

// specFlags are those that a spec may set.
func specFlags() map[string]experiment.Flag {
	_, f := matrixFlags()
	known := map[string]experiment.Flag{}
	f.VisitAll(func(flag *pflag.Flag) {
		if slices.Contains(notInSpecs, flag.Name) {
			return
		}
		pairs := flag.Value.Type() == "stringToString" || strings.HasSuffix(flag.Name, "set") && flag.Value.Type() == "stringArray"
		known[flag.Name] = experiment.Flag{
			List:  flag.Value.Type() == "stringArray",
			Pairs: pairs,
			Check: func(v string) error { return checkFlag(flag.Name, v) },
		}
	})
	return known
}

func checkFlag(name, value string) error {
	r, f := matrixFlags()
	if err := f.Set(name, value); err != nil {
		return readable(err)
	}
	if slices.Contains([]string{"set", "rx-set", "tx-set", "tune-profile"}, name) {
		_, err := r.tuning.want()
		return err
	}
	r.rxFlags = nil // which engine they are for is known in the cell
	return r.check()
}

// resolver gives the experiment.Resolver of this program. Making a set of flags
// takes longer than all else, so one serves all cells, but for those whose
// flags add to what they hold.
func resolver() experiment.Resolver {
	shared, set := matrixFlags()
	fresh := *shared
	known := specFlags()
	return func(_ experiment.Pair, flags experiment.Flags, at results.Pair[experiment.Survey]) (experiment.Trial, error) {
		names := slices.Sorted(maps.Keys(flags))
		if slices.ContainsFunc(names, func(n string) bool { return known[n].List || known[n].Pairs }) {
			r, f := matrixFlags()
			return r.resolve(f, names, flags, at)
		}
		*shared = fresh
		set.VisitAll(func(f *pflag.Flag) { f.Changed = false })
		return shared.resolve(set, names, flags, at)
	}
}

func (r *runFlags) resolve(f *pflag.FlagSet, names []string, flags experiment.Flags, at results.Pair[experiment.Survey]) (experiment.Trial, error) {
	for _, name := range names {
		for _, v := range flags[name] {
			if err := f.Set(name, v); err != nil {
				return experiment.Trial{}, fault.Errorf(fault.Usage, "%w", readable(err))
			}
		}
	}
	if err := r.complete(); err != nil {
		return experiment.Trial{}, err
	}
	t, err := r.trial(at)
	if err != nil {
		return t, err
	}
	switch at.RX.Transport {
	case "link":
		t.Command = fmt.Sprintf("zcbench local --link %s,%s", at.TX.Interface, at.RX.Interface)
	case "veth":
		t.Command = "zcbench local --link veth"
	default: // tx and rx are two commands, and set nothing on the other end
		return t, nil
	}
	for _, name := range names {
		for _, v := range flags[name] {
			t.Command += " --" + name + "=" + printable.Word(v)
		}
	}
	return t, nil
}

// complete checks the flags of a run whose both ends are ours, and fills in
// what was left to us.
func (r *runFlags) complete() error {
	if err := errors.Join(r.check(), r.refuseIdle()); err != nil {
		return err
	}
	if r.time == 0 {
		return fault.Errorf(fault.Usage, "--time must be above zero")
	}
	if err := r.giveMemory(endpoint.RX, endpoint.TX); err != nil {
		return err
	}
	r.rx, r.tx = first(r.rx, "baseline"), first(r.tx, "baseline")
	return r.checkOptions()
}

package ask

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/driver"
	"zcbench/endpoint/wire"
	"zcbench/experiment"
	"zcbench/internal/cpulist"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/results"
)

// Trial places the run on two ends that are known: addresses, CPUs, and what
// identifies its cell.
func (r *Run) Trial(at results.Pair[experiment.Survey]) (experiment.Trial, error) {
	t := experiment.Trial{RX: r.Prepare(endpoint.RX), TX: r.Prepare(endpoint.TX), Meters: r.Meters, Baseline: time.Duration(r.Baseline)}
	soft, err := r.put(&t, at)
	t.Settings = r.Settings(&t.RX, &t.TX, at.RX.Transport)
	if err == nil && at.RX.Transport == "veth" { // over a link it works where the interrupts go
		steer(&t.RX, soft.RX)
		steer(&t.TX, soft.TX)
	}
	return t, err
}

// put gives both ends their CPUs, addresses and settings. The result is the CPUs that
// were asked for the network stack's own work.
func (r *Run) put(t *experiment.Trial, at results.Pair[experiment.Survey]) (soft results.Pair[[]int], err error) {
	txAsk, rxAsk, err := ParseCPUs("--affinity", r.Affinity)
	if err != nil {
		return soft, err
	}
	if soft.TX, soft.RX, err = ParseCPUs("--softirq-cpus", r.SoftirqCPUs); err != nil {
		return soft, err
	}
	if r.SoftirqCPUs != "" && at.RX.Transport == "tcp" {
		return soft, bad("--softirq-cpus is for a pair within one machine; each end of this one has its machine to itself: " +
			"steer the interfaces' interrupts with --set irq.*=CPUS")
	}
	rxc, txc := CPUs{at.RX.CPUs, at.RX.Cores, rxAsk, soft.RX}, CPUs{at.TX.CPUs, at.TX.Cores, txAsk, soft.TX}
	shared := at.RX.Shared
	if shared == "" && at.RX.BootID == at.TX.BootID { // facts that were saved by an older zcbench
		shared = driver.OneHost
	}
	if err := Place(shared, &t.RX, &t.TX, rxc, txc); err != nil {
		return soft, err
	}
	if err := r.address(&t.RX, &t.TX, at); err != nil {
		return soft, err
	}
	return soft, r.tune(&t.RX, &t.TX)
}

// steer has the receive side of an end's interface work on some CPUs.
func steer(p *wire.Prepare, cpus []int) {
	if len(cpus) == 0 {
		return
	}
	if p.Settings == nil {
		p.Settings = map[string]string{}
	}
	p.Settings["queue.rx-*.rps-cpus"] = "cpus " + cpulist.Format(cpus)
}

func (r *Run) address(rx, tx *wire.Prepare, at results.Pair[experiment.Survey]) error {
	to := at.RX.Addr4
	if r.v6 || to == "" && !r.v4 {
		to = at.RX.Addr6
	}
	if to == "" {
		return fault.Errorf(fault.Unsupported, "%s has no IPv%d address", at.RX.Interface, r.Family())
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
	rx.DataPort, tx.DataPort = r.Port+1, r.Port+1
	tx.Interface, rx.Interface = at.TX.Interface, at.RX.Interface
	return nil
}

// tune puts the settings that are to be made for the run into what the ends are
// asked for.
func (r *Run) tune(rx, tx *wire.Prepare) error {
	w, err := r.want()
	if err != nil {
		return err
	}
	rx.Settings, rx.Optional = w.RX.Settings, w.RX.Optional
	tx.Settings, tx.Optional = w.TX.Settings, w.TX.Optional
	return nil
}

// SpecFields are the fields that a spec may set.
func (k *Known) SpecFields() map[string]experiment.Flag {
	known := map[string]experiment.Flag{}
	for _, f := range Fields() {
		if f.InSpec != Absent {
			known[f.Name] = experiment.Flag{List: f.list(), Pairs: f.pairs(), Check: func(v string) error { return k.checkValue(&f, v) }}
		}
	}
	return known
}

// Resolve is the experiment.Resolver of what is known.
func (k *Known) Resolve(_ experiment.Pair, flags experiment.Flags, at results.Pair[experiment.Survey]) (experiment.Trial, error) {
	r, names := New(), slices.Sorted(maps.Keys(flags))
	for _, name := range names {
		f, ok := Lookup(name)
		if !ok {
			return experiment.Trial{}, bad("--%s: there is no such flag", name)
		}
		if err := f.set(r, flags[name]); err != nil {
			return experiment.Trial{}, err
		}
	}
	if err := k.Complete(r); err != nil {
		return experiment.Trial{}, err
	}
	t, err := r.Trial(at)
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

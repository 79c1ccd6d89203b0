package main

import (
	"strings"

	"github.com/spf13/pflag"

	"zcbench/experiment/ask"
	"zcbench/internal/fault"
)

// idle are flags that would change nothing in a command as it was given: whoever
// gave one would believe that it had been obeyed.
type idle struct {
	flags string // their long names, with spaces between
	why   string
}

// refuse finds the first of them that was given.
func refuse(f *pflag.FlagSet, all ...idle) error {
	for _, one := range all {
		for name := range strings.FieldsSeq(one.flags) {
			if f.Changed(name) {
				return fault.Errorf(fault.Usage, "--%s: %s", name, one.why)
			}
		}
	}
	return nil
}

// notOurs are the CPUs of the other end, given to a command that has no say in
// them.
func notOurs(theirs []int, why string) error {
	if len(theirs) == 0 {
		return nil
	}
	return fault.Errorf(fault.Usage, "--affinity: what follows the comma are the other end's CPUs: %s", why)
}

// What rx cannot decide, and what a run without a control connection has not.
const (
	sendersSay = "the sender decides it: give it to zcbench tx (or add --raw, to receive from any TCP program)"
	rawSenders = "it is the sender's, which with --raw is not zcbench"
	rawServes  = "with --raw one run is received, and no sender asks for anything"
)

// refuseRX finds flags that rx has no say in: those of the sender, and with a control
// connection all that a sender asks for.
func (r *runFlags) refuseRX() error {
	for _, f := range ask.Fields() {
		switch {
		case !r.set.Changed(f.Name):
		case f.Name == "softirq-cpus":
			return errSoftirq
		case f.Name == "interval" && !r.Raw:
			if r.Interval != 0 {
				return fault.Errorf(fault.Usage, "--interval: %s; 0 leaves the lines out here", sendersSay)
			}
		case f.InRX == ask.Refused && r.Raw:
			return fault.Errorf(fault.Usage, "--%s: %s", f.Name, rawSenders)
		case f.InRX == ask.Refused, f.InRX == ask.RawOnly && !r.Raw:
			return fault.Errorf(fault.Usage, "--%s: %s", f.Name, sendersSay)
		}
	}
	if !r.Raw {
		return nil
	}
	err := refuse(r.set, idle{"one-off max-time max-flows max-memory", rawServes})
	if err == nil && !r.Validate {
		err = refuse(r.set, idle{"seed", "it is of the payload that --validate expects, and nothing is validated"})
	}
	return err
}

// errSoftirq is what rx and tx say of softirq-cpus.
var errSoftirq = fault.Errorf(fault.Usage, "--softirq-cpus steers the veth pair that local makes; on a real interface steer its interrupts")

func (r *runFlags) refuseTX() error {
	if r.SoftirqCPUs != "" {
		return errSoftirq
	}
	if r.Mode == "" && r.TX == "" {
		if err := refuse(r.set, idle{"tx-opt", "name the send engine too, with --mode or --tx"}); err != nil {
			return err
		}
	}
	if !r.Raw {
		if r.Mode == "" && r.RX == "" {
			return refuse(r.set, idle{"rx-opt", "name the receive engine too, with --mode or --rx"})
		}
		return nil
	}
	return refuse(r.set,
		idle{"rx-opt", "with --raw the receiver is not zcbench"},
		idle{"validate", "nobody compares what arrives: with --raw the receiver is not zcbench"})
}

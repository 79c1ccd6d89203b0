package main

import (
	"strings"

	"github.com/spf13/pflag"

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

// What the sender asks for, so that rx has a say in it with --raw alone, and what it
// has none in even then.
const (
	askedFor   = "time omit parallel length window set-mss congestion validate seed baseline-power"
	sendersOwn = "tx-opt cport no-delay"
)

// markRX has the help of rx tell what refuseRX is going to.
func (r *runFlags) markRX() {
	mark(r.set, askedFor+" interval", "with --raw; else the sender says it")
	mark(r.set, sendersOwn+" softirq-cpus", "not for rx")
}

// mark adds a word to what the help says of some flags.
func mark(f *pflag.FlagSet, names, word string) {
	for name := range strings.FieldsSeq(names) {
		f.Lookup(name).Usage += " [" + word + "]"
	}
}

func (r *runFlags) refuseRX() error {
	if !r.raw {
		if r.interval != 0 && r.set.Changed("interval") {
			return fault.Errorf(fault.Usage, "--interval: %s; 0 leaves the lines out here", sendersSay)
		}
		return refuse(r.set, idle{askedFor + " " + sendersOwn, sendersSay})
	}
	err := refuse(r.set, idle{sendersOwn, rawSenders}, idle{"one-off max-time max-flows max-memory", rawServes})
	if err == nil && !r.validate {
		err = refuse(r.set, idle{"seed", "it is of the payload that --validate expects, and nothing is validated"})
	}
	return err
}

func (r *runFlags) refuseTX() error {
	if r.mode == "" && r.tx == "" {
		if err := refuse(r.set, idle{"tx-opt", "name the send engine too, with --mode or --tx"}); err != nil {
			return err
		}
	}
	if !r.raw {
		if r.mode == "" && r.rx == "" {
			return refuse(r.set, idle{"rx-opt", "name the receive engine too, with --mode or --rx"})
		}
		return nil
	}
	return refuse(r.set,
		idle{"rx-opt", "with --raw the receiver is not zcbench"},
		idle{"validate", "nobody compares what arrives: with --raw the receiver is not zcbench"})
}

// refuseIdle finds flags of a run that others would have to go with.
func (r *runFlags) refuseIdle() error {
	if r.meters.baseline > 0 && len(r.meters.texts) == 0 {
		return fault.Errorf(fault.Usage, "--baseline-power: there is no meter to read: give --meter")
	}
	return nil
}

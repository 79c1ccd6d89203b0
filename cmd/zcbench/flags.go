package main

import (
	"errors"
	"net/netip"

	"github.com/spf13/pflag"

	"zcbench/endpoint/agent"
	"zcbench/endpoint/wire"
	"zcbench/experiment/ask"
	"zcbench/internal/fault"
	"zcbench/internal/netif"
)

// runFlags are the flags of rx, tx and local, as ask has them.
type runFlags struct {
	*ask.Run
	set *pflag.FlagSet
}

// What becomes of a field in a command.
func inRX(f *ask.Field) ask.Use    { return f.InRX }
func inTX(f *ask.Field) ask.Use    { return f.InTX }
func inLocal(f *ask.Field) ask.Use { return f.InLocal }

// newRunFlags gives a command the flags that it has.
func newRunFlags(f *pflag.FlagSet, use func(*ask.Field) ask.Use) *runFlags {
	r := &runFlags{Run: ask.New(), set: f}
	for _, field := range ask.Fields() {
		help := field.Help
		switch use(&field) {
		case ask.Absent:
			continue
		case ask.RawOnly:
			help += " [with --raw; else the sender says it]"
		case ask.Refused:
			help += " [not for " + f.Name() + "]"
		}
		value := field.Value(r.Run)
		flag := f.VarPF(value, field.Name, field.Short, help)
		if value.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
		if flag.DefValue == "0s" {
			flag.DefValue = "0" // which help leaves out
		}
	}
	return r
}

// check finds what can never work, before anything is touched.
func (r *runFlags) check() error {
	return errors.Join(known().Check(r.Run), r.checkBind())
}

// checkBind finds a local address that is none.
func (r *runFlags) checkBind() error {
	if r.Bind == "" {
		return nil
	}
	r.Bind = netif.Zoned(r.Bind)
	a, err := netip.ParseAddr(r.Bind)
	if err != nil {
		return fault.Errorf(fault.Usage, "--bind %q is no IP address", r.Bind)
	}
	if err := checkAddress(a); err != nil {
		return fault.Errorf(fault.Usage, "--bind %s: %w", r.Bind, err)
	}
	if family := r.Family(); family != 0 && family != familyOf(a) {
		return fault.Errorf(fault.Usage, "--bind %s is an IPv%d address, and -%d asks for IPv%d", r.Bind, familyOf(a), family, family)
	}
	return agent.TrySocket(&wire.Prepare{Bind: r.Bind})
}

// tryCongestion finds a congestion control that this host does not have.
func (r *runFlags) tryCongestion() error {
	return agent.TrySocket(&wire.Prepare{Congestion: r.Congestion})
}

func (r *runFlags) token() ([]byte, error) {
	if r.TokenFile == "" {
		return nil, nil
	}
	return wire.ReadToken(r.TokenFile)
}

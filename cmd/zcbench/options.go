package main

import (
	"fmt"
	"maps"
	"strings"

	"github.com/spf13/pflag"

	"zcbench/endpoint"
	"zcbench/internal/fault"
)

// optionFlags are options of receive engines that have a flag of their own,
// being what most is asked about; every other is set by --rx-opt.
var optionFlags = []struct{ flag, option, doc string }{
	{"zcrx-area", "area", "what zcrx receives into: normal, huge (reserved huge pages) or dmabuf (of what --mem says)"},
	{"rx-buf-len", "rx-buf-len", "bytes of one receive buffer of zcrx or devmem"},
	{"rq-entries", "rq-entries", "size of zcrx's refill queue"},
	{"cq-entries", "cq-entries", "size of zcrx's completion queue"},
	{"wait-nr", "wait-nr", "completions that an io_uring receiver wakes up for"},
	{"min-wait-us", "min-wait-us", "with --wait-nr, most microseconds to sleep, after which one is enough"},
	{"busy-poll", "busy-poll", "microseconds an io_uring receiver polls the NIC's queue before it sleeps"},
}

// optionFlag is the value of one of them, as it was given.
type optionFlag struct {
	option string
	into   *map[string]string
}

func (o optionFlag) String() string {
	if o.into == nil {
		return ""
	}
	return (*o.into)[o.option]
}
func (o optionFlag) Type() string { return "value" }

func (o optionFlag) Set(v string) error {
	if *o.into == nil {
		*o.into = map[string]string{}
	}
	(*o.into)[o.option] = v
	return nil
}

func (r *runFlags) addOptions(f *pflag.FlagSet) {
	for _, o := range optionFlags {
		f.Var(optionFlag{o.option, &r.rxFlags}, o.flag, o.doc)
	}
}

// giveOptions turns the options' own flags into options of the receive engine;
// options given by name come before them. The engine then says whether its
// options are right.
func (r *runFlags) giveOptions() error {
	if len(r.rxFlags) == 0 {
		return nil
	}
	var given []string
	for _, o := range optionFlags {
		if _, ok := r.rxFlags[o.option]; ok {
			given = append(given, "--"+o.flag)
		}
	}
	flags := strings.Join(given, ", ")
	if r.rx == "" {
		return fault.Errorf(fault.Usage, "%s: name the receive engine too, with --mode or --rx", flags)
	}
	e, err := find(rxEngines(), r.rx, "receive")
	if err != nil {
		return err
	}
	all := maps.Clone(r.rxFlags)
	maps.Copy(all, r.rxOpts)
	if _, err := endpoint.ParseOptions(e.Options(), all); err != nil {
		return fmt.Errorf("%s for the receive engine %s: %w", flags, e.Name(), err)
	}
	r.rxOpts = all
	return nil
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/netif"
)

// finding is one engine's answer in probe --json.
type finding struct {
	Direction string `json:"direction"`
	Engine    string `json:"engine"`
	feature.Verdict
	Options []option `json:"options"`
}

// option is a setting of an engine, for --rx-opt and --tx-opt.
type option struct {
	Name    string `json:"name"`
	Default string `json:"default"`
	Doc     string `json:"doc"`
}

// runProbe asks every engine whether it could work here; it changes nothing.
func runProbe(ctx context.Context, c *cli, args []string) error {
	c = c.harmless()
	f := newFlags(c, "probe", "probe [-i IFACE [--fix [--apply]] [--capture FILE]] [--json]")
	iface := f.StringP("iface", "i", "", "interface whose NIC queues to ask about")
	asJSON := f.BoolP("json", "J", false, "print JSON")
	options := f.Bool("options", false, "list each engine's options too, for --rx-opt and --tx-opt")
	fix := f.Bool("fix", false, "print the commands, in order, after which devmem and zcrx can have queues of the interface")
	apply := f.Bool("apply", false, "with --fix, carry them out, until tune restore")
	file := f.String("capture", "", "with -i, also write what kernel and driver answer to every question about the interface to this new "+
		"file, for docs/nics.md: addresses and serial numbers have stand-ins; nothing is changed")
	if err := parse(f, args); err != nil {
		return err
	}
	switch {
	case *file == "" && f.Changed("capture"):
		return fault.Errorf(fault.Usage, "--capture wants the name of a file, got none")
	case *file != "" && *iface == "":
		return fault.Errorf(fault.Usage, "--capture needs the interface: -i IFACE")
	case *file != "" && *apply:
		return fault.Errorf(fault.Usage, "--capture changes nothing, and --apply does: give one of them")
	case *fix && *iface == "":
		return fault.Errorf(fault.Usage, "--fix needs the interface: -i IFACE")
	case *apply && !*fix:
		return fault.Errorf(fault.Usage, "--apply carries out what --fix prints: give both")
	case *fix && *options:
		return fault.Errorf(fault.Usage, "--options lists what engines can be told, and --fix what an interface needs: give one of them")
	}
	if f.NArg() > 0 {
		return fault.Errorf(fault.Usage, "probe takes no argument, got %q; an interface is given with -i", f.Arg(0))
	}
	if *iface != "" {
		var err error
		if *iface, err = netif.Name(*iface); err != nil {
			return fault.Wrap(fault.Usage, err)
		}
	}
	if *file != "" {
		if err := captureNIC(ctx, c, *iface, *file); err != nil {
			return err
		}
	}
	if *fix {
		return probeFix(ctx, c, *iface, *apply, *asJSON)
	}
	all := probeEngines(*iface)
	counted, err := probeInstruments(*iface)
	if err != nil {
		return err
	}
	if *asJSON {
		return printJSON(c.stdout, map[string]any{"schema": "zcbench-probe/1", "version": version, "kernel": kernelRelease(), "interface": *iface,
			"engines": all, "counters": counted})
	}
	return showFindings(c.stdout, all, counted, *options)
}

// probeEngines asks all of both directions.
func probeEngines(iface string) (all []finding) {
	for _, d := range []struct {
		name    string
		engines []endpoint.Engine
	}{{"tx", txEngines()}, {"rx", rxEngines()}} {
		for _, e := range d.engines {
			v := finding{d.name, e.Name(), e.Probe(iface), []option{}}
			for _, o := range e.Options() {
				v.Options = append(v.Options, option{o.Name, o.Default, o.Doc})
			}
			all = append(all, v)
		}
	}
	return all
}

// showFindings prints what a host can do, and what engines can be told.
func showFindings(out io.Writer, all []finding, counted []reader, options bool) error {
	fmt.Fprintf(out, "zcbench %s on Linux %s\n\n", version, kernelRelease())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "end\tengine\tcan\twhy, and what would change it")
	for _, v := range all {
		why := v.Reason
		if v.Fix != "" {
			why += "; " + v.Fix
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", v.Direction, v.Engine, v.Answer, why)
	}
	fmt.Fprintln(w, "\ncounters\tcan\twhat, or why not")
	for _, v := range counted {
		fmt.Fprintf(w, "%s\t%s\t%s\n", v.Name, v.Answer, cmp.Or(v.Reason, v.About))
	}
	if err := w.Flush(); err != nil || !options {
		return err
	}
	fmt.Fprintln(w, "\nend\tengine\toption\tdefault\twhat")
	for _, v := range all {
		for _, o := range v.Options {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", v.Direction, v.Engine, o.Name, o.Default, o.Doc)
		}
	}
	return w.Flush()
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

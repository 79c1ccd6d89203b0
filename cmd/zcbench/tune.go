package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"zcbench/endpoint/verify"
	"zcbench/experiment/ask"
	"zcbench/internal/fault"
	"zcbench/internal/netpair"
	"zcbench/internal/printable"
	"zcbench/reports"
	"zcbench/results"
	"zcbench/ringcfg"
	"zcbench/rx"
)

// runTune shows and changes the settings of a NIC and its host.
func runTune(ctx context.Context, c *cli, args []string) error {
	c = c.harmless()
	actions := map[string]func(context.Context, *cli, []string) error{
		"show": tuneShow, "apply": tuneApply, "restore": tuneRestore, "journal": tuneJournal, "verify": tuneVerify,
	}
	if len(args) > 0 {
		if run, ok := actions[args[0]]; ok {
			return run(ctx, c, args[1:])
		}
		if args[0] == "-h" || args[0] == "--help" {
			fmt.Fprint(c.stdout, `usage: zcbench tune show|apply|restore|journal|verify [flags]

  show     everything that bears on zero copy as it is, and what hurts
  apply    bring settings about, by profile or one by one
  restore  put back what apply changed, and what a killed run left
  journal  list what restore would put back; forget what it cannot
  verify   capture headers for a moment: what really crosses the interface

zcbench tune ACTION --help shows its flags.
`)
			return nil
		}
	}
	return fault.Errorf(fault.Usage, "tune wants one of: show apply restore journal verify")
}

// at runs f in the network namespace of an interface, whose name is then the
// one that the kernel has for it, or here without one.
func at(iface *string, f func() error) error {
	if *iface == "" {
		return f()
	}
	e, err := netpair.Locate(*iface)
	if err != nil {
		return fault.Wrap(fault.Usage, err)
	}
	defer e.Close()
	*iface = e.Interface
	return e.Do(f)
}

func tuneShow(_ context.Context, c *cli, args []string) error {
	f := newFlags(c, "tune show", "tune show [-i IFACE] [--json]")
	iface := f.StringP("iface", "i", "", "interface, in this network namespace or a named one; without it only the host is shown")
	asJSON := f.BoolP("json", "J", false, "print JSON")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fault.Errorf(fault.Usage, "tune show takes no argument, got %q; an interface is given with -i", f.Arg(0))
	}
	v := shown{Wants: []string{}}
	if err := at(iface, func() (err error) {
		if v.View, err = ringcfg.Show(*iface); err != nil || *iface == "" || v.InMemory {
			return err
		}
		want, err := rx.Binding(nil, *iface)
		var plan ringcfg.Planned
		if err == nil {
			plan, err = ringcfg.Plan(want)
		}
		if err != nil {
			v.Concerns = append(v.Concerns, ringcfg.Concern{Name: "devmem and zcrx", Why: err.Error()})
		}
		for _, ch := range plan.Changes {
			v.Wants = append(v.Wants, ch.Command(*iface))
		}
		return nil
	}); err != nil {
		return err
	}
	if *asJSON {
		return printJSON(c.stdout, v)
	}
	return showView(c.stdout, v)
}

// shown is what tune show --json prints.
type shown struct {
	ringcfg.View
	// Wants are commands for what devmem and zcrx want that is not so, in order.
	Wants []string `json:"devmem_and_zcrx_want"`
}

func printJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	_, err = w.Write(append(printable.JSON(b), '\n'))
	return err
}

// showView prints settings that are alike (of each CPU, of each queue) in one
// line, and marks those that hurt.
func showView(out io.Writer, v shown) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if v.Interface != "" {
		speed := "unknown speed"
		if v.Speed > 0 {
			speed = fmt.Sprintf("%d Mbit/s", v.Speed)
		}
		if v.InMemory { // a veth says 10000 Mbit/s and means nothing
			speed = "in memory: no link's speed, no NIC's queues for devmem and zcrx"
		}
		fmt.Fprintf(w, "interface %s\tdriver %s, %s\n", v.Interface, cmp.Or(v.Driver, "none"), speed)
	}
	why := map[string]string{}
	for _, concern := range v.Concerns {
		why[concern.Name] = concern.Why
	}
	reads := map[string]string{}
	for _, r := range v.ReadsSo {
		reads[r.Name] = "\t? reads so: " + r.Why
	}
	for _, row := range alike(v.Settings) {
		limit := ""
		if n, ok := v.Limits[row.name+"-max"]; ok {
			limit = fmt.Sprintf(" (at most %d)", n)
		}
		fmt.Fprintf(w, "%s\t%s%s%s\n", row.name, shorten(row.value), limit, hurts(why, row.name)+reads[row.name])
	}
	for _, q := range v.Queues {
		where := "softirq"
		if q.Thread != 0 {
			where = fmt.Sprintf("thread %d", q.Thread)
		}
		var facts []string
		if q.NAPI != 0 {
			facts = append(facts, fmt.Sprintf("NAPI %d in %s", q.NAPI, where))
		}
		if q.IRQ != 0 {
			facts = append(facts, fmt.Sprintf("interrupt %d on CPUs %s", q.IRQ, q.CPUs))
		}
		if q.Provider != "" {
			facts = append(facts, "memory of "+q.Provider)
		}
		fmt.Fprintf(w, "queue %s\t%s\n", q.Name, strings.Join(facts, ", "))
	}
	for _, p := range v.PagePools {
		fmt.Fprintf(w, "page pool %d\t%s in flight (%d bytes)", p.ID, printable.Count(p.Inflight, "page"), p.Bytes)
		if p.Provider != "" {
			fmt.Fprintf(w, " of %s", p.Provider)
		}
		if p.Detached {
			fmt.Fprint(w, ", detached")
		}
		fmt.Fprintln(w)
	}
	if v.SMT != "" {
		fmt.Fprintf(w, "smt\t%s%s\n", v.SMT, hurts(why, "smt"))
	}
	for _, name := range slices.Sorted(maps.Keys(why)) { // of what is not there to be shown
		fmt.Fprintf(w, "%s\t%s\n", name, hurts(why, name))
	}
	for i, command := range v.Wants {
		label := ""
		if i == 0 {
			label = "devmem and zcrx want first"
		}
		fmt.Fprintf(w, "%s\t%s\n", label, command)
	}
	return w.Flush()
}

// hurts gives the mark of a setting, once.
func hurts(why map[string]string, name string) string {
	text, ok := why[name]
	if !ok {
		return ""
	}
	delete(why, name)
	return "\t! " + text
}

type row struct{ name, value string }

// alike folds settings whose names differ in one number, and whose values do
// not, into one.
func alike(s ringcfg.Settings) []row {
	values, names := map[string]map[string]bool{}, map[string]int{} // by pattern
	for name, value := range s {
		p := pattern(name)
		if values[p] == nil {
			values[p] = map[string]bool{}
		}
		values[p][value] = true
		names[p]++
	}
	var rows []row
	for _, name := range slices.Sorted(maps.Keys(s)) {
		p := pattern(name)
		if len(values[p]) > 1 || names[p] == 1 {
			rows = append(rows, row{name, s[name]})
		} else if !slices.Contains(rows, row{p, s[name]}) {
			rows = append(rows, row{p, s[name]})
		}
	}
	return rows
}

// pattern replaces the number in the name of a CPU's or a queue's setting.
func pattern(name string) string {
	words := strings.Split(name, ".")
	if len(words) < 2 {
		return name
	}
	if words[0] == "cpu" {
		if _, err := strconv.Atoi(words[1]); err == nil {
			words[1] = "*"
		}
	} else if words[0] == "napi" || words[0] == "queue" || words[0] == "irq" {
		if direction, _, ok := strings.Cut(words[1], "-"); ok && len(direction) == 2 {
			words[1] = direction + "-*"
		}
	}
	return strings.Join(words, ".")
}

// shorten keeps a value on the screen.
func shorten(v string) string {
	const most = 64
	if len(v) <= most {
		return v
	}
	if n := len(strings.Fields(v)); n > 1 {
		return fmt.Sprintf("%s… (%d values)", v[:most], n)
	}
	return v[:most] + "…"
}

// wanted are the settings of profiles, and single ones over them.
func wanted(iface string, profiles, sets []string) (ringcfg.Want, error) {
	want, err := ringcfg.LoadProfiles(profiles)
	if err != nil {
		return want, err
	}
	single, err := ringcfg.ParseSets(sets)
	if err != nil {
		return want, err
	}
	if name := single.OfInterface(); name != "" && iface == "" {
		return want, fault.Errorf(fault.Usage, "%s: this is a setting of an interface, and none is named: -i IFACE", name)
	}
	want.Override(single)
	return want, nil
}

func tuneApply(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "tune apply", "tune apply [-i IFACE] [--profile NAME]… [--set NAME=VALUE]… [--dry-run]")
	iface := f.StringP("iface", "i", "", "interface, in this network namespace or a named one")
	profiles := f.StringArray("profile", nil, "apply a profile: "+strings.Join(ringcfg.Profiles(),
		", ")+", or the path of your own (repeatable)")
	sets := f.StringArray("set", nil, "apply one setting, as tune show names it, or by a short name such as gro-hw; NAME?=VALUE where the "+
		"host has it (repeatable; overrides profiles)")
	dry := f.Bool("dry-run", false, "show what would change, or be refused, and change nothing")
	wait := ask.Seconds(0)
	f.Var(&wait, "wait", "how long to wait for another zcbench that holds the interface")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fault.Errorf(fault.Usage, "tune apply takes no argument, got %q; settings are given with --set", f.Arg(0))
	}
	want, err := wanted(*iface, *profiles, *sets)
	if err != nil {
		return err
	}
	want.Interface, want.Keep, want.Wait = *iface, true, time.Duration(wait)
	if len(want.Settings)+len(want.Optional) == 0 {
		return fault.Errorf(fault.Usage, "nothing to apply: give --profile or --set")
	}
	if *dry {
		if err := refuse(f, idle{"wait", "a dry run takes hold of nothing, so there is nobody to wait for"}); err != nil {
			return err
		}
	}
	if !*dry {
		recoverSettings(ctx, c)
	}
	return at(&want.Interface, func() error {
		if *dry {
			plan, err := ringcfg.Plan(want)
			if err != nil {
				return err
			}
			showChanges(c.stdout, plan.Changes)
			showSkipped(c.stdout, plan.Skipped)
			if plan.Refused != nil {
				return fmt.Errorf("would be refused: %w", plan.Refused)
			}
			fmt.Fprintf(c.stdout, "%s would change; none was\n", printable.Count(len(plan.Changes), "setting"))
			return nil
		}
		grant, _, err := ringcfg.Apply(ctx, want, "")
		if err != nil {
			return err
		}
		showChanges(c.stdout, grant.Changes)
		showMoved(c.stdout, grant.Moved)
		showSkipped(c.stdout, grant.Skipped)
		moved := ""
		if n := len(grant.Moved); n > 0 {
			moved = fmt.Sprintf(", and %d moved along", n)
		}
		on := ""
		if *iface != "" {
			on = " -i " + printable.Word(*iface)
		}
		fmt.Fprintf(c.stdout, "%s changed%s; zcbench tune restore%s puts back what was\n", printable.Count(len(grant.Changes), "setting"), moved,
			on)
		return nil
	})
}

func showChanges(out io.Writer, changes []ringcfg.Change) {
	for _, ch := range changes {
		fmt.Fprintln(out, changeLine(ch))
	}
}

// showMoved shows what the kernel or the driver changed beside what was asked.
func showMoved(out io.Writer, moved []ringcfg.Change) {
	for _, ch := range moved {
		fmt.Fprintf(out, "%s, moved along\n", changeLine(ch))
	}
}

func showSkipped(out io.Writer, skipped []string) {
	for _, name := range skipped {
		if !strings.Contains(name, " (") {
			name += " (not here)"
		}
		fmt.Fprintf(out, "skipped: %s\n", name)
	}
}

func changeLine(ch ringcfg.Change) string {
	shown := func(v string) string {
		if v == "" {
			return "(none)"
		}
		return shorten(v)
	}
	return fmt.Sprintf("%s: %s → %s", ch.Name, shown(ch.From), shown(ch.To))
}

func tuneRestore(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "tune restore", "tune restore [-i IFACE]")
	iface := f.StringP("iface", "i", "", "interface, in this network namespace or a named one (default: every one, and the host)")
	wait := ask.Seconds(0)
	f.Var(&wait, "wait", "how long to wait for another zcbench that holds the interface")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fault.Errorf(fault.Usage, "tune restore takes no argument, got %q; an interface is given with -i", f.Arg(0))
	}
	if *iface == "" {
		if err := refuse(f, idle{"wait", "without -i nobody is waited for: name the interface"}); err != nil {
			return err
		}
	}
	done, err := restoreSettings(ctx, *iface, time.Duration(wait))
	for _, line := range describe(done) {
		fmt.Fprintln(c.stdout, line)
	}
	if err != nil {
		return err
	}
	if n := len(done.Drift); n > 0 {
		return fmt.Errorf("%s left alone: somebody else changed what zcbench had set", printable.Count(n, "setting"))
	}
	if len(done.Changes) > 0 {
		fmt.Fprintf(c.stdout, "%s put back\n", printable.Count(len(done.Changes), "setting"))
	} else {
		fmt.Fprintln(c.stdout, "nothing to put back")
	}
	return nil
}

// restoreSettings puts back all, or what belongs to an interface. One that has
// another name now, or is where no name is looked up, is known to the journal
// by the one that it had.
func restoreSettings(ctx context.Context, iface string, wait time.Duration) (done ringcfg.Restored, err error) {
	if iface == "" {
		return ringcfg.RestoreAll(ctx, "", "")
	}
	name := iface
	found := false
	err = at(&name, func() (err error) {
		found = true
		done, err = ringcfg.Restore(ctx, name, "", wait)
		return err
	})
	if found && (err != nil || len(done.Changes)+len(done.Drift)+len(done.Gone) > 0) {
		return done, err
	}
	pending, perr := ringcfg.Journaled("")
	if perr != nil {
		return done, perr
	}
	i := slices.IndexFunc(pending, func(p ringcfg.Pending) bool { return p.Interface == iface && p.Holder == "" })
	if found && i >= 0 {
		return done, fmt.Errorf("nothing was changed of the %s that is here, as far as can be told, and %s is of an interface that was called "+
			"so: see zcbench tune journal, and zcbench tune restore without -i", iface, pending[i].Name)
	}
	if found {
		return done, nil
	}
	if i < 0 {
		return done, fmt.Errorf("%w; nor is any called so in the journal", err)
	}
	return ringcfg.RestoreAll(ctx, "", iface)
}

func tuneJournal(_ context.Context, c *cli, args []string) error {
	f := newFlags(c, "tune journal", "tune journal [--forget NAME]…")
	forget := f.StringArray("forget", nil, "drop what cannot be put back, by its name: all it lists stays as it is now (repeatable)")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fault.Errorf(fault.Usage, "tune journal takes no argument, got %q; a journal is dropped with --forget", f.Arg(0))
	}
	for _, name := range *forget {
		if err := ringcfg.Forget("", name); err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "%s: forgotten; what it held stays as it is\n", name)
	}
	if len(*forget) > 0 {
		return nil
	}
	all, err := ringcfg.Journaled("")
	if err != nil {
		return err
	}
	for _, p := range all {
		showPending(c.stdout, p)
	}
	if len(all) == 0 {
		fmt.Fprintln(c.stdout, "nothing is to be put back")
	}
	return nil
}

func showPending(out io.Writer, p ringcfg.Pending) {
	why := "left by a process that ended before it put it back; the next zcbench does"
	switch {
	case p.Blocked != nil:
		why = p.Blocked.Error()
	case p.Damage != nil:
		why = fmt.Sprintf("damaged (%v); zcbench tune restore puts back what is sure", p.Damage)
	case p.Holder != "":
		why = "held by " + p.Holder
	case p.Kept:
		why = "applied; zcbench tune restore puts it back"
	}
	when := ""
	if p.PID != 0 {
		when = fmt.Sprintf(" by process %d at %s", p.PID, p.Time.Local().Format(time.DateTime))
	}
	fmt.Fprintf(out, "%s: %s, changed%s: %s\n", p.Name, p.Of(), when, why)
	for _, ch := range p.Changes {
		fmt.Fprintf(out, "  %s\n", changeLine(ch))
	}
}

func tuneVerify(ctx context.Context, c *cli, args []string) error {
	f := newFlags(c, "tune verify", "tune verify -i IFACE [-t TIME] [--json]")
	iface := f.StringP("iface", "i", "", "interface, in this network namespace or a named one")
	length := ask.Seconds(time.Second)
	f.VarP(&length, "time", "t", "how long to look")
	asJSON := f.BoolP("json", "J", false, "print JSON")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 || *iface == "" || length <= 0 {
		return fault.Errorf(fault.Usage, "tune verify wants -i IFACE and --time above zero")
	}
	var view *results.Crossing
	if err := at(iface, func() error {
		now, err := verify.Look(*iface)
		if err != nil {
			return err
		}
		within, cancel := context.WithTimeout(ctx, time.Duration(length))
		defer cancel()
		view, err = verify.Capture(within, now, nil)
		return err
	}); err != nil {
		return err
	}
	if *asJSON {
		return printJSON(c.stdout, view)
	}
	return reports.Crossing(c.stdout, *view)
}

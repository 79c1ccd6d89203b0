package main

import (
	"context"
	"fmt"
	"io"

	"zcbench/internal/printable"
	"zcbench/ringcfg"
	"zcbench/rx"
)

// fixed is what probe --fix --json prints.
type fixed struct {
	Schema    string           `json:"schema"`
	Interface string           `json:"interface"`
	Driver    string           `json:"driver"`
	Commands  []string         `json:"commands"`
	Changes   []ringcfg.Change `json:"changes"`
	Applied   bool             `json:"applied"`
}

// probeFix tells what is to be set before memory can be bound to queues of an
// interface, in the order that its driver wants, as commands, and does it if asked,
// until tune restore.
func probeFix(ctx context.Context, c *cli, iface string, apply, asJSON bool) error {
	want, err := rx.Binding(nil, iface)
	if err != nil {
		return err
	}
	plan, err := ringcfg.Plan(want) // its commands are for whoever has the rights
	if err != nil {
		return err
	}
	changes, moved := plan.Changes, []ringcfg.Change(nil)
	if apply {
		recoverSettings(ctx, c)
		grant, _, err := ringcfg.Apply(ctx, want, "")
		if err != nil {
			return err
		}
		changes, moved = grant.Changes, grant.Moved
	}
	view, err := ringcfg.Show(iface)
	if err != nil {
		return err
	}
	r := fixed{"zcbench-fix/1", iface, view.Driver, []string{}, append([]ringcfg.Change{}, changes...), apply}
	for _, ch := range changes {
		r.Commands = append(r.Commands, ch.Command(iface))
	}
	if asJSON {
		return printJSON(c.stdout, r)
	}
	switch {
	case len(changes) == 0:
		fmt.Fprintf(c.stdout, "%s (%s) is as devmem and zcrx want it\n", iface, r.Driver)
		return nil
	case apply:
		showChanges(c.stdout, changes)
		showMoved(c.stdout, moved)
		fmt.Fprintf(c.stdout, "done; zcbench tune restore -i %s puts them back\n", printable.Word(iface))
		return nil
	}
	r.show(c.stdout)
	return nil
}

// show prints the commands that nobody carried out.
func (r fixed) show(out io.Writer) {
	fmt.Fprintf(out, "# what devmem and zcrx want of %s (%s), in this order\n", r.Interface, r.Driver)
	for i, command := range r.Commands {
		if r.Changes[i].From == r.Changes[i].To {
			command += "  # it reads so: this configures it, and changes nothing where it is configured"
		}
		fmt.Fprintln(out, command)
	}
	fmt.Fprintf(out, "# a run does so by itself and puts it back; with --apply it stays until zcbench tune restore -i %s\n",
		printable.Word(r.Interface))
}

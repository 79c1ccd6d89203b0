package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/answers"
	"zcbench/internal/fault"
	"zcbench/internal/netif"
	"zcbench/internal/printable"
	"zcbench/ringcfg"
	"zcbench/rx"
)

// captureNIC writes what kernel and driver answer to all that probe, tune show and
// probe --fix ask about an interface to a file that is not there yet.
func captureNIC(ctx context.Context, c *cli, iface, path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fault.Errorf(fault.Usage, "--capture: %s is there already, and is not overwritten: name another file, or remove it", path)
	}
	if err != nil {
		return fault.Errorf(fault.Usage, "--capture: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	secret, err := secrets()
	if err != nil {
		return err
	}
	was, err := netif.Look(nil, iface)
	if err != nil {
		return fault.Errorf(fault.Usage, "--capture: %w", err)
	}
	from := answers.Record()
	failed := askAll(from, iface)
	if is, err := netif.Look(nil, iface); err != nil || is.Index() != was.Index() {
		return fmt.Errorf("--capture: interface %s is gone, or another than it was when the first question was asked: no capture was written",
			iface)
	}
	for _, err := range failed {
		fmt.Fprintf(c.stderr, "zcbench: note: %v (the capture has that answer)\n", err)
	}
	from.Redact(secret)
	if err := readsBack(from); err != nil {
		fmt.Fprintf(c.stderr, "zcbench: note: nobody can be asked by the capture as this NIC was: %v "+
			"(is this host's name, which has a stand-in, a word of the answers?)\n", err)
	}
	if err := interruptible(ctx, func() error { return buffered(f, from.Write) }); err != nil {
		return fmt.Errorf("write the capture: %w", err)
	}
	all := from.Answers()
	advice := "docs/nics.md says what is in it"
	if slices.ContainsFunc(all, func(a answers.Answer) bool { return a.Errno == unix.EPERM }) {
		advice = "this user may not ask all: run it as root for a whole one"
	}
	fmt.Fprintf(c.stderr, "zcbench: %s has %s about %s (%s); %s\n", path, printable.Count(len(all), "answer"),
		iface, cmp.Or(from.Head.Driver, "no driver"), advice)
	return nil
}

// readsBack says what keeps a capture from answering all that was asked.
func readsBack(from *answers.Source) error {
	var b bytes.Buffer
	if err := from.Write(&b); err != nil {
		return err
	}
	again, err := answers.Read("it", &b)
	if err != nil {
		return err
	}
	askAll(again, from.Head.Interface)
	if missed := again.Missed(); len(missed) > 0 {
		return fmt.Errorf("%w: %s", answers.ErrNoAnswer, missed[0])
	}
	return nil
}

// askAll asks what probe, tune show and probe --fix ask about an interface. What it
// gives are failures that are no verdict on the NIC.
func askAll(from *answers.Source, iface string) (failed []error) {
	for _, e := range slices.Concat(txEngines(), rxEngines()) {
		if a, ok := e.(endpoint.Asker); ok {
			a.ProbeFrom(from, iface)
		}
	}
	view, err := ringcfg.ShowFrom(from, iface)
	if err != nil {
		failed = append(failed, fmt.Errorf("tune show: %w", err))
	}
	want, err := rx.Binding(from, iface)
	if err == nil {
		_, err = ringcfg.PlanFrom(from, want)
	}
	if err != nil && fault.Of(err) != fault.Unsupported {
		failed = append(failed, fmt.Errorf("probe --fix: %w", err))
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		failed = append(failed, fmt.Errorf("uname: %w", err))
	}
	from.Head = answers.Head{Schema: answers.Schema, Version: version, Kernel: unix.ByteSliceToString(u.Release[:]),
		Machine: unix.ByteSliceToString(u.Machine[:]), Interface: iface, Driver: view.Driver}
	return failed
}

// secrets are the addresses and names that this host is known by.
func secrets() (s answers.Secrets, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return s, fmt.Errorf("list the interfaces, whose addresses are not to be in the capture: %w", err)
	}
	for _, l := range links {
		s.MACs = append(s.MACs, l.Attrs().HardwareAddr, l.Attrs().PermHWAddr)
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return s, fmt.Errorf("list the addresses, which are not to be in the capture: %w", err)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			s.Addrs = append(s.Addrs, ip)
		}
	}
	name, err := os.Hostname()
	if err != nil {
		return s, fmt.Errorf("this host's name, which is not to be in the capture: %w", err)
	}
	s.Names = []string{name}
	return s, nil
}

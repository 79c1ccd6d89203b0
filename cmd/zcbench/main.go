// Command zcbench measures TCP with and without zero copy, on both ends.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"zcbench/endpoint/wire"
	"zcbench/experiment/ask"
	"zcbench/internal/fault"
	"zcbench/internal/printable"
	"zcbench/internal/ring"
	"zcbench/internal/threads"
)

// version is zcbench's own; both ends show it when they disagree.
const version = "0.1.0" + ring.Version

// command is one subcommand. run parses args itself.
type command struct {
	name, args, about string
	run               func(ctx context.Context, c *cli, args []string) error
}

// cli is what a subcommand may touch of the process.
type cli struct {
	stdin          io.ReadWriteCloser // the control link of agent --stdio
	stdout, stderr io.Writer
}

// harmless is c for what shows names and values that others gave: whoever makes an
// interface gives it nearly any.
func (c *cli) harmless() *cli {
	return &cli{stdin: c.stdin, stdout: printable.To(c.stdout), stderr: printable.To(c.stderr)}
}

func commands() []command {
	return []command{
		{"probe", "[flags]", "what this host can do: each engine, each direction", runProbe},
		{"rx", "[flags]", "receive: wait for zcbench tx", runRX},
		{"tx", "HOST [flags]", "send to zcbench rx on HOST and print the result of both ends", runTX},
		{"local", "[flags]", "both ends on this machine, in two network namespaces", runLocal},
		{"plan", "SPEC [flags]", "the runs of an experiment: which, in what order, how long", runPlan},
		{"run", "SPEC [flags]", "carry out an experiment, and continue one", runMatrix},
		{"demo", "[flags]", "a first look: every engine over a veth pair", runDemo},
		{"report", "DIR… [flags]", "what records say: table, html, markdown, csv, json, benchfmt", runReport},
		{"compare", "OLD NEW [flags]", "what changed, and whether it is significant; exit 1 on a loss", runCompare},
		{"tune", "ACTION [flags]", "NIC and host settings: show, apply, restore, journal, verify", runTune},
		{"power", "ACTION [flags]", "power meters: list, read", runPower},
		{"agent", "--stdio|--listen", "an endpoint that an experiment drives from elsewhere", runAgent},
	}
}

// startThreads is what the runtime makes for any command, some more than it mostly
// does. Those of engines are looked at when a run is prepared.
const startThreads = 10

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		s := <-signals
		cancel(fault.Errorf(fault.Interrupted, "ended by signal: %s", s))
	}()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // its death would leave settings changed
	out := newOutput(os.Stdout, func() { cancel(errPipe) })
	if err := threads.Need(startThreads); err != nil {
		os.Exit(exitCode(err, os.Stderr))
	}
	err := dispatch(ctx, &cli{stdin: stdio{os.Stdin, os.Stdout}, stdout: out, stderr: os.Stderr}, os.Args[1:])
	if err = out.end(err); errors.Is(err, errPipe) {
		dieOfPipe()
	}
	os.Exit(exitCode(err, os.Stderr))
}

// stdio is stdin and stdout as one link.
type stdio struct {
	io.ReadCloser
	io.Writer
}

func dispatch(ctx context.Context, c *cli, args []string) error {
	if len(args) == 0 {
		usage(c.stderr)
		return fault.Errorf(fault.Usage, "no subcommand")
	}
	switch args[0] {
	case "-h", "--help", "help":
		usage(c.stdout)
		return nil
	case "-v", "--version", "version":
		info, _ := debug.ReadBuildInfo() // nil of a build without
		fmt.Fprintln(c.stdout, "zcbench", build(info))
		return nil
	}
	for _, cmd := range commands() {
		if cmd.name == args[0] {
			err := cmd.run(ctx, c, args[1:])
			if errors.Is(err, pflag.ErrHelp) {
				return nil
			}
			return err
		}
	}
	return fault.Errorf(fault.Usage, "unknown subcommand %q; zcbench help lists them", args[0])
}

// build says which zcbench this is: its version, what the other end must have too,
// and the source it was made of, where the build noted that (go build -buildvcs).
func build(info *debug.BuildInfo) string {
	revision, edited := "unknown", ""
	if info != nil {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				edited = " and changes"
			}
		}
	}
	return fmt.Sprintf("%s, control protocol %d, revision %s%s, %s %s/%s", version, wire.Protocol, revision, edited, runtime.Version(),
		runtime.GOOS, runtime.GOARCH)
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "zcbench measures TCP with and without zero copy, on both ends.\n\nusage:")
	for _, cmd := range commands() {
		fmt.Fprintf(w, "  zcbench %-6s %-14s %s\n", cmd.name, cmd.args, cmd.about)
	}
	fmt.Fprintln(w, "\nzcbench COMMAND --help shows its flags.")
}

// errReported is a failure that the user has seen already.
type errReported struct{ error }

func (e errReported) Unwrap() error { return e.error }

// oneLine gives all that an error says as one line.
func oneLine(err error) string {
	return printable.Line(strings.ReplaceAll(err.Error(), "\n", "; "))
}

func exitCode(err error, stderr io.Writer) int {
	if err == nil || err == errDelegated {
		return 0
	}
	if _, ok := errors.AsType[errReported](err); !ok {
		fmt.Fprintln(stderr, "zcbench:", oneLine(err))
	}
	return fault.Of(err).Exit()
}

// commandLine is what the user typed, for the record.
func commandLine() string { return strings.Join(os.Args, " ") }

// newFlags makes a flag set whose mistakes become one line and exit code 2.
func newFlags(c *cli, name, synopsis string) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SortFlags = false
	f.SetOutput(io.Discard)
	f.Usage = func() {
		fmt.Fprintf(c.stdout, "usage: zcbench %s\n\n%s", synopsis, f.FlagUsagesWrapped(100))
	}
	return f
}

func parse(f *pflag.FlagSet, args []string) error {
	err := f.Parse(args)
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return err
	}
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		err = ask.Mistake(bad.GetFlag().Name, bad.GetFlag().Value.Type(), bad.GetValue(), bad.Unwrap())
	}
	return fault.Wrap(fault.Usage, err)
}

package main

import (
	"encoding/json"
	"fmt"
	"io"

	"zcbench/endpoint"
	"zcbench/endpoint/summary"
	"zcbench/endpoint/wire"
	"zcbench/internal/printable"
	"zcbench/reports"
	"zcbench/results"
)

// screen shows a run as it goes and its record at the end, in the form the
// user asked for: text, one JSON document, or a stream of JSON events.
type screen struct {
	out    io.Writer
	flags  *runFlags
	last   map[endpoint.Role]wire.Sample
	headed bool
}

func newScreen(c *cli, flags *runFlags) *screen {
	return &screen{out: c.stdout, flags: flags, last: map[endpoint.Role]wire.Sample{}}
}

// event is a line of --json-stream, in iperf3's shape.
type event struct {
	Event string `json:"event"`
	Data  any    `json:"data"`
}

func (s *screen) emit(name string, data any) {
	b, err := json.Marshal(event{name, data})
	if err != nil {
		return // every type given here can be encoded
	}
	fmt.Fprintf(s.out, "%s\n", printable.JSON(b))
}

// started tells which engines both ends agreed on.
func (s *screen) started(settings map[string]any) {
	switch {
	case s.flags.JSON:
	case s.flags.Stream:
		s.emit("start", settings)
	default:
		engine := func(role string) any {
			if e, ok := settings[role]; ok {
				return e
			}
			if settings["raw"] != true {
				return "(its own output says)"
			}
			return "(not zcbench)"
		}
		flows, _ := settings["flows"].(int) // as settings has it
		length := fmt.Sprintf("%vs after %vs of warm-up", settings["time_seconds"], settings["omit_seconds"])
		if settings["time_seconds"] == 0.0 {
			length = "until the sender ends"
		}
		fmt.Fprintf(s.out, "tx %v → rx %v, %s, %v bytes a call, %s\n",
			engine("tx"), engine("rx"), printable.Count(flows, "flow"), settings["length"], length)
	}
}

// live shows the interval that a sample ends. Samples of one role come in
// order; the two roles may interleave, under the caller's lock.
func (s *screen) live(role endpoint.Role, v wire.Sample) {
	if v.Verify != nil {
		s.verified(role, v.Verify)
	}
	before, ok := s.last[role]
	s.last[role] = v
	if !ok || s.flags.Interval == 0 {
		return
	}
	i := summary.Interval(role, before, v)
	short := summary.TooShort(before, v)
	switch {
	case s.flags.JSON:
	case s.flags.Stream && short:
		s.emit("interval", map[string]any{"end": i.End, "start": i.Start, "seconds": i.Seconds, "bytes": i.Bytes})
	case s.flags.Stream:
		s.emit("interval", i)
	default:
		if !s.headed {
			fmt.Fprintf(s.out, "%-4s %15s %14s %12s %8s\n", "end", "seconds", "bytes", "Gbit/s", "CPU %")
			s.headed = true
		}
		rates := fmt.Sprintf("%12s %8s", "-", "-")
		if i.CPUPercent != nil && !short {
			rates = fmt.Sprintf("%12.3f %8.1f", i.Gbps, *i.CPUPercent)
		}
		fmt.Fprintf(s.out, "%-4s %7.2f-%-7.2f %14d %s\n", role, i.Start, i.Start+i.Seconds, i.Bytes, rates)
	}
}

// verified tells in a line what crossed an interface, as soon as it is known;
// finish shows the whole of it.
func (s *screen) verified(role endpoint.Role, c *results.Crossing) {
	switch {
	case s.flags.JSON:
	case s.flags.Stream:
		s.emit("verify", map[string]any{"end": role, "verify": c})
	default:
		n := c.Received.Frames + c.Sent.Frames
		fmt.Fprintf(s.out, "%-4s warm-up: %s crossed %s, %s\n", role, printable.Count(n, "TCP frame"), printable.Line(c.Interface),
			printable.Count(len(c.Warnings()), "warning"))
	}
}

// finish prints the record and passes the error on.
func (s *screen) finish(rec results.Record, err error) error {
	s.last, s.headed = map[endpoint.Role]wire.Sample{}, false
	switch {
	case s.flags.JSON:
		if e := printJSON(s.out, rec); e != nil {
			return e
		}
	case s.flags.Stream:
		s.emit("end", rec)
	case err == nil:
		if e := reports.Run(s.out, rec); e != nil {
			return fmt.Errorf("print the result: %w", e)
		}
	}
	return err
}

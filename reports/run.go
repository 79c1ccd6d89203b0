package reports

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"zcbench/analysis"
	"zcbench/internal/digits"
	"zcbench/internal/printable"
	"zcbench/results"
)

// Run writes the result of one run as the last thing its user sees: a line
// for each end, as iperf3 does, then what the ends spent and how.
func Run(w io.Writer, r results.Record) error {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(strings.Repeat("- ", 30), " ") + "\n")
	if r.Status != results.OK {
		b.WriteString(wrap(printable.Clip(printable.Line(string(r.Status)), 24)+": ", printable.Line(cmp.Or(r.Reason, "no reason given"))))
	}
	if r.Status == results.OK || r.Bytes > 0 {
		measured(&b, &r)
		details(&b, &r)
	}
	for _, e := range []struct {
		name string
		end  *results.End
	}{{"sender", r.TX}, {"receiver", r.RX}} {
		if e.end != nil && e.end.Verify != nil {
			fmt.Fprintf(&b, "\nThe %s's headers, in the warm-up: ", e.name)
			crossing(&b, e.end.Verify)
		}
	}
	if len(r.Warnings)+len(r.Notes) > 0 {
		b.WriteByte('\n')
	}
	for _, text := range r.Notes {
		b.WriteString(wrap("Note: ", printable.Line(text)))
	}
	for _, text := range r.Warnings {
		b.WriteString(wrap("Warning: ", printable.Line(text)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func measured(b *strings.Builder, r *results.Record) {
	if c := analysis.Congestion(r); c != "" {
		fmt.Fprintf(b, "Congestion control: %s\n", c)
	}
	fmt.Fprintf(b, "%-9s %-12s %14s %11s %14s %9s %9s %12s\n", "", "engine", "interval", "transfer", "bitrate", "CPU", "iowait",
		"zero-copied")
	ends := []struct {
		name, role string
		end        *results.End
	}{{"sender", "tx", r.TX}, {"receiver", "rx", r.RX}}
	for _, e := range ends {
		if e.end == nil {
			what := "a plain TCP peer: nothing is known of it"
			if r.Half() {
				what = "its figures are in its own output"
			}
			fmt.Fprintf(b, "%-9s %s\n", e.name, what)
			continue
		}
		seconds, rate := r.WindowOf(e.role), 0.0
		if seconds > 0 {
			rate = float64(e.end.Bytes) * 8 / 1e9 / seconds
		}
		fmt.Fprintf(b, "%-9s %-12s %12s s %11s %7s Gbit/s %9s %9s %12s\n", e.name, printable.Clip(printable.Line(e.end.Engine), 12),
			fmt.Sprintf("0.00-%.2f", seconds), digits.Bytes(e.end.Bytes), digits.Fixed(rate, digits.Places(rate)),
			optional(e.end.CPUPercent, " %"), optional(e.end.IowaitPercent, " %"), shareOf(r, e.role))
	}
	b.WriteByte('\n')
	roi(b, "ROI per CPU", "(Gbit/s)² / CPU %", r.ROI.CPU)
	roi(b, "ROI per watt", "(Gbit/s)² / W", r.ROI.Power)
	powerText(b, r)
	if text := scopesText(r); text != "" {
		b.WriteString(wrap("", "CPU: 100 % is one CPU; "+text+clockText(r)))
	}
	for _, e := range ends {
		if e.end == nil {
			continue
		}
		if s := calls(e.end); s != "" {
			b.WriteString(wrap("Calls per GB, "+e.name+": ", s))
		}
		if s := ring(e.end); s != "" {
			b.WriteString(wrap("Ring, "+e.name+": ", s))
		}
	}
	if r.RX != nil {
		if s := pieces(r.RX); s != "" {
			b.WriteString(wrap("Frags a recvmsg: ", s))
		}
	}
	if r.TX != nil {
		if n, ok := r.TX.Counters["tcp_retransmits"]; ok {
			fmt.Fprintf(b, "Retransmits: %.0f\n", n)
		}
	}
	if r.RX != nil {
		if n := r.RX.Counters["validated_bytes"]; n > 0 {
			fmt.Fprintf(b, "Validated: %s, every byte as sent\n", digits.Bytes(uint64(n)))
		}
	}
}

// pieces tells how a devmem receiver got its payload, nothing of others.
func pieces(e *results.End) string {
	c := e.Counters
	few, some, many := c["recvmsg_frags_below_512"], c["recvmsg_frags_512_to_1024"], c["recvmsg_frags_above_1024"]
	n := few + some + many
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("mean %.1f, min %.0f, max %.0f; below 512: %.0f %%, 512 to 1024: %.0f %%, above: %.0f %%; recycled in %.0f ranges",
		c["tokens"]/n, c["recvmsg_frags_min"], c["recvmsg_frags_max"], few/n*100, some/n*100, many/n*100, c["token_ranges"])
}

// clockText says how the ends' CPU time was found, and what ticks say of it.
func clockText(r *results.Record) string {
	var parts, ticks []string
	for _, e := range []struct {
		name string
		end  *results.End
	}{{"sender", r.TX}, {"receiver", r.RX}} {
		if e.end == nil || e.end.CPUMethod == "" {
			continue
		}
		text := printable.Clip(printable.Line(e.end.CPUMethod), 24)
		if e.end.CPUError != nil {
			text += fmt.Sprintf(" (known within %.1f %%)", *e.end.CPUError)
		}
		if !slices.Contains(parts, text) {
			parts = append(parts, text)
		}
		if e.end.CPUTicks != nil {
			ticks = append(ticks, fmt.Sprintf("%s %.1f %%", e.name, *e.end.CPUTicks))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	text := "; by the clock " + strings.Join(parts, " and ")
	if len(ticks) > 0 {
		text += "; the ticks of /proc/stat say " + strings.Join(ticks, ", ")
	}
	return text
}

// scopesText says what each end's CPU time was counted over.
func scopesText(r *results.Record) string {
	var parts []string
	if r.TX != nil && r.TX.CPUPercent != nil {
		parts = append(parts, "the sender's over "+analysis.CPUScope(r.TX.CPUScope))
	}
	if r.RX != nil && r.RX.CPUPercent != nil {
		parts = append(parts, "the receiver's over "+analysis.CPUScope(r.RX.CPUScope))
	}
	if len(parts) == 2 && r.TX.CPUScope == r.RX.CPUScope {
		return "each end's over " + analysis.CPUScope(r.TX.CPUScope)
	}
	return strings.Join(parts, ", ")
}

func roi(b *strings.Builder, name, unit string, v results.Return) {
	values := []struct {
		name  string
		value *float64
	}{{"sender", v.TX}, {"receiver", v.RX}, {"both", v.Total}}
	top := 0.0
	for _, p := range values {
		if p.value != nil {
			top = max(top, *p.value)
		}
	}
	var parts []string
	for _, p := range values {
		if p.value != nil {
			parts = append(parts, p.name+" "+digits.Fixed(*p.value, digits.Places(top)))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(b, "%s, %s: %s\n", name, unit, strings.Join(parts, ", "))
	}
}

// calls lists system calls by name over 10⁹ bytes.
func calls(e *results.End) string {
	if e.Bytes == 0 {
		return ""
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(e.Syscalls)) {
		if n := e.Syscalls[name]; n > 0 {
			parts = append(parts, printable.Line(name)+" "+perGB(n, e.Bytes))
		}
	}
	return strings.Join(parts, ", ")
}

// perGB is calls over 10⁹ bytes.
func perGB(calls, bytes uint64) string {
	v := float64(calls) / (float64(bytes) / 1e9)
	return digits.Fixed(v, digits.Places(v)-1)
}

func optional(v *float64, unit string) string {
	if v == nil {
		return "–"
	}
	return digits.Fixed(*v, 1) + unit
}

// shareOf is what of an end's payload no CPU copied.
func shareOf(r *results.Record, role string) string {
	f := analysis.Known(role + ".zero_copied_percent").Over([]*analysis.Run{{Record: r}})
	if f.N == 0 {
		return "–"
	}
	return f.Text(1) + " %"
}

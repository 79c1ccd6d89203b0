package reports

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"zcbench/internal/printable"
	"zcbench/results"
)

// Crossing writes what a capture of headers saw.
func Crossing(w io.Writer, c results.Crossing) error {
	var b strings.Builder
	crossing(&b, &c)
	_, err := io.WriteString(w, b.String())
	return err
}

func crossing(b *strings.Builder, c *results.Crossing) {
	fmt.Fprintf(b, "%s for %.2f s", printable.Line(c.Interface), c.Seconds)
	if c.Lost > 0 {
		fmt.Fprintf(b, "; %s came too fast to be looked at, these are a sample", printable.Count(c.Lost, "frame"))
	}
	b.WriteByte('\n')
	direction(b, "received", &c.Received)
	direction(b, "sent", &c.Sent)
}

func direction(b *strings.Builder, name string, d *results.Direction) {
	const most = 16 // flows
	fmt.Fprintf(b, "%s: %s with %d bytes of payload, %s\n", name, printable.Count(d.Frames, "TCP frame"), d.Bytes,
		printable.Count(d.Other, "other frame"))
	if d.Bytes > 0 {
		fmt.Fprintf(b, "  frame payload up to  %s\n", counts(d.Sizes))
		fmt.Fprintf(b, "  segment payload      %s%s\n", counts(d.Segments), pages(d.Segments))
		fmt.Fprintf(b, "  header bytes         %s\n", counts(d.Headers))
		fmt.Fprintf(b, "  TCP options          %s\n", counts(d.Options))
	}
	for _, f := range d.Flows[:min(most, len(d.Flows))] {
		fmt.Fprintf(b, "  %s: %d bytes, queue %s", printable.Line(f.Flow), f.Bytes, strings.ReplaceAll(counts(f.Queues), "-1", "unknown"))
		if len(f.Steered) > 0 && f.Elsewhere == 0 {
			b.WriteString("; as its flow rule wants")
		} else if len(f.Steered) > 0 {
			fmt.Fprintf(b, "; ! its flow rule wants %v, %s came elsewhere", f.Steered, printable.Count(f.Elsewhere, "frame"))
		}
		b.WriteByte('\n')
	}
	if n := len(d.Flows) - most; n > 0 {
		fmt.Fprintf(b, "  and %d more flows\n", n)
	}
}

// pages says whether most segments are whole pages.
func pages(segments map[int]uint64) string {
	whole, all := uint64(0), uint64(0)
	for size, n := range segments {
		all += n
		if size%4096 == 0 {
			whole += n
		}
	}
	if all == 0 || whole*2 < all {
		return "; ! most are not whole pages (an MTU of 4148 makes them so)"
	}
	return "; most are whole pages"
}

// counts prints the most frequent values, each with its share.
func counts[T int | string](c map[T]uint64) string {
	const most = 8
	total := uint64(0)
	for _, n := range c {
		total += n
	}
	values := slices.SortedFunc(maps.Keys(c), func(a, b T) int {
		return cmp.Or(cmp.Compare(c[b], c[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, v := range values[:min(most, len(values))] {
		parts = append(parts, fmt.Sprintf("%s (%.1f%%)", printable.Line(fmt.Sprint(v)), 100*float64(c[v])/float64(total)))
	}
	if len(values) > most {
		parts = append(parts, fmt.Sprintf("and %d more", len(values)-most))
	}
	return strings.Join(parts, " ")
}

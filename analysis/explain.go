package analysis

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/aclements/go-moremath/stats"

	"zcbench/internal/digits"
	"zcbench/internal/printable"
	"zcbench/results"
	"zcbench/results/caveat"
)

// cause is what a run was limited by.
type cause string

const (
	bySender       cause = "the sender's CPU"
	bySoftirq      cause = "the receiver's softirq"
	byApplication  cause = "the receiver's application"
	byReceiverCPU  cause = "the receiver's CPU"
	byBothCPUs     cause = "the CPUs of both ends"
	byReceiverWait cause = "the receiver, which does not take the payload though it has CPU left"
	byMemory       cause = "the receiver's buffers, which run out"
	byLoss         cause = "loss"
	byLink         cause = "the link"
	byNobody       cause = ""
)

// Where evidence begins. A CPU is full at busyFull: an interval timer's ticks
// miss some of it.
const (
	busyFull   = 95.0 // % of a CPU
	busySpare  = 85.0 // below this a CPU is no limit
	lossMuch   = 0.1  // % of segments sent again
	linkFull   = 97.0 // % of what the link can carry as payload
	copiedMuch = 1.0  // % of payload
	limitMost  = 50.0 // % of the time that TCP had something to send
	limitLeast = 10.0 // the same: below this, it was not held
	othersMuch = 10.0 // % of a CPU
)

// zeroCopyEngines are those that mean to copy nothing at their end.
var zeroCopyEngines = map[string][]string{"tx": {"sendfile", "msgzc", "devmem", "sendzc"}, "rx": {"mmap", "devmem", "zcrx"}}

// usage is how busy an end's busiest CPU was, in percent: at least and at
// most, as well as it is known. The kernel's accounts of short bursts do not
// always add up.
type usage struct {
	least, most float64
	softirq     float64 // of that CPU; NaN: not known
	others      float64 // of that CPU, at least, for other work than this end's; 0: not known
	text        string  // empty where nothing is known
}

func (u usage) full() bool  { return u.least >= busyFull }
func (u usage) spare() bool { return u.most < busySpare }

// diagnosis is what one record says of its limit.
type diagnosis struct {
	cause   cause
	why     string   // the figures that say so
	also    []string // what else cost throughput or CPU
	not     []string // what it was not, with the figure
	unknown []string // what the record cannot tell
}

// Explanation is what limited the runs of one cell, in words.
type Explanation struct {
	Verdict            string // a sentence
	Agreement          string // whether other runs say the same; empty where there are none
	Also, Not, Unknown []string
}

// Explain weighs the whole of what the runs of one cell recorded: it has the figures
// of the run next to the median, and whether the verdicts agree. The cell, or one run,
// is named as find takes it.
func (r *Report) Explain(name string) (*Explanation, error) {
	c, only, err := r.find(name)
	if err != nil {
		return nil, err
	}
	runs := c.Runs
	if only != nil {
		runs = []*Run{only}
	}
	if len(runs) == 0 {
		status, why := c.Unmeasured()
		return &Explanation{Verdict: fmt.Sprintf("%s: %s, so there is nothing to explain: %s.", c.label(), status,
			strings.TrimSuffix(why, "."))}, nil
	}
	const most = 20 // a long series says no more, and whole records are large
	shown := nearMedian(runs)
	others := runs[:min(most, len(runs))]
	if !slices.Contains(others, shown) {
		others = append([]*Run{shown}, others...)
	}
	var d diagnosis
	verdicts := map[cause]int{}
	for _, one := range others {
		whole, err := one.Full()
		if err != nil {
			return nil, err
		}
		verdict := diagnose(&whole)
		verdicts[verdict.cause]++
		if one == shown {
			d = verdict
		}
	}
	return &Explanation{c.verdict(shown, len(runs), d), agreement(verdicts, len(others)), d.also, d.not, d.unknown}, nil
}

// agreement says whether n runs have one verdict.
func agreement(verdicts map[cause]int, n int) string {
	switch {
	case n < 2:
		return ""
	case len(verdicts) == 1:
		return fmt.Sprintf("All %d runs looked at say the same.", n)
	}
	var parts []string
	for v, k := range verdicts {
		parts = append(parts, fmt.Sprintf("%d of %d: %s", k, n, cmp.Or(string(v), "undecided")))
	}
	slices.Sort(parts)
	return "The runs do not agree: " + strings.Join(parts, "; ") + "."
}

// verdict is what limited one of n runs of a cell, with its figures.
func (c *Cell) verdict(one *Run, n int, d diagnosis) string {
	text := c.label()
	if n > 1 {
		f := Known("gbps").Over(c.Runs)
		text += fmt.Sprintf(", %s Gbit/s on average of %s; the one next to the median (%s, %s Gbit/s)",
			f.Text(Places(f)), printable.Count(n, "run"), printable.Line(one.ID), digits.Fixed(one.Gbps, Places(f)))
	} else {
		text += fmt.Sprintf(", %s Gbit/s", digits.Fixed(one.Gbps, digits.Places(one.Gbps)))
	}
	if d.cause == byNobody {
		return text + ": what limited it cannot be told from its record. " + d.why + "."
	}
	return text + " was limited by " + string(d.cause) + ": " + d.why + "."
}

// nearMedian is the run whose throughput is next to the median's.
func nearMedian(runs []*Run) *Run {
	f := Known("gbps").Over(runs)
	return slices.MinFunc(runs, func(a, b *Run) int {
		return cmp.Compare(math.Abs(a.Gbps-f.Median), math.Abs(b.Gbps-f.Median))
	})
}

// evidence is what one record says of all that may limit a run.
type evidence struct {
	tx, rx         usage
	rwnd, sndbuf   float64 // shares of the time in which TCP was held; NaN: not known
	resent         float64 // percent of segments; NaN: not known
	resentText     string
	link           float64 // percent of what it can carry; NaN: not known
	linkText       string
	starved        float64 // how often a receiver had no buffer
	starvedText    string
	limitByResent  bool // resent is the cause that was found
	limitByStarved bool // so is starved
}

func evidenceOf(r *results.Record) *evidence {
	f := flatten(r)
	e := &evidence{
		tx: usageOf(r, f.settings, r.TX, "tx"), rx: usageOf(r, f.settings, r.RX, "rx"),
		rwnd: limited(r, "tcp_rwnd_limited_us"), sndbuf: limited(r, "tcp_sndbuf_limited_us"),
	}
	e.resent, e.resentText = loss(r)
	e.link, e.linkText = linkShare(r, f)
	e.starved, e.starvedText = starvation(r.RX)
	return e
}

// diagnose weighs what one record holds.
func diagnose(r *results.Record) diagnosis {
	var d diagnosis
	e := evidenceOf(r)
	d.otherWork(r, e)
	d.disturbances(r)
	one := []*Cell{{Runs: []*Run{{Record: r}}}}
	if slices.Contains(clocksOf(one, txEnd, rxEnd), byTicks) {
		d.unknown = append(d.unknown, "CPU time in short bursts: it was counted by the kernel's timer ticks, which can miss them")
	}
	if r.TX != nil && r.RX != nil && r.RX.CPUScope == "thread" {
		d.unknown = append(d.unknown, "softirq work by end: CPU was counted by thread, and both ends share the host")
	}
	d.decide(e)
	d.copies(r)
	d.heat(r)
	d.unsteady(r)
	if r.TX != nil && r.TX.Counters["window_full"] > 0 {
		d.also = append(d.also, fmt.Sprintf("waiting: %.0f times all of the sender's buffers were in flight", r.TX.Counters["window_full"]))
	}
	d.rest(e)
	return d
}

// otherWork tells of CPU time that went to something else than the run, and of
// what is not known of an end's.
func (d *diagnosis) otherWork(r *results.Record, e *evidence) {
	for _, side := range []struct {
		name string
		end  *results.End
		load usage
	}{{"sender", r.TX, e.tx}, {"receiver", r.RX, e.rx}} {
		if side.load.others >= othersMuch {
			d.also = append(d.also, fmt.Sprintf("other work: at least %.0f %% of the %s's busiest CPU went to something else than this run",
				side.load.others, side.name))
		}
		switch {
		case side.end == nil:
			d.unknown = append(d.unknown, "anything of the "+side.name+", a plain TCP peer")
		case !side.load.full() && !side.load.spare():
			d.unknown = append(d.unknown, "how busy each CPU of the "+side.name+" was")
		}
	}
}

// disturbances are those that the record warns of.
func (d *diagnosis) disturbances(r *results.Record) {
	for _, w := range []struct {
		code caveat.Code
		what string
	}{
		{caveat.CPUForeign, "other programs used CPUs that are counted here"}, {caveat.CPUSteal, "the hypervisor kept CPU time for others"},
		{caveat.CPUThrottled, "a cgroup's quota stopped it"}, {caveat.SMTSibling, "cores were shared with other work"},
	} {
		var ends []string
		for _, e := range []struct{ role, name string }{{"tx: ", "the sender"}, {"rx: ", "the receiver"}} {
			warned := func(text string) bool { return strings.HasPrefix(text, e.role) && caveat.CodeOf(text) == w.code }
			if slices.ContainsFunc(r.Warnings, warned) {
				ends = append(ends, e.name)
			}
		}
		if len(ends) > 0 {
			d.also = append(d.also, fmt.Sprintf("%s, at %s, so what was full may be so by them [%s]", w.what, strings.Join(ends, " and "),
				w.code))
		}
	}
}

// decide finds the cause: a full link or CPU first, then what the other end or TCP
// waited for.
func (d *diagnosis) decide(e *evidence) {
	tx, rx := e.tx, e.rx
	switch {
	case e.link >= linkFull:
		d.cause, d.why = byLink, e.linkText
	case rx.full() && tx.full() && e.rwnd >= limitMost:
		d.cause, d.why = byReceiverCPU, fmt.Sprintf(
			"%s, and though %s, TCP waited for the receiver's window for %.0f %% of the time it had something to send", rx.text, tx.text,
			e.rwnd)
	case rx.full() && tx.full() && e.rwnd <= limitLeast:
		d.cause, d.why = bySender, fmt.Sprintf(
			"%s, and though %s, TCP hardly waited for the receiver's window (%.0f %% of the time it had something to send)", tx.text,
			rx.text, e.rwnd)
	case rx.full() && tx.full():
		d.cause, d.why = byBothCPUs, rx.text+", "+tx.text
	case rx.full():
		d.cause, d.why = receiving(rx), rx.text
		if tx.text != "" {
			d.why += ", while " + tx.text
		}
		if e.rwnd >= limitMost {
			d.why += fmt.Sprintf("; TCP waited for the receiver's window for %.0f %% of the time it had something to send", e.rwnd)
		}
	case tx.full():
		d.cause, d.why = bySender, tx.text
		if rx.text != "" {
			d.why += ", while " + rx.text
		}
	case e.starved > 0 && (e.rwnd >= limitMost || math.IsNaN(e.rwnd)) && rx.spare():
		d.cause, d.why, e.limitByStarved = byMemory, e.starvedText+", and no CPU of the receiver was full", true
	case e.resent >= 10*lossMuch:
		d.cause, d.why, e.limitByResent = byLoss, e.resentText+", and no CPU was full", true
	case e.rwnd >= limitMost:
		d.cause, d.why = byReceiverWait, fmt.Sprintf("TCP waited for its window for %.0f %% of the time it had something to send; %s",
			e.rwnd, rx.text)
	default:
		d.why = e.nothingFull()
	}
}

// nothingFull is what can be said where no limit was found.
func (e *evidence) nothingFull() string {
	why := "No CPU was full"
	if !e.tx.spare() || !e.rx.spare() {
		why = "No CPU is known to have been full"
	}
	var parts, maybe []string
	for _, side := range []struct {
		name string
		load usage
	}{{"the sender's", e.tx}, {"the receiver's", e.rx}} {
		if side.load.text == "" {
			continue
		}
		parts = append(parts, side.load.text)
		if !side.load.spare() {
			maybe = append(maybe, side.name)
		}
	}
	if len(parts) > 0 {
		why += " (" + strings.Join(parts, ", ") + ")"
	}
	if len(maybe) > 0 {
		why += "; " + strings.Join(maybe, " and ") + " may have been. If not, waiting"
	} else {
		why += ", and nothing that was counted stands out: waiting"
	}
	why += " for each other, wake-ups and the socket buffers are what is left"
	if e.sndbuf >= limitMost {
		why += fmt.Sprintf("; TCP was held by the sender's buffer for %.0f %% of the time", e.sndbuf)
	}
	return why
}

// rest tells of the evidence that is not the cause: what else was seen, what it was
// not, and what is not known.
func (d *diagnosis) rest(e *evidence) {
	if e.starved > 0 && !e.limitByStarved {
		d.also = append(d.also, e.starvedText)
	}
	switch {
	case math.IsNaN(e.resent):
		d.unknown = append(d.unknown, "retransmits")
	case e.limitByResent:
	case e.resent >= lossMuch:
		d.also = append(d.also, e.resentText)
	default:
		d.not = append(d.not, "loss, with "+e.resentText)
	}
	switch {
	case e.link >= linkFull:
	case math.IsNaN(e.link):
		d.unknown = append(d.unknown, "what the link could carry ("+e.linkText+")")
	default:
		d.not = append(d.not, "the link, "+e.linkText)
	}
	if d.cause != bySender && d.cause != byBothCPUs && e.tx.spare() {
		d.not = append(d.not, "the sender's CPU")
	}
	if d.cause != byReceiverWait && e.rx.spare() {
		d.not = append(d.not, "the receiver's CPU")
	}
	if math.IsNaN(e.rwnd) {
		d.unknown = append(d.unknown, "for what TCP waited (no tcp_busy_us)")
	}
}

// receiving is which part of a full receiver it was.
func receiving(u usage) cause {
	switch share := u.softirq / u.most; {
	case math.IsNaN(share) || u.most-u.least > 5:
		return byReceiverCPU
	case share >= 0.6:
		return bySoftirq
	case share <= 0.4:
		return byApplication
	}
	return byReceiverCPU
}

// usageOf tells how busy an end was, by its CPUs where they were seen one by
// one, else by their sum, and by the time that its own threads ran.
func usageOf(r *results.Record, settings facts, e *results.End, role string) usage {
	u := usage{least: 0, most: 100, softirq: math.NaN()}
	if e == nil {
		return u
	}
	name := map[string]string{"tx": "the sender's", "rx": "the receiver's"}[role]
	switch {
	case len(e.CPUs) > 0 && e.CPUScope != "thread":
		best := slices.MaxFunc(e.CPUs, func(a, b results.CPUTime) int { return cmp.Compare(a.AtMost(), b.AtMost()) })
		u.least, u.most, u.softirq = best.AtLeast(), best.AtMost(), best.States["softirq"]+best.States["irq"]
		u.text = fmt.Sprintf("%s busiest CPU, %d, was busy for %s %% (%.1f %% in softirq)", name, best.CPU, fromTo(u.least, u.most),
			u.softirq)
	case e.CPUPercent != nil:
		n, what := 0, "CPU"
		switch e.CPUScope {
		case "cpuset":
			if v := settings.value(role + "_cpus"); v != "" && v != "[]" && v != "null" {
				n = strings.Count(v, ",") + 1
			}
		case "thread":
			n, _ = strconv.Atoi(settings.value("flows"))
			what = "thread"
		}
		// All of it may have been on one of them.
		u.most = min(100, *e.CPUPercent)
		switch {
		case n == 1:
			u.least = u.most
			u.text = fmt.Sprintf("%s %s was busy for %.1f %%", name, what, *e.CPUPercent)
		case n > 1:
			u.least = min(100, *e.CPUPercent/float64(n))
			u.text = fmt.Sprintf("%s %d %ss were busy for %.1f %% on average", name, n, what, *e.CPUPercent/float64(n))
		default:
			u.text = fmt.Sprintf("all %s CPUs together were busy for %.1f %%", name, *e.CPUPercent)
		}
	}
	// An only worker that runs all the time is full whatever its CPU's ticks say.
	user, ok := e.Counters["rusage_user_seconds"]
	seconds := r.WindowOf(role)
	ran := 100 * (user + e.Counters["rusage_system_seconds"]) / seconds
	if !ok || seconds <= 0 || settings.value("flows") != "1" || e.CPUScope == "thread" {
		return u
	}
	if len(e.CPUs) > 0 && (e.CPUMethod == "" || e.CPUMethod == byTicks) {
		// Threads may have run for part of the softirq's time too: at least. By
		// another clock than the softirq's, which is ticks, it would be no bound.
		u.others = u.least - u.softirq - ran
	}
	if ran > u.least {
		u.least, u.most = min(100, ran), max(u.most, min(100, ran))
		if u.text != "" {
			u.text += ", "
		}
		u.text += fmt.Sprintf("%s own threads ran for %.1f %%", name, ran)
	}
	return u
}

func fromTo(a, b float64) string {
	if b-a < 1 {
		return fmt.Sprintf("%.1f", a)
	}
	return fmt.Sprintf("%.0f to %.0f", a, b)
}

// limited is the share of the time in which TCP had something to send that
// it was held for a reason, by TCP_INFO's counters; NaN: not known.
func limited(r *results.Record, counter string) float64 {
	if r.TX == nil {
		return math.NaN()
	}
	total := r.TX.Counters["tcp_busy_us"]
	if total <= 0 {
		return math.NaN()
	}
	return 100 * r.TX.Counters[counter] / total // a record leaves zero out
}

// loss is the share of segments sent again, in percent.
func loss(r *results.Record) (float64, string) {
	if r.TX == nil {
		return math.NaN(), ""
	}
	again, ok := r.TX.Counters["tcp_retransmits"]
	all := r.TX.Counters["tcp_segments_out"]
	if !ok || all <= 0 {
		return math.NaN(), ""
	}
	p := 100 * again / all
	return p, fmt.Sprintf("%.0f of %.0f segments sent again (%.2g %%)", again, all, p)
}

// linkShare is the share of what the link carries as payload, in percent; NaN
// where its speed is not real or not known, and why.
func linkShare(r *results.Record, all flat) (float64, string) {
	speed := 0.0
	for _, f := range []facts{all.tx, all.rx} {
		switch f.value("nic.kind") {
		case "device":
		case "":
			return math.NaN(), "an end's interface is not known"
		default:
			return math.NaN(), "its interfaces are not both real devices"
		}
		v, err := strconv.ParseFloat(f.value("nic.speed_mbps"), 64)
		if err != nil || v <= 0 {
			return math.NaN(), "its speed is not recorded"
		}
		if speed == 0 || v < speed {
			speed = v
		}
	}
	mtu, err := strconv.ParseFloat(all.tx.value("nic.mtu"), 64)
	if err != nil || mtu < 100 {
		return math.NaN(), "its MTU is not recorded"
	}
	// IPv4 and TCP with time stamps take 52 bytes of each frame, Ethernet with
	// preamble, checksum and gap 38 around it.
	most := speed / 1000 * (mtu - 52) / (mtu + 38)
	share := 100 * r.Gbps / most
	if share > 102 {
		return math.NaN(), fmt.Sprintf("more went over it than the %g Gbit/s that its driver claims", speed/1000)
	}
	return share, fmt.Sprintf("%.0f %% of the %.1f Gbit/s of payload that %g Gbit/s carry at MTU %.0f", share, most, speed/1000, mtu)
}

// starvation sums what a receiver counts when it has no buffer for what
// comes.
func starvation(e *results.End) (float64, string) {
	if e == nil {
		return 0, ""
	}
	total := 0.0
	var parts []string
	for _, c := range []struct{ name, what string }{
		{"pool_empty", "times the NIC found no free buffer in the page pool"},
		{"qstat_rx_alloc_fail", "times the NIC's queue got no buffer"},
		{"area_empty_events", "times the kernel told that the NIC found zcrx's area empty"},
		{"refill_stalls", "times the refill ring was full"},
		{"cq_overflows", "times the completion queue overflowed"},
		{"softnet_dropped", "packets dropped for a full softirq backlog"},
		{"link_rx_fifo", "packets the NIC dropped for a full ring"},
	} {
		if v := e.Counters[c.name]; v > 0 {
			total += v
			parts = append(parts, fmt.Sprintf("%.0f %s", v, c.what))
		}
	}
	return total, strings.Join(parts, ", ")
}

// copies tells where a zero-copy engine copied all the same.
func (d *diagnosis) copies(r *results.Record) {
	for _, e := range []struct {
		role, name string
		end        *results.End
	}{{"tx", "sender", r.TX}, {"rx", "receiver", r.RX}} {
		if e.end == nil || e.end.Bytes == 0 || !slices.Contains(zeroCopyEngines[e.role], e.end.Engine) {
			continue
		}
		// Records of older versions have it among their counters alone.
		unknown := max(uint64(e.end.Counters["copy_unknown_bytes"]), e.end.UnknownBytes)
		copied := 100 * float64(e.end.CopiedBytes-min(unknown, e.end.CopiedBytes)) / float64(e.end.Bytes)
		if unknown > 0 {
			d.unknown = append(d.unknown, fmt.Sprintf("how much of %s that %s moved at the %s the kernel copied", digits.Bytes(unknown),
				printable.Line(e.end.Engine), e.name))
			if copied < copiedMuch {
				continue
			}
		}
		if copied >= copiedMuch {
			d.also = append(d.also, fmt.Sprintf("copying: a CPU copied %.1f %% of the payload at the %s, though %s means to copy nothing",
				copied, e.name, printable.Line(e.end.Engine)))
		} else {
			d.not = append(d.not, fmt.Sprintf("copying at the %s (%s %% of the payload)", e.name, digits.Percent(copied)))
		}
	}
}

// heat tells of CPUs that were slowed down because they were too hot.
func (d *diagnosis) heat(r *results.Record) {
	for _, e := range []struct {
		name string
		end  *results.End
	}{{"sender", r.TX}, {"receiver", r.RX}} {
		if e.end == nil {
			continue
		}
		if n := e.end.Counters["core_throttles"] + e.end.Counters["package_throttles"]; n > 0 {
			d.also = append(d.also, fmt.Sprintf("heat: the %s's CPUs were slowed down %.0f times", e.name, n))
		}
	}
}

// unsteady tells of a run whose mean is typical of few of its intervals.
func (d *diagnosis) unsteady(r *results.Record) {
	const few, much = 5, 0.3
	var speeds []float64
	for _, one := range r.Samples {
		if one.End == "rx" || r.RX == nil {
			speeds = append(speeds, one.Gbps)
		}
	}
	if len(speeds) < few {
		return
	}
	low, high := slices.Min(speeds), slices.Max(speeds)
	if mean := stats.Mean(speeds); high-low > much*mean {
		f := digits.Places(high)
		d.also = append(d.also, fmt.Sprintf("throughput was not steady: %s to %s Gbit/s in %d intervals", digits.Fixed(low, f),
			digits.Fixed(high, f), len(speeds)))
	}
}

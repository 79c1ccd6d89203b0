// Package caveat is what the reader of a record is warned of: a code for each kind, and
// the words around it.
package caveat

import (
	"fmt"
	"strings"
)

// Code names a kind of warning, so that scripts and reports need not know its
// words: "window-short". A code that was once published keeps its meaning.
type Code string

// Codes of warnings. Each holds for the end that the text names. The first
// paragraph of its comment is what it says, the second what to do about it.
const (
	// WindowShort: the window that was measured is shorter than was asked.
	//
	// Compare nothing with this run: repeat it, with a longer --time where the
	// stream ended early, and look for what stopped an end (a debugger, a
	// suspended VM, a full CPU) where one did.
	WindowShort Code = "window-short"
	// WindowLong: the window that was measured is longer than was asked, for an
	// end closed it late.
	//
	// Compare nothing with this run: repeat it, and look for what stopped that end
	// (a debugger, a suspended VM, a full CPU).
	WindowLong Code = "window-long"
	// WindowsApart: the two ends did not measure at the same time.
	//
	// Repeat the run. Where it happens again, one end gets no CPU when it should:
	// give it CPUs of its own (--affinity) or stop what else runs there.
	WindowsApart Code = "windows-apart"
	// WindowsDisjoint: the two ends' windows have less than nine tenths in common, so
	// that the receiver's throughput and what the sender spent are of different times:
	// the record has no sums over both ends, and no ROI but the receiver's.
	//
	// Repeat the run; windows-apart and what is told of the ends say why.
	WindowsDisjoint Code = "windows-disjoint"
	// SamplerLate: an end's process did not run for a while within the window,
	// or took a sample late.
	//
	// Repeat the run on a host with a CPU to spare. In a VM, look whether its own
	// host is full (steal).
	SamplerLate Code = "sampler-late"
	// SamplesMerged: the samples are of longer intervals than were asked for, so
	// that all of a long window has room in the record; it is a note.
	//
	// Nothing: sums, means and highest values hold. For finer samples take a longer
	// --interval, fewer --counters or a shorter --time.
	SamplesMerged Code = "samples-merged"
	// FlowStalled: nothing crossed a connection for half a second or more.
	//
	// Look at the retransmits and round trips in `flows`, at the link (`ip -s
	// link`) and at drops. With many flows on a slow link a longer --time and
	// fewer flows help.
	FlowStalled Code = "flow-stalled"
	// PayloadWaited: for half a second or more a receiver's engine took nothing of
	// what had arrived.
	//
	// Give the receiver's workers CPU of their own (--affinity), or look for what
	// held them up; of zcrx and devmem, give more memory (--mem).
	PayloadWaited Code = "payload-waited"
	// BytesCoarse: bytes count only when a whole call was done, for the kernel
	// does not tell what crossed.
	//
	// Take a longer --time, so that the edges of the window matter less, or a
	// smaller --length; the text says by how many bytes throughput may be off.
	BytesCoarse Code = "bytes-coarse"
	// BytesDiffer: the ends moved different amounts in one window.
	//
	// Take a longer --time and a warm-up (--omit). Where it stays, trust
	// throughput to the share in the text only.
	BytesDiffer Code = "bytes-differ"
	// CutOff: data was in flight long after the window and was given up.
	//
	// Use fewer flows, a smaller --window or a slower sender, so that what is
	// queued leaves in time; the figures of the window itself hold.
	CutOff Code = "cut-off"
	// CopiesUnknown: of some payload nobody can tell whether a CPU copied it.
	//
	// Do as the text says (it names what hides the copies) before you claim zero
	// copy; the bytes stand as copied until then.
	CopiesUnknown Code = "copies-unknown"
	// Copied: an engine that means to avoid copies had its payload copied.
	//
	// Remove what the text names (a capture, an interface without scatter-gather,
	// header split or steering that misses), or compare this engine as one that
	// copies.
	Copied Code = "copied"
	// CopiesUnreported: the kernel copied payload that it reports as not copied.
	//
	// Turn scatter-gather and checksum offload of the sender's interface on
	// (`ethtool -K IFACE sg on tx on`), or send by another one.
	CopiesUnreported Code = "copies-unreported"
	// SettingNotTaken: the kernel, the NIC or the engine had another value than
	// was asked for.
	//
	// Do as the text says to get the value, or ask for the one that was used; the
	// record has what took effect.
	SettingNotTaken Code = "setting-not-taken"
	// SettingChanged: somebody else changed a setting that the run had made, and
	// it was left so.
	//
	// Look who did (a network manager, another zcbench); what the run had asked
	// for may not have held to its end: repeat it. Set the value by hand if it is
	// not what you want.
	SettingChanged Code = "setting-changed"
	// CongestionDiffers: the ends used two congestion controls, and none was
	// asked for.
	//
	// Give --congestion: the sender then has it, and so does the receiver where
	// both ends have a token or run on one machine.
	CongestionDiffers Code = "congestion-differs"
	// PacingLimited: TCP let the sender's connections go little faster than
	// they went.
	//
	// Where engines are to be compared, give --congestion reno (or cubic), or
	// remove the limit that the text names; where the link is that slow, nothing
	// is wrong with the run.
	PacingLimited Code = "pacing-limited"
	// BuffersHeld: the engine kept socket buffers small, for want of memory of
	// its own.
	//
	// Give the engine more memory (--mem udmabuf:SIZE) or raise net.core.rmem_max,
	// as the text says.
	BuffersHeld Code = "buffers-held"
	// ClocksDiffer: two clocks of CPU time do not agree.
	//
	// Take no conclusion that the difference in the text could turn around.
	// Calibrate anew on a quiet host, or run as root, who may read better clocks.
	ClocksDiffer Code = "clocks-differ"
	// ClockBlind: the clock of CPU time misses a kind of work.
	//
	// Run as root, or give the program CAP_BPF and CAP_PERFMON (`setcap
	// cap_bpf,cap_perfmon+ep bin/zcbench`).
	ClockBlind Code = "clock-blind"
	// ClockCoarse: no clock of CPU time is right for short bursts.
	//
	// Take `cpu_error_percent` as the error of CPU and ROI. A kernel with
	// CONFIG_IRQ_TIME_ACCOUNTING or CONFIG_VIRT_CPU_ACCOUNTING_GEN, or root, has
	// better clocks.
	ClockCoarse Code = "clock-coarse"
	// ClockUncalibrated: which clock of CPU time is right could not be found out.
	//
	// Begin on a quiet host: the first run later than in a minute tries again.
	ClockUncalibrated Code = "clock-uncalibrated"

	// PowerCoarse: a meter's steps are large beside what it shows.
	//
	// Measure for longer (--time), or give a meter with finer steps.
	PowerCoarse Code = "power-coarse"
	// PowerSlow: a meter has few values in the window.
	//
	// Measure for longer (--time), or have the meter asked more often
	// (?interval=).
	PowerSlow Code = "power-slow"
	// PowerGap: for some of the window there is no reading.
	//
	// Repeat the run; where it happens again, look at the network to the meter and
	// at what else asks it.
	PowerGap Code = "power-gap"
	// PowerBlind: a meter does not see the load.
	//
	// Give a meter that sees the whole host, or wait longer between the baseline
	// and the run.
	PowerBlind Code = "power-blind"
	// PowerLate: a meter's values seem to be of another time than they say.
	//
	// Tell the meter's delay in its name, KIND+3s:ADDRESS, or measure for longer.
	PowerLate Code = "power-late"
	// PowerLost: some readings failed, or cannot be.
	//
	// Look at the meter and the network to it; the watts are those of the readings
	// that are left.
	PowerLost Code = "power-lost"
	// PowerWrap: an energy counter started anew or may have wrapped unseen.
	//
	// Have the meter read more often (?interval=), or keep other programs from
	// resetting it.
	PowerWrap Code = "power-wrap"
	// PowerCost: reading a meter takes CPU time that matters.
	//
	// Read the meter less often (?interval=), or from another host
	// (KIND:ADDRESS@HOST).
	PowerCost Code = "power-cost"
	// PowerMissing: a meter gave no figure.
	//
	// The text says why; `zcbench power read --meter KIND:ADDRESS` tries it
	// without a run.
	PowerMissing Code = "power-missing"
	// PowerClock: how far apart the clocks of a meter's host and ours are is not
	// known well enough.
	//
	// Synchronise the clocks of both hosts (NTP, PTP), or measure for longer.
	PowerClock Code = "power-clock"
	// PowerShared: a meter sees more than the end that it was given for.
	//
	// Give a meter of a single end, or take the total alone.
	PowerShared Code = "power-shared"
	// PowerTwice: two meters see the same, which counts once.
	//
	// Nothing, if the one that counts is the one you meant; else leave the other
	// one out of --meter.
	PowerTwice Code = "power-twice"
	// PowerSum: watts are summed of meters that may see the same.
	//
	// Leave one out if they see the same; if they do not, the sum is right.
	PowerSum Code = "power-sum"
	// HostUnknown: nobody can tell whether both ends run on one host, and so
	// whether the CPU time of both is the same.
	//
	// Run zcbench outside of what hides /proc on the end that the text names, or
	// pin both ends to CPUs of their own (--affinity on each).
	HostUnknown Code = "host-unknown"
	// CPUShared: both ends ran on the same CPUs, and only their threads can be
	// told apart.
	//
	// Pin the ends to CPUs of their own (--affinity; `zcbench local` does with two
	// CPUs or more). Else compare with runs that have this warning only.
	CPUShared Code = "cpu-shared"
	// CPUForeign: programs that are not of the run used the CPUs whose time is
	// the end's cpu_percent.
	//
	// Stop the programs that the text names, or move the run to other CPUs
	// (--affinity); CPU and ROI are of both.
	CPUForeign Code = "cpu-foreign"
	// CPUSteal: a hypervisor took time of those CPUs, which is in cpu_percent.
	//
	// Run where the hypervisor gives this VM CPUs of its own; the stolen time is
	// no work of the run.
	CPUSteal Code = "cpu-steal"
	// CPUThrottled: a cgroup's quota stopped the end.
	//
	// Raise the quota of the cgroup that the text names (cpu.max, or the
	// container's CPU limit), or use less CPU: these figures are the quota's.
	CPUThrottled Code = "cpu-throttled"
	// SoftirqElsewhere: CPUs that no end counts spent time in softirq.
	//
	// Count those CPUs to an end (--affinity and --softirq-cpus name them), or
	// steer the NIC's interrupts to the CPUs of the run.
	SoftirqElsewhere Code = "softirq-elsewhere"
	// NAPIThread: threads that handle packets ran where they are not this end's alone.
	//
	// Keep each NAPI thread on CPUs of its own end: `taskset -pc CPUS PID`, with the
	// numbers that `zcbench tune show` lists; in a container, look from the host.
	NAPIThread Code = "napi-thread"
	// HalfRecord: the record is of one end alone, whose peer has that of both; it is a note.
	//
	// Take the other end's record for comparisons.
	HalfRecord Code = "half-record"
	// VethSoftirq: the receiver's softirq is in the sender's CPU time; it is a note.
	//
	// Compare both ends' total with one another, or give --softirq-cpus, which
	// moves the receiver's softirq to CPUs of its own.
	VethSoftirq Code = "veth-softirq"
	// NUMAFar: workers run on another NUMA node than the NIC.
	//
	// Run the workers on the CPUs that the text names (--affinity).
	NUMAFar Code = "numa-far"
	// IOMMUTranslates: the NIC's memory accesses go through an IOMMU, and zero
	// copy was measured.
	//
	// Note it beside the figures, and compare with a boot with iommu.passthrough=1
	// if what it costs matters.
	IOMMUTranslates Code = "iommu-translates"
	// SMTSibling: a CPU that shares a core with a worker's was busy.
	//
	// Leave the sibling idle: choose other CPUs (--affinity), stop what runs
	// there, or turn SMT off.
	SMTSibling Code = "smt-sibling"
	// HostsDiffer: the two hosts run their CPUs by different rules.
	//
	// Make the governor, turbo and mitigations of both hosts alike, or compare
	// ends only with the same end of other runs.
	HostsDiffer Code = "hosts-differ"
	// HostChanged: a host, or its settings, are not what they were in an earlier
	// run that this one is compared with, or were changed during the run.
	//
	// Find out who changed it, put it back, and repeat the runs from before or
	// after; do not compare across the change.
	HostChanged Code = "host-changed"
	// CPUHot: CPUs were slowed down because of heat.
	//
	// Let it cool, repeat with a longer cooldown between runs, or set a fixed
	// frequency below the limit.
	CPUHot Code = "cpu-hot"
	// ProcMasked: /proc/stat is shown by something that is not the kernel.
	//
	// Run outside of the container, or with the kernel's own /proc mounted.
	ProcMasked Code = "proc-masked"
	// PlainPeer: one end is a TCP program that is not zcbench, and what it moved
	// and spent is not known; it is a note.
	//
	// Take throughput and the figures of the end that is there; for both ends run
	// zcbench at each, without --raw.
	PlainPeer Code = "plain-peer"
	// NullEngine: the null engine moves no payload, and the CPU figures are
	// zcbench's own; it is a note.
	//
	// Compare it with other runs' CPU to see what zcbench itself costs; it has no
	// throughput.
	NullEngine Code = "null-engine"
	// PayloadDropped: the receive engine drops the payload, and no program gets
	// it; it is a note.
	//
	// Take it as the bound of what avoiding copies could bring, not as a way to
	// receive.
	PayloadDropped Code = "payload-dropped"
	// ClocksUnsure: how far apart the ends' clocks are is known to more than 1% of
	// the window only, and so is when each measured.
	//
	// Measure for longer (--time), or control the run over a network that is not
	// busy with it.
	ClocksUnsure Code = "clocks-unsure"
	// CountersMissing: some counters are not in the record, because this host
	// lacks them or reading them failed; it is a note where --counters all asked
	// for them.
	//
	// `zcbench probe` says of each what it would take; `missing` in the record's
	// facts says what went wrong.
	CountersMissing Code = "counters-missing"
	// CountersReset: a counter ran backwards in the window, since something reset
	// it, and is left out.
	//
	// Repeat the run, and keep a driver's reset or another program from clearing
	// the counters meanwhile.
	CountersReset Code = "counters-reset"
	// CountersShared: the hardware's counters were shared with other programs, and
	// values are extrapolated.
	//
	// End other users of the PMU (perf, `sysctl kernel.nmi_watchdog=0`), or ask
	// for fewer with --counters.
	CountersShared Code = "counters-shared"
	// RecordingCost: a profile or a trace of system calls was taken, and the
	// figures include its cost; it is a note.
	//
	// Compare with other runs only those that have it; leave --profile and
	// --syscalls out of comparisons.
	RecordingCost Code = "recording-cost"
	// RecordingGaps: a profile or a trace has gaps: samples, records or names are
	// missing.
	//
	// Take a shorter --time or fewer flows, raise
	// kernel.perf_cpu_time_max_percent, or run as root to see the kernel's names,
	// as the text says.
	RecordingGaps Code = "recording-gaps"
	// VerifyMissing: --verify saw nothing, or less than it is for.
	//
	// Give a warm-up (--omit 1 or more) and the interface that the payload really
	// takes; what is sent from a dma-buf no capture can see.
	VerifyMissing Code = "verify-missing"
	// WrongQueue: payload came by another queue than the one that its flow was led
	// to.
	//
	// Look at the NIC's flow rules and RSS (`ethtool -n IFACE`, `ethtool -x
	// IFACE`); `zcbench tune verify -i IFACE` shows where each flow arrives.
	WrongQueue Code = "wrong-queue"
	// WrongInterface: the payload went by another interface than the one whose
	// counters, settings and facts the record has.
	//
	// Leave --iface out, or name the interface that the warning names.
	WrongInterface Code = "wrong-interface"
	// BuffersEmpty: the NIC found no free buffer for some packets and dropped
	// them.
	//
	// Give the engine more memory (--mem SIZE; of zcrx, --rx-opt mem-size=SIZE,
	// or grow=SIZE to find out how much), or smaller bursts (--window).
	BuffersEmpty Code = "buffers-empty"
	// HookFailed: the experiment's after-run hook failed; the run itself had
	// ended.
	//
	// Look at what the hook was to put back, and whether later runs found it so.
	HookFailed Code = "hook-failed"
)

// Warn makes a warning: words for people, with the code behind them as
// compilers have it, "rx: nothing moved for 1.2 s [flow-stalled]".
func Warn(code Code, format string, args ...any) string {
	return fmt.Sprintf(format, args...) + " [" + string(code) + "]"
}

// CodeOf is the code of a warning, "" where it has none.
func CodeOf(warning string) Code {
	rest, ok := strings.CutSuffix(warning, "]")
	if !ok {
		return ""
	}
	i := strings.LastIndex(rest, " [")
	if i < 0 || strings.Trim(rest[i+2:], "abcdefghijklmnopqrstuvwxyz-") != "" {
		return ""
	}
	return Code(rest[i+2:])
}

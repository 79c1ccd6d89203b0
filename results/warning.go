package results

import (
	"fmt"
	"strings"
)

// Code names a kind of warning, so that scripts and reports need not know its
// words: "window-short". A code that was once published keeps its meaning.
type Code string

// Codes of warnings. Each holds for the end that the text names.
const (
	// WindowShort: the window that was measured is not as long as was asked.
	WindowShort Code = "window-short"
	// WindowsApart: the two ends did not measure at the same time.
	WindowsApart Code = "windows-apart"
	// SamplerLate: an end's process did not run for a while within the window,
	// or took a sample late.
	SamplerLate Code = "sampler-late"
	// FlowStalled: nothing crossed a connection for half a second or more.
	FlowStalled Code = "flow-stalled"
	// PayloadWaited: for half a second or more a receiver's engine took nothing of
	// what had arrived.
	PayloadWaited Code = "payload-waited"
	// BytesCoarse: bytes count only when a whole call was done, for the kernel
	// does not tell what crossed.
	BytesCoarse Code = "bytes-coarse"
	// BytesDiffer: the ends moved different amounts in one window.
	BytesDiffer Code = "bytes-differ"
	// CutOff: data was in flight long after the window and was given up.
	CutOff Code = "cut-off"
	// CopiesUnknown: of some payload nobody can tell whether a CPU copied it.
	CopiesUnknown Code = "copies-unknown"
	// Copied: an engine that means to avoid copies had its payload copied.
	Copied Code = "copied"
	// CopiesUnreported: the kernel copied payload that it reports as not copied.
	CopiesUnreported Code = "copies-unreported"
	// SettingNotTaken: the kernel, the NIC or the engine had another value than
	// was asked for.
	SettingNotTaken Code = "setting-not-taken"
	// CongestionDiffers: the ends used two congestion controls, and none was
	// asked for.
	CongestionDiffers Code = "congestion-differs"
	// PacingLimited: TCP let the sender's connections go little faster than
	// they went.
	PacingLimited Code = "pacing-limited"
	// BuffersHeld: the engine kept socket buffers small, for want of memory of
	// its own.
	BuffersHeld Code = "buffers-held"
	// ClocksDiffer: two clocks of CPU time do not agree.
	ClocksDiffer Code = "clocks-differ"
	// ClockBlind: the clock of CPU time misses a kind of work.
	ClockBlind Code = "clock-blind"
	// ClockCoarse: no clock of CPU time is right for short bursts.
	ClockCoarse Code = "clock-coarse"
	// ClockUncalibrated: which clock of CPU time is right could not be found out.
	ClockUncalibrated Code = "clock-uncalibrated"

	// PowerCoarse: a meter's steps are large beside what it shows.
	PowerCoarse Code = "power-coarse"
	// PowerSlow: a meter has few values in the window.
	PowerSlow Code = "power-slow"
	// PowerGap: for some of the window there is no reading.
	PowerGap Code = "power-gap"
	// PowerBlind: a meter does not see the load.
	PowerBlind Code = "power-blind"
	// PowerLate: a meter's values seem to be of another time than they say.
	PowerLate Code = "power-late"
	// PowerLost: some readings failed, or cannot be.
	PowerLost Code = "power-lost"
	// PowerWrap: an energy counter started anew or may have wrapped unseen.
	PowerWrap Code = "power-wrap"
	// PowerCost: reading a meter takes CPU time that matters.
	PowerCost Code = "power-cost"
	// PowerMissing: a meter gave no figure.
	PowerMissing Code = "power-missing"
	// PowerClock: how far apart the clocks of a meter's host and ours are is not
	// known well enough.
	PowerClock Code = "power-clock"
	// PowerShared: a meter sees more than the end that it was given for.
	PowerShared Code = "power-shared"
	// PowerTwice: two meters see the same, which counts once.
	PowerTwice Code = "power-twice"
	// PowerSum: watts are summed of meters that may see the same.
	PowerSum Code = "power-sum"
	// HostUnknown: nobody can tell whether both ends run on one host, and so
	// whether the CPU time of both is the same.
	HostUnknown Code = "host-unknown"
	// CPUShared: both ends ran on the same CPUs, and only their threads can be
	// told apart.
	CPUShared Code = "cpu-shared"
	// CPUForeign: programs that are not of the run used the CPUs whose time is
	// the end's cpu_percent.
	CPUForeign Code = "cpu-foreign"
	// CPUSteal: a hypervisor took time of those CPUs, which is in cpu_percent.
	CPUSteal Code = "cpu-steal"
	// CPUThrottled: a cgroup's quota stopped the end.
	CPUThrottled Code = "cpu-throttled"
	// SoftirqElsewhere: CPUs that no end counts spent time in softirq.
	SoftirqElsewhere Code = "softirq-elsewhere"
	// HalfRecord: the record is of one end alone, whose peer has that of both; it is a note.
	HalfRecord Code = "half-record"
	// VethSoftirq: the receiver's softirq is in the sender's CPU time; it is a note.
	VethSoftirq Code = "veth-softirq"
	// NUMAFar: workers run on another NUMA node than the NIC.
	NUMAFar Code = "numa-far"
	// IOMMUTranslates: the NIC's memory accesses go through an IOMMU, and zero
	// copy was measured.
	IOMMUTranslates Code = "iommu-translates"
	// SMTSibling: a CPU that shares a core with a worker's was busy.
	SMTSibling Code = "smt-sibling"
	// HostsDiffer: the two hosts run their CPUs by different rules.
	HostsDiffer Code = "hosts-differ"
	// HostChanged: a host, or its settings, are not what they were in an earlier
	// run that this one is compared with.
	HostChanged Code = "host-changed"
	// CPUHot: CPUs were slowed down because of heat.
	CPUHot Code = "cpu-hot"
	// ProcMasked: /proc/stat is shown by something that is not the kernel.
	ProcMasked Code = "proc-masked"
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

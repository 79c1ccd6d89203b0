package wire

import (
	"time"

	"zcbench/endpoint"
)

// HandshakeWait is for all of a handshake.
const HandshakeWait = 5 * time.Second

// OwedWait is for a word of an end that is heard of and is not busy. It is longer
// than an end may be silent, and than a run ends late by (SamplerWait).
const OwedWait = 6 * time.Second

// EndedWait is for a link whose other end has just died.
const EndedWait = 200 * time.Millisecond

// PrepareWait covers opening engines (huge pages, rings).
const PrepareWait = 20 * time.Second

// slowMemory is how many bytes a second an end takes and fills at least, beyond that:
// a hypervisor may have to find them first.
const slowMemory = 128 << 20

// Opening is how long an agent may take to open the engine and its workers.
func (p *Prepare) Opening() time.Duration {
	return PrepareWait + time.Duration(endpoint.Bytes(p.Flows, max(p.Length, p.Pattern.Period))/slowMemory)*time.Second
}

// RestoreWait covers putting settings back before the result is sent: a NIC may
// take its link down for it, and io_uring lets go of queues late.
const RestoreWait = 20 * time.Second

// Preparing is how long an agent may take for it, which says that it is busy.
func (p *Prepare) Preparing() time.Duration {
	wait := 2*PrepareWait + p.Opening()
	if p.Role == endpoint.TX {
		wait += ConnectTime(p.Flows)
	}
	return wait
}

// EndingWait covers what an end does after the window: it may be late, wait for what
// is in flight, and put back.
const EndingWait = SamplerWait + Tail + 3*DrainWait + RestoreWait

// How long an end waits: for the other end's connections, for a peer to take
// what is in flight after the window, and how long traffic goes on past the
// window so that both ends close theirs under load.
const (
	ConnectWait = 5 * time.Second
	DrainWait   = 2 * time.Second
	Tail        = 100 * time.Millisecond
)

// SamplerWait is how long after the window the sampler may be late, beyond all that
// a busy host does.
const SamplerWait = 4 * time.Second

// SurveyWait covers putting back what a killed run left, and probes of every
// engine.
const SurveyWait = 60 * time.Second

// tellWait is for the slowest meter.
const tellWait = 40 * time.Second

// Opening is how long an agent may take to open these meters, and some of its own.
func (w *Watch) Opening(own int) time.Duration {
	return time.Duration(1+len(w.Specs)+own) * PrepareWait
}

// Telling is how long it may take to say what so many said.
func Telling(meters int) time.Duration { return time.Duration(1+meters) * tellWait }

// AtOnce is the most connections that are made side by side.
const AtOnce = 64

// ConnectTime is what a sender may take to make its connections.
func ConnectTime(flows int) time.Duration {
	return time.Duration((flows+AtOnce-1)/AtOnce) * ConnectWait
}

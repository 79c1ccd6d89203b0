package endpoint

import (
	"time"
)

// handshakeWait is for all of a handshake.
const handshakeWait = 5 * time.Second

// owedWait is for a word of an end that is heard of and is not busy. It is longer
// than an end may be silent, and than a run ends late by (samplerWait).
const owedWait = 6 * time.Second

// endedWait is for a link whose other end has just died.
const endedWait = 200 * time.Millisecond

// prepareWait covers opening engines (huge pages, rings).
const prepareWait = 20 * time.Second

// slowMemory is how many bytes a second an end takes and fills at least, beyond that:
// a hypervisor may have to find them first.
const slowMemory = 128 << 20

// opening is how long an agent may take to open the engine and its workers.
func (p *Prepare) opening() time.Duration {
	return prepareWait + time.Duration(Bytes(p.Flows, max(p.Length, p.Pattern.Period))/slowMemory)*time.Second
}

// restoreWait covers putting settings back before the result is sent: a NIC may
// take its link down for it, and io_uring lets go of queues late.
const restoreWait = 20 * time.Second

// preparing is how long an agent may take for it, which says that it is busy.
func (p *Prepare) preparing() time.Duration {
	wait := 2*prepareWait + p.opening()
	if p.Role == TX {
		wait += connectTime(p.Flows)
	}
	return wait
}

// endingWait covers what an end does after the window: it may be late, wait for what
// is in flight, and put back.
const endingWait = samplerWait + tail + 3*drainWait + restoreWait

// How long an end waits: for the other end's connections, for a peer to take
// what is in flight after the window, and how long traffic goes on past the
// window so that both ends close theirs under load.
const (
	connectWait = 5 * time.Second
	drainWait   = 2 * time.Second
	tail        = 100 * time.Millisecond
)

// samplerWait is how long after the window the sampler may be late, beyond all that
// a busy host does.
const samplerWait = 4 * time.Second

// surveyWait covers putting back what a killed run left, and probes of every
// engine.
const surveyWait = 60 * time.Second

// tellWait is for the slowest meter.
const tellWait = 40 * time.Second

// opening is how long an agent may take to open these meters, and some of its own.
func (w *watch) opening(own int) time.Duration {
	return time.Duration(1+len(w.Specs)+own) * prepareWait
}

// telling is how long it may take to say what so many said.
func telling(meters int) time.Duration { return time.Duration(1+meters) * tellWait }

// atOnce is the most connections that are made side by side.
const atOnce = 64

// connectTime is what a sender may take to make its connections.
func connectTime(flows int) time.Duration {
	return time.Duration((flows+atOnce-1)/atOnce) * connectWait
}

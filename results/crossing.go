package results

import (
	"zcbench/internal/printable"
	"zcbench/results/caveat"
)

// Crossing is what a capture of headers saw cross an interface.
type Crossing struct {
	Interface string    `json:"interface"`
	Seconds   float64   `json:"seconds"`
	Lost      uint64    `json:"frames_not_looked_at"` // they came too fast
	Received  Direction `json:"received"`
	Sent      Direction `json:"sent"`
}

// Direction is one direction of a Crossing: TCP frames as the stack handles
// them, so larger than the MTU where it merges or splits them. Its maps count
// frames, only those with payload.
type Direction struct {
	Frames   uint64            `json:"frames"`
	Bytes    uint64            `json:"payload_bytes"`
	Other    uint64            `json:"other_frames"`
	Sizes    map[int]uint64    `json:"payload_up_to"`
	Segments map[int]uint64    `json:"segment_bytes"`
	Headers  map[int]uint64    `json:"header_bytes"`
	Options  map[string]uint64 `json:"tcp_options"`
	Flows    []Flow            `json:"flows"` // those that carried most come first
}

// Flow is one flow of a Direction, and whether it is where a flow rule wants it.
type Flow struct {
	Flow      string         `json:"flow"`
	Frames    uint64         `json:"frames"`
	Bytes     uint64         `json:"payload_bytes"`
	Queues    map[int]uint64 `json:"frames_by_queue"` // -1: the driver did not tell
	Steered   []uint32       `json:"steered_to,omitempty"`
	Elsewhere uint64         `json:"frames_elsewhere"`
}

// Warnings are what a reader of a run must know of its Crossing.
func (c *Crossing) Warnings() (warnings []string) {
	switch {
	case c.Received.Frames+c.Sent.Frames == 0:
		warnings = append(warnings, caveat.Warn(caveat.VerifyMissing, "verify saw no frame of the run cross %s: its payload goes another way",
			c.Interface))
	case c.Received.Bytes+c.Sent.Bytes == 0:
		// A packet socket gets a copy of what MSG_ZEROCOPY sends, and there is
		// none of memory that no CPU may read: skb_copy_ubufs() refuses.
		warnings = append(warnings, caveat.Warn(caveat.VerifyMissing, "verify saw no payload cross %s, only acknowledgements: the kernel shows "+
			"no capture what is sent from a dma-buf", c.Interface))
	}
	for _, f := range c.Received.Flows {
		if f.Elsewhere > 0 {
			warnings = append(warnings, caveat.Warn(caveat.WrongQueue, "verify saw %d of %s of %s come on other queues than the %v of its flow rule",
				f.Elsewhere, printable.Count(f.Frames, "frame"), f.Flow, f.Steered))
		}
	}
	return warnings
}

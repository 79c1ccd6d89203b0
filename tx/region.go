package tx

import (
	"zcbench/endpoint"
	"zcbench/internal/abi"
)

// region is one flow's payload in memory, sent in pieces over and over.
type region struct {
	mem    []byte // one period of the pattern
	length int    // of a piece; it divides the period
	pos    int    // of the next byte of the stream, in mem
}

func newRegion(p endpoint.Params, flow int) (region, error) {
	mem, err := abi.Map(p.Pattern.Period, false)
	if err != nil {
		return region{}, err
	}
	mem = mem[:p.Pattern.Period]
	p.Pattern.Fill(mem, flow)
	return region{mem: mem, length: p.Length}, nil
}

// regions is the memory of all flows' payload.
func regions(p endpoint.Params) int64 { return endpoint.Bytes(p.Flows, p.Pattern.Period) }

// next is what to send now: a piece, or what a short send left of one.
func (r *region) next() []byte { return r.mem[r.pos : r.pos+r.length-r.pos%r.length] }

// advance moves past n bytes that were sent, of one piece or of several that
// follow each other.
func (r *region) advance(n int) { r.pos = (r.pos + n) % len(r.mem) }

func (r *region) close() error { return abi.Unmap(r.mem) }

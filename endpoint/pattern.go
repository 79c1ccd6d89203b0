package endpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Pattern is a seeded pseudo-random payload: never zeros, different for each
// connection, and repeating every Period bytes so that a sender needs no
// more memory than one region.
type Pattern struct {
	Seed   uint64 `json:"seed"`
	Period int    `json:"period"` // bytes
}

// Fill writes the first len(p) bytes of connection i's stream into p; len(p)
// is at most Period. The generator is SplitMix64 (Steele, Lea and Flood,
// OOPSLA 2014): cheap, and any shift of the stream shows.
func (pt Pattern) Fill(p []byte, i int) {
	state := pt.Seed ^ (uint64(i)+1)*0x9e3779b97f4a7c15
	var word [8]byte
	for len(p) > 0 {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(word[:], z^z>>31)
		p = p[copy(p, word[:]):]
	}
}

// Checker compares a received stream with the pattern it should be.
type Checker struct {
	want []byte
	pos  int    // in want
	done uint64 // bytes of the stream seen
	err  error  // the first difference
}

// NewChecker expects connection i's stream of pt from its first byte.
func NewChecker(pt Pattern, i int) *Checker {
	c := &Checker{want: make([]byte, pt.Period)}
	pt.Fill(c.want, i)
	return c
}

// Consume checks the next piece of the stream; it stops comparing at the
// first difference, because all that follows a gap differs.
func (c *Checker) Consume(p []byte) {
	if c.err != nil {
		return
	}
	for len(p) > 0 {
		n := min(len(p), len(c.want)-c.pos)
		if !bytes.Equal(p[:n], c.want[c.pos:c.pos+n]) {
			c.err = c.difference(p[:n])
			return
		}
		c.done += uint64(n)
		c.pos = (c.pos + n) % len(c.want)
		p = p[n:]
	}
}

func (c *Checker) difference(p []byte) error {
	for k, b := range p {
		if w := c.want[c.pos+k]; b != w {
			return fmt.Errorf("payload differs at byte %d of the stream: got %#02x, want %#02x", c.done+uint64(k), b, w)
		}
	}
	return nil
}

// Result gives the bytes found equal and the first difference, if any.
func (c *Checker) Result() (uint64, error) { return c.done, c.err }

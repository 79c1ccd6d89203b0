package rx

import "zcbench/internal/abi"

// tokens are those of frags that were read and are not recycled yet, as
// ranges of consecutive ones: the kernel hands out the lowest free token, so
// that most of a burst is one range and costs one entry, not hundreds.
type tokens struct {
	ranges [abi.MAX_DONTNEED_TOKENS]abi.DmabufToken
	used   int // ranges
	held   int // tokens
	limit  int // of tokens held, at most MAX_DONTNEED_FRAGS
}

// add takes one more and says whether all must be recycled before the next.
func (t *tokens) add(token uint32) (full bool) {
	t.held++
	if t.used > 0 {
		if last := &t.ranges[t.used-1]; last.TokenStart+last.TokenCount == token {
			last.TokenCount++
			return t.held >= t.limit
		}
	}
	t.ranges[t.used] = abi.DmabufToken{TokenStart: token, TokenCount: 1}
	t.used++
	return t.held >= t.limit || t.used == len(t.ranges)
}

// drop forgets the first n tokens, which the kernel has freed. It frees them in
// order, and not always all.
func (t *tokens) drop(n int) {
	gone := 0 // ranges
	for gone < t.used && n > 0 {
		r := &t.ranges[gone]
		k := min(n, int(r.TokenCount))
		r.TokenStart += uint32(k)
		r.TokenCount -= uint32(k)
		n -= k
		t.held -= k
		if r.TokenCount == 0 {
			gone++
		}
	}
	t.used = copy(t.ranges[:], t.ranges[gone:t.used])
}

package analysis

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"zcbench/results/caveat"
)

// remark is a warning or a note taken apart. Two that differ in their shares alone
// are one, of shares from the least to the most.
type remark struct {
	end    string      // rx or tx; empty where it names none
	code   caveat.Code // empty where it has none
	words  []string    // before, between and behind the shares
	shares []span
}

// span is a share of something, or the least and the most of several.
type span struct {
	low, high number
	unit      string // % or, behind a blank, the same
}

// number is one as it was written.
type number struct {
	text  string
	value float64
}

func numberOf(text string) number {
	v, _ := strconv.ParseFloat(text, 64) // the expressions below take numbers alone
	return number{text, v}
}

var (
	shareText  = regexp.MustCompile(`(?:(\d+(?:\.\d+)?)–)?(\d+(?:\.\d+)?)( ?%)`)
	numberText = regexp.MustCompile(`\d+(?:\.\d+)?`)
)

// remarkOf takes a text apart.
func remarkOf(text string) remark {
	r := remark{code: caveat.CodeOf(text)}
	if end, _, ok := strings.Cut(text, ":"); ok && (end == "rx" || end == "tx") {
		r.end = end
	}
	at := 0
	for _, m := range shareText.FindAllStringSubmatchIndex(text, -1) {
		high := numberOf(text[m[4]:m[5]])
		low := high
		if m[2] >= 0 {
			low = numberOf(text[m[2]:m[3]])
		}
		r.words = append(r.words, text[at:m[0]])
		r.shares = append(r.shares, span{low, high, text[m[6]:m[7]]})
		at = m[1]
	}
	r.words = append(r.words, text[at:])
	return r
}

// key is what remarks that differ in their shares alone have in common.
func (r remark) key() string { return strings.Join(r.words, "\x00") }

// widen makes a remark, of the same key, hold what another one says too: 3%, 5% and
// 4% become 3–5%.
func (r *remark) widen(other remark) {
	for i, o := range other.shares {
		s := &r.shares[i]
		if o.low.value < s.low.value {
			s.low = o.low
		}
		if o.high.value > s.high.value {
			s.high = o.high
		}
	}
}

// text puts the remark together again.
func (r remark) text() string {
	var b strings.Builder
	for i, s := range r.shares {
		b.WriteString(r.words[i])
		if s.low.text != s.high.text {
			b.WriteString(s.low.text + "–")
		}
		b.WriteString(s.high.text + s.unit)
	}
	b.WriteString(r.words[len(r.words)-1])
	return b.String()
}

// worstOf is its text where it stands for so many runs that say the like.
func (r remark) worstOf(runs int) string {
	tail := " [" + string(r.code) + "]"
	return fmt.Sprintf("%s; the worst of %d such%s", strings.TrimSuffix(r.text(), tail), runs, tail)
}

// sameKind are codes whose warnings say one thing of different sizes, times and
// culprits: of many the worst is enough.
var sameKind = []caveat.Code{
	caveat.CPUForeign, caveat.CPUSteal, caveat.CPUThrottled, caveat.CPUHot, caveat.SoftirqElsewhere, caveat.SMTSibling,
	caveat.SamplerLate, caveat.FlowStalled, caveat.PayloadWaited, caveat.BytesCoarse, caveat.BuffersEmpty,
}

// hasKind says whether of remarks with its code and end the worst is enough.
func (r remark) hasKind() bool { return r.end != "" && slices.Contains(sameKind, r.code) }

// size is what the worst has most of: its first share, else its first number.
func (r remark) size() float64 {
	if len(r.shares) > 0 {
		return r.shares[0].high.value
	}
	return numberOf(numberText.FindString(r.words[0])).value // 0 where it says no number
}

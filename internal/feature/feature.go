// Package feature holds the answer to "can this host do that?": yes, no
// with the reason and the cure, or unknown.
package feature

import "zcbench/internal/fault"

// Answer is one of three: a probe that could not find out says Unknown
// rather than guess.
type Answer string

// The three answers, as they appear in probe --json.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Verdict is an answer, why it is so, and what would change it. Reason and
// Fix are empty for a plain yes; a yes may carry a Reason that limits it.
type Verdict struct {
	Answer Answer `json:"answer"`
	Reason string `json:"reason,omitempty"`
	// Fix is an exact command or the kernel version that would turn the
	// answer into a yes.
	Fix string `json:"fix,omitempty"`
}

// Possible is a plain yes.
func Possible() Verdict { return Verdict{Answer: Yes} }

// Impossible is a no, with its reason and its cure.
func Impossible(reason, fix string) Verdict {
	return Verdict{Answer: No, Reason: reason, Fix: fix}
}

// Undecided is an unknown, with what stood in the way and how to find out.
func Undecided(reason, fix string) Verdict {
	return Verdict{Answer: Unknown, Reason: reason, Fix: fix}
}

// Refused is the answer that an error amounts to which only a host gives that
// cannot do it, unless it is one of the moment.
func Refused(err error, fix string) Verdict {
	if fault.Exhausted(err) {
		return Undecided(err.Error(), "")
	}
	return Impossible(err.Error(), fix)
}

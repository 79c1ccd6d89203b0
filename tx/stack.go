package tx

import "zcbench/endpoint"

// stack finds out what the notifications of zero-copy sends say that lie in one
// packet with others (io_link_skb, Linux 6.10).
//
// A send that the kernel appends to the packet of an earlier one waits for that
// one: its notification comes behind it, and unless it also has a packet of its
// own it says "copied" whatever happened, for only a packet's first send is
// told (io_tx_ubuf_complete). "Not copied" is always true, of the packets that a
// send is the first of.
//
// What appended sends lack, the order gives. The kernel puts each right behind
// the one it hangs on, and then gives all out at once (io_notif_tw_complete): the
// head h, and from the last to the first what hangs on it, h+3 h+2 h+1. Only the
// last can go on into a packet of its own, on which others hang: h, h+3, h+5 h+4,
// h+2 h+1. So where numbers run down behind "not copied" until none is missing,
// all but the highest were appended to packets that were not copied. Of the
// highest nobody knows: it may have gone on into a packet that was.
type stack struct {
	copied bool   // so was, or may have been, the last packet heard of
	head   uint64 // first send of what may be one group; apart: there is none
	top    uint64 // its last so far
	open   uint64 // sends between them that have not been notified
	low    uint64 // the lowest of the run down so far
	down   bool   // such a run has begun
	held   uint64 // its bytes that are not copied if it becomes whole
}

// apart is the head where what comes next cannot hang on what came.
const apart = ^uint64(0)

// fates are bytes, by whether they were copied. Copied has the kernel's word for
// it, which may mean a part of a send.
type fates struct{ zero, copied, unknown uint64 }

func (f *fates) add(g fates) {
	f.zero, f.copied, f.unknown = f.zero+g.zero, f.copied+g.copied, f.unknown+g.unknown
}

func (f fates) count(n *endpoint.Counters) {
	n.ZeroCopied.Add(f.zero)
	n.Unknown.Add(f.unknown) // before Copied: what is read meanwhile is not known to be a copy
	n.Copied.Add(f.copied + f.unknown)
}

func newStack() stack { return stack{head: apart} }

// note takes the notification of a send, by its number, in the order of the
// completion queue. It tells the fates that are known then.
func (s *stack) note(send, bytes uint64, copied bool) (f fates) {
	within := s.head < send && send < s.low
	if s.down && !(copied && within) {
		// Something is missing, so it was no such run, or not as a whole. What
		// is still to come from within may be either, too.
		f.unknown += s.held
		s.held, s.down, s.copied = 0, false, true
	}
	switch {
	case !copied && s.copied:
		f.unknown += bytes // it may begin in the packet that was copied
		s.restart(send)
	case !copied:
		f.zero += bytes
		if s.head == apart || send < s.top || s.open == 0 && send == s.top+1 {
			s.restart(send)
		} else {
			s.reach(send)
		}
	case s.copied && within:
		f.unknown += bytes
	case s.copied || s.head == apart || send < s.head:
		f.copied += bytes
		s.copied = true
	case send > s.top:
		f.unknown += bytes
		s.reach(send)
		s.down, s.copied = true, s.open == 0
	default:
		s.down = true
		s.open--
		s.low, s.held = send, s.held+bytes
	}
	if s.down && s.open == 0 {
		f.zero += s.held
		s.held, s.down, s.head = 0, false, apart
	}
	return f
}

// end gives up what has not been told yet.
func (s *stack) end() fates {
	f := fates{unknown: s.held}
	s.held, s.down = 0, false
	return f
}

// restart begins with a send that has packets of its own, not copied.
func (s *stack) restart(send uint64) {
	*s = stack{head: send, top: send, low: send}
}

// reach extends the group to a later send.
func (s *stack) reach(send uint64) {
	s.open += send - s.top - 1
	s.top, s.low = send, send
}

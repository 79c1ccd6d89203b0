package tx

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// word is a notification.
type word struct {
	send   int
	copied bool
}

// hear gives the fate of each send that words say: z, c, ? (not known) or, where
// none was told, a point. Send i counts for 2^i bytes, so that the sums tell.
func hear(t *testing.T, words []word) string {
	t.Helper()
	s := newStack()
	var sum fates
	sends := 0
	for _, w := range words {
		sends = max(sends, w.send+1)
		sum.add(s.note(uint64(w.send), 1<<w.send, w.copied))
	}
	sum.add(s.end())
	var b strings.Builder
	for i := range sends {
		switch bit := uint64(1) << i; {
		case sum.zero&sum.copied != 0 || sum.zero&sum.unknown != 0 || sum.copied&sum.unknown != 0:
			t.Fatalf("bytes counted twice: %+v", sum)
		case sum.zero&bit != 0:
			b.WriteByte('z')
		case sum.copied&bit != 0:
			b.WriteByte('c')
		case sum.unknown&bit != 0:
			b.WriteByte('?')
		default:
			b.WriteByte('.')
		}
	}
	return b.String()
}

// TestStack: a word is a send's number, in the order of the completion queue,
// and c where the kernel says copied.
func TestStack(t *testing.T) {
	for _, c := range []struct{ name, words, want string }{
		{"large sends over a NIC", "0 1 2 3 4", "zzzzz"},
		{"everything over veth", "0c 1c 2c 3c", "cccc"},
		{"copied for a while", "0 1 2c 3c 4c 5 6", "zz?cc?z"},
		{"appended to one packet", "0 3c 2c 1c", "zzz?"},
		{"two packets, one behind the other", "0 3c 2c 1c 4 6c 5c", "zzz?zz?"},
		{"the last reaches into a packet of its own", "0 3 2c 1c 4", "zzzzz"},
		{"on which others hang", "0 3 5c 4c 2c 1c 6", "zzzzz?z"},
		{"a chain of such", "0 2 4 6 5c 3c 1c 7 8", "zzzzzzzzz"},
		{"one appended at the end of a chain", "0 2 3c 1c 4", "zzz?z"},
		{"one appended, or one copied", "0 1c", "z?"},
		{"one appended, or one copied, then another packet", "0 1c 2 3", "z??z"},
		{"appended to a packet that was copied", "0c 3c 2c 1c 4c", "ccccc"},
		{"the first group copied, the next not", "0c 2c 1c 3 5c 4c 6", "ccc?z?z"},
		{"copied, and out of order", "0 3c 1c 2c", "z?c?"},
		{"copied, and some missing", "0 5c 4c 2c 6c", "z.?.??c"},
		{"behind what was appended, a copied one", "0 2c 1c 3c 4c", "zz?cc"},
		{"not copied, and out of order", "0 2 1 3 5 4", "zzzzzz"},
		{"an earlier packet, copied, told later", "3 4 2c 1c 0c", "ccczz"},
		{"the run is never whole", "0 4c 3c", "z..??"},
	} {
		var words []word
		for _, f := range strings.Fields(c.words) {
			var w word
			w.copied = strings.HasSuffix(f, "c")
			if _, err := fmt.Sscan(strings.TrimSuffix(f, "c"), &w.send); err != nil {
				t.Fatal(err)
			}
			words = append(words, w)
		}
		if got := hear(t, words); got != c.want {
			t.Errorf("%s: %s heard as %s, want %s", c.name, c.words, got, c.want)
		}
	}
}

// kernel plays io_uring and TCP: sends go into packets of size bytes, or less
// where the queue ran empty, as it does with a chance of drained; some packets
// are copied; notifications come as io_link_skb and io_notif_tw_complete order
// them. Truth is z or c, or m for a send of which a part was copied.
func kernel(r *rand.Rand, sends, size, longest int, drained float64, copied func(packet int) bool) (words []word, truth []byte) {
	type send struct {
		next       int // of its group, -1 at the end
		head       int // of its group
		used, hurt bool
	}
	all := make([]send, sends)
	var heads []int
	packet, owner, room := -1, -1, 0
	for i := range all {
		all[i] = send{next: -1, head: i}
		if r.Float64() < drained {
			room = 0
		}
		zero, bad, last := false, false, false
		for left := 1 + r.IntN(longest); left > 0; {
			if room == 0 {
				packet++
				owner, room = i, size
			} else if owner != i {
				all[i].head, all[i].next, all[owner].next = all[owner].head, all[owner].next, i
			}
			n := min(left, room)
			left, room = left-n, room-n
			last = copied(packet)
			zero, bad = zero || !last, bad || last
			if owner == i {
				all[i].used, all[i].hurt = all[i].used || !last, all[i].hurt || last
			}
		}
		if h := all[i].head; h == i {
			heads = append(heads, i)
		} else if owner == i && last && r.IntN(2) == 0 {
			all[h].hurt = true // the last of its packets was that which was copied
		}
		truth = append(truth, map[[2]bool]byte{{true, false}: 'z', {false, true}: 'c', {true, true}: 'm'}[[2]bool{zero, bad}])
	}
	for _, h := range heads {
		for i := h; i >= 0; i = all[i].next {
			words = append(words, word{i, all[i].hurt || !all[i].used})
		}
	}
	return words, truth
}

// TestStackPlayed: by the kernel's rules, whatever the lengths, what was copied
// never counts as zero-copied, and where nothing was, nothing counts as copied.
func TestStackPlayed(t *testing.T) {
	const (
		nothing = iota // is copied
		everything
		some
	)
	total, unknown := 0, 0
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 1))
		turn := 2 + r.IntN(20) // packets until the copying begins or ends
		mode := r.IntN(some + 1)
		copied := func(p int) bool { return mode == everything || mode == some && p/turn%2 == 1 }
		words, truth := kernel(r, 64, 16, []int{3, 8, 16, 40}[r.IntN(4)], []float64{0, 0.1, 0.5}[r.IntN(3)], copied)
		heard := hear(t, words)
		for i, h := range []byte(heard) {
			total++
			if h == '?' {
				unknown++
			}
			// "Copied" is the kernel's word, and it does say so of a head of
			// which only what hangs on it was.
			if h == 'z' && truth[i] != 'z' || h == 'c' && mode == nothing || h != 'c' && mode == everything || h == '.' {
				t.Fatalf("seed %d: send %d of\n%v, in truth\n%s, heard as\n%s", seed, i, words, truth, heard)
			}
		}
	}
	t.Logf("unknown: %d of %d sends", unknown, total)
}

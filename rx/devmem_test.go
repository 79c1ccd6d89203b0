package rx

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
	"zcbench/internal/abi"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/testutil"
	"zcbench/internal/testutil/tier"
)

func TestTokens(t *testing.T) {
	type r = abi.DmabufToken
	for _, c := range []struct {
		name   string
		limit  int
		add    []uint32
		want   []r
		fullAt int // index of the token that fills it, -1: none
	}{
		{"none", 1024, nil, nil, -1},
		{"consecutive", 1024, []uint32{5, 6, 7, 8}, []r{{TokenStart: 5, TokenCount: 4}}, -1},
		{"gaps", 1024, []uint32{5, 7, 8, 2}, []r{{TokenStart: 5, TokenCount: 1}, {TokenStart: 7, TokenCount: 2}, {TokenStart: 2, TokenCount: 1}},
			-1},
		{"descending", 1024, []uint32{3, 2, 1}, []r{{TokenStart: 3, TokenCount: 1}, {TokenStart: 2, TokenCount: 1},
			{TokenStart: 1, TokenCount: 1}}, -1},
		{"one at a time", 1, []uint32{5}, []r{{TokenStart: 5, TokenCount: 1}}, 0},
		{"limit", 3, []uint32{5, 6, 7}, []r{{TokenStart: 5, TokenCount: 3}}, 2},
	} {
		set := tokens{limit: c.limit}
		full := -1
		for i, k := range c.add {
			if set.add(k) {
				full = i
			}
		}
		if got := set.ranges[:set.used]; !slices.Equal(got, c.want) || full != c.fullAt || set.held != len(c.add) {
			t.Errorf("%s: %v, %d held, full at %d; want %v, full at %d", c.name, got, set.held, full, c.want, c.fullAt)
		}
	}
	// The kernel takes no more entries than this, whatever they stand for.
	set := tokens{limit: abi.MAX_DONTNEED_FRAGS}
	n := 1
	for !set.add(uint32(2 * n)) {
		n++
	}
	if n != abi.MAX_DONTNEED_TOKENS || set.used != n {
		t.Errorf("full after %d entries, want %d", n, abi.MAX_DONTNEED_TOKENS)
	}
}

func TestTokensDrop(t *testing.T) {
	type r = abi.DmabufToken
	for _, c := range []struct {
		drop int
		want []r
	}{
		{0, []r{{TokenStart: 5, TokenCount: 4}, {TokenStart: 20, TokenCount: 1}, {TokenStart: 30, TokenCount: 2}}},
		{3, []r{{TokenStart: 8, TokenCount: 1}, {TokenStart: 20, TokenCount: 1}, {TokenStart: 30, TokenCount: 2}}},
		{4, []r{{TokenStart: 20, TokenCount: 1}, {TokenStart: 30, TokenCount: 2}}},
		{6, []r{{TokenStart: 31, TokenCount: 1}}},
		{7, nil},
	} {
		set := tokens{limit: 1024}
		for _, k := range []uint32{5, 6, 7, 8, 20, 30, 31} {
			set.add(k)
		}
		set.drop(c.drop)
		if got := set.ranges[:set.used]; !slices.Equal(got, c.want) || set.held != 7-c.drop {
			t.Errorf("%d dropped: %v, %d held; want %v", c.drop, got, set.held, c.want)
		}
	}
}

// FuzzTokens: whatever comes and however little the kernel frees at a time,
// every token is given back exactly once and in order, within its limits.
func FuzzTokens(f *testing.F) {
	f.Add(uint64(1), 1, 10)
	f.Add(uint64(2), 1024, 5000)
	f.Fuzz(func(t *testing.T, seed uint64, limit, n int) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		set := tokens{limit: 1 + (limit&math31)%abi.MAX_DONTNEED_FRAGS}
		var added, freed []uint32
		giveBack := func() {
			for set.used > 0 {
				if set.used > abi.MAX_DONTNEED_TOKENS || set.held > set.limit {
					t.Fatalf("%d entries of %d tokens", set.used, set.held)
				}
				k := 1 + rnd.IntN(set.held)
				left := k
				for _, r := range set.ranges[:set.used] {
					for i := range min(left, int(r.TokenCount)) {
						freed = append(freed, r.TokenStart+uint32(i))
					}
					left -= min(left, int(r.TokenCount))
				}
				set.drop(k)
			}
		}
		next := uint32(0)
		for range (n & math31) % 5000 {
			if rnd.IntN(4) == 0 {
				next = rnd.Uint32() >> 1
			}
			added = append(added, next)
			if set.add(next) {
				giveBack()
			}
			next++
		}
		giveBack()
		if !slices.Equal(added, freed) || set.held != 0 {
			t.Fatalf("%d added, %d freed, %d held", len(added), len(freed), set.held)
		}
	})
}

const math31 = 1<<31 - 1

// piece is a control message as the kernel writes it.
func piece(kind int32, c abi.DmabufCmsg) []byte {
	var b []byte
	if size := unix.CmsgLen(24); unix.SizeofCmsghdr == 16 { // cmsg_len is a size_t
		b = binary.NativeEndian.AppendUint64(b, uint64(size))
	} else {
		b = binary.NativeEndian.AppendUint32(b, uint32(size))
	}
	b = binary.NativeEndian.AppendUint32(b, unix.SOL_SOCKET)
	b = binary.NativeEndian.AppendUint32(b, uint32(kind))
	b = binary.NativeEndian.AppendUint64(b, c.FragOffset)
	for _, v := range []uint32{c.FragSize, c.FragToken, c.DmabufID, c.Flags} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// TestDevmemDeliver: the bytes of a call come out in their order, wherever they
// lie, and are counted once; what cannot be is an error.
func TestDevmemDeliver(t *testing.T) {
	in := func(off uint64, size, token uint32) []byte {
		return piece(unix.SCM_DEVMEM_DMABUF, abi.DmabufCmsg{FragOffset: off, FragSize: size, FragToken: token, DmabufID: 9})
	}
	beside := func(size uint32) []byte { return piece(unix.SCM_DEVMEM_LINEAR, abi.DmabufCmsg{FragSize: size}) }
	for _, c := range []struct {
		name    string
		n       int
		control []byte
		want    string // the payload, or the error
		direct  uint64
		tokens  int
	}{
		{"in the dma-buf", 6, slices.Concat(in(4, 4, 1), in(0, 2, 2)), "EFGHAB", 6, 2},
		{"partly beside it", 5, slices.Concat(beside(2), in(2, 3, 1)), "01CDE", 3, 1},
		{"twice beside it", 6, slices.Concat(beside(2), in(2, 1, 1), beside(3)), "01C234", 1, 1},
		{"no message", 4, nil, "0123", 0, 0},
		{"another binding", 4, piece(unix.SCM_DEVMEM_DMABUF, abi.DmabufCmsg{FragSize: 4, DmabufID: 8}), "error: binding 8", 0, 0},
		{"beyond the dma-buf", 4, in(6, 4, 1), "error: at 0x6", 0, 0},
		{"far beyond", 4, in(1<<64-2, 4, 1), "error: at 0xfff", 0, 0},
		{"beyond the buffer", 11, beside(11), "error: beyond the 10", 0, 0},
		{"too little named", 5, in(0, 4, 1), "error: gave 5 bytes", 0, 1},
		{"too much named", 3, in(0, 4, 1), "error: gave 3 bytes", 0, 1},
	} {
		var got []byte
		conn := endpoint.Conn{FD: -1, Counters: &endpoint.Counters{}, Consume: func(b []byte) { got = append(got, b...) }}
		w := &devmemWorker{mem: []byte("ABCDEFGH"), binding: 9, tokens: tokens{limit: 100}, burst: &burst{}}
		err := w.deliver(conn, c.n, c.control, []byte("0123456789"))
		if say, fails := strings.CutPrefix(c.want, "error: "); fails {
			if err == nil || !strings.Contains(err.Error(), say) {
				t.Errorf("%s: %v, want an error that says %q", c.name, err, say)
			}
			continue
		}
		n := conn.Counters
		if err != nil || string(got) != c.want || n.ZeroCopied.Load() != c.direct || n.Copied.Load() != uint64(c.n)-c.direct ||
			w.tokens.held != c.tokens {
			t.Errorf("%s: %q, %v; %d zero-copied, %d copied, %d tokens held", c.name, got, err, n.ZeroCopied.Load(), n.Copied.Load(), w.tokens.held)
		}
	}
}

// plainDevmem is the engine without a binding: on a connection that no dma-buf
// backs, all arrives as plain bytes, on any kernel.
type plainDevmem struct{ devmemEngine }

func (plainDevmem) Open(p endpoint.Params) (endpoint.Session, error) {
	return &devmemSession{flows: p.Flows, read: 64 << 20, frags: 1024, batch: 1024, bursts: make([]burst, p.Flows)}, nil
}

// TestDevmemPlain runs the loop on real sockets.
func TestDevmemPlain(t *testing.T) {
	for _, flows := range []int{1, 4} {
		p := endpoint.Params{Flows: flows, Length: 100000, Validate: true, Pattern: endpoint.Pattern{Seed: 5, Period: 300000}}
		out := testutil.Transfer(t, sender{}, plainDevmem{}, p, 50e6)
		for i, c := range out.RX {
			if n := c.Copied.Load(); n == 0 || n != out.Checked[i] || n != c.Extra[devmemPlain].Load() || n != testutil.Bytes(out.TX[i]) {
				t.Errorf("flow %d: %d copied, %d plain, %d right, %d sent", i, n, c.Extra[devmemPlain].Load(), out.Checked[i],
					testutil.Bytes(out.TX[i]))
			}
		}
	}
}

// sender sends a pattern.
type sender struct{}

func (sender) Name() string                 { return "test" }
func (sender) Layout() endpoint.Layout      { return endpoint.Layout{} }
func (sender) Options() []endpoint.Option   { return nil }
func (sender) Probe(string) feature.Verdict { return feature.Possible() }

func (sender) Memory(endpoint.Params) (int64, error) { return 0, nil }
func (sender) Open(p endpoint.Params) (endpoint.Session, error) {
	return endpoint.PerFlow(p.Flows, func(i int) (endpoint.Worker, error) {
		w := sendWorker{make([]byte, p.Pattern.Period)}
		p.Pattern.Fill(w.payload, i)
		return w, nil
	}), nil
}

type sendWorker struct{ payload []byte }

func (w sendWorker) Run(conns []endpoint.Conn, stop *endpoint.Stop) error {
	for !stop.Requested() {
		for rest := w.payload; len(rest) > 0; {
			n, e := abi.Send(conns[0].FD, rest, unix.MSG_NOSIGNAL)
			if e != 0 {
				return e
			}
			conns[0].Counters.Copied.Add(uint64(n))
			rest = rest[n:]
		}
	}
	return nil
}

func (sendWorker) Close() error { return nil }

// TestDevmemDoesNotAllocate: neither pieces, tokens nor plain bytes do.
func TestDevmemDoesNotAllocate(t *testing.T) {
	var control []byte
	for i := range 500 {
		control = append(control, piece(unix.SCM_DEVMEM_DMABUF, abi.DmabufCmsg{FragOffset: uint64(i) * 8, FragSize: 8, FragToken: uint32(i),
			DmabufID: 9})...)
	}
	c := endpoint.Conn{FD: -1, Counters: &endpoint.Counters{}, Consume: func([]byte) {}}
	w := &devmemWorker{mem: make([]byte, 4000), binding: 9, tokens: tokens{limit: 1024}, burst: &burst{}}
	if n := testing.AllocsPerRun(100, func() {
		if err := w.deliver(c, 4000, control, nil); err != nil {
			t.Fatal(err)
		}
		w.tokens.drop(w.tokens.held)
	}); n != 0 {
		t.Errorf("%v allocations for each call", n)
	}
}

// TestDevmemRefuses: usage errors name what is wrong, before anything is taken.
func TestDevmemRefuses(t *testing.T) {
	for _, c := range []struct {
		options map[string]string
		iface   string
		say     string
	}{
		{map[string]string{"queu": "1"}, "lo", "queu"},
		{map[string]string{"token-batch": "1025"}, "lo", "token-batch"},
		{map[string]string{"mem": "gpu"}, "lo", "gpu"},
		{nil, "", "--iface"},
		{nil, "no-such-if", "no-such-if"},
	} {
		_, err := Devmem().Open(endpoint.Params{Flows: 1, Length: 4096, Interface: c.iface, Options: c.options})
		if fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%v on %q: %v, want a usage error about %s", c.options, c.iface, err, c.say)
		}
	}
}

// TestDevmemUnsupported: lo has no queues to bind. Whatever the kernel lacks,
// that is no failure, and probe says so too.
func TestDevmemUnsupported(t *testing.T) {
	tier.Root(t, "to bind memory")
	s, err := Devmem().Open(endpoint.Params{Flows: 1, Length: 4096, Interface: "lo"})
	if err == nil {
		s.Close()
	}
	if fault.Of(err) != fault.Unsupported {
		t.Errorf("%v, want an unsupported error", err)
	}
	v := Devmem().Probe("lo")
	if v.Answer != feature.No || v.Reason == "" || v.Fix == "" {
		t.Fatalf("probe: %+v, want a no with reason and cure", v)
	}
	// Refused before any setting is changed.
	_, err = devmemEngine{}.Needs(endpoint.Params{Flows: 1, Interface: "lo"})
	if fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), v.Reason) {
		t.Errorf("needs: %v, want an unsupported error for the probe's reason: %s", err, v.Reason)
	}
}

// BenchmarkDevmemDeliver is a burst of the size that the talk saw.
func BenchmarkDevmemDeliver(b *testing.B) {
	var control []byte
	for i := range 875 {
		control = append(control, piece(unix.SCM_DEVMEM_DMABUF, abi.DmabufCmsg{FragSize: 4096, FragToken: uint32(i), DmabufID: 9})...)
	}
	c := endpoint.Conn{FD: -1, Counters: &endpoint.Counters{}, Consume: func([]byte) {}}
	w := &devmemWorker{mem: make([]byte, 4096), binding: 9, tokens: tokens{limit: 1024}, burst: &burst{}}
	b.SetBytes(875 * 4096)
	for b.Loop() {
		if err := w.deliver(c, 875*4096, control, nil); err != nil {
			b.Fatal(err)
		}
		w.tokens.drop(w.tokens.held)
	}
}

package labtest

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/genl/ethtool"
	"zcbench/lab/pair"
)

// TestSoak changes everything at random under traffic, for twenty seconds or as
// long as ZCBENCH_SOAK says. In the end no page is left with the page pools, and the
// module unloads; that the kernel did not complain is for the lab to see.
func TestSoak(t *testing.T) {
	needLab(t)
	length := 20 * time.Second
	if s := os.Getenv("ZCBENCH_SOAK"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	end := time.Now().Add(length)
	count := map[string]int{}
	for time.Now().Before(end) {
		if !t.Run("leg", func(t *testing.T) { soakLeg(t, rnd, min(10*time.Second, time.Until(end)), count) }) {
			break
		}
		deleteNamespace(t)
		count["namespace deleted"]++
	}
	t.Logf("did %v", count)

	r := newRig(t)
	r.transfer(t, 1<<20, 0, false)
	for _, s := range []side{r.rx, r.tx} {
		s.down(t)
		s.settled(t, true)
	}
	if err := pair.Unload(); err != nil {
		t.Fatal(err)
	}
	if _, err := pair.Load(""); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := pair.Connect(i); err != nil {
			t.Fatal(err)
		}
	}
}

// soakLeg is what happens between two deletions of the namespace.
func soakLeg(t *testing.T, rnd *rand.Rand, length time.Duration, count map[string]int) {
	r, binder := newRig(t), newRig(t)
	if err := r.rx.eth.SetRings("zc1", ethtool.Values{"tcp-data-split": splitOn, "hds-thresh": 0}); err != nil {
		t.Fatal(err)
	}
	r.away(t)
	b := dmabuf(t, 2<<20)
	l := r.load(t, 6, 0)

	// Bindings of a queue with traffic of its own come and go beside
	// everything else.
	r.rule(t, ethtool.Rule{Match: ethtool.Match{Dst: r.rx.Addr4, DstPort: 7001}, Queue: 2})
	defer r.victim(t, 7001)()
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				count["queue bound and unbound"] += n
				stopped <- nil
				return
			default:
			}
			_, unbind, err := binder.tryBind(b.FD(), 2, 0)
			if errors.Is(err, unix.EEXIST) {
				// A command that was just being started had the
				// last binding's socket too, until its exec.
				time.Sleep(time.Millisecond)
				continue
			}
			if err == nil {
				time.Sleep(time.Duration(n%20) * time.Millisecond)
				err = unbind()
			}
			if err != nil {
				stopped <- err
				return
			}
		}
	}()

	steps := []struct {
		name string
		do   func()
	}{
		{"receiver down and up", func() { r.rx.down(t); r.rx.up(t) }},
		{"sender down and up", func() { r.tx.down(t); r.tx.up(t) }},
		{"rings resized", func() {
			if err := r.rx.eth.SetRings("zc1", ethtool.Values{"rx": 64 << rnd.IntN(5), "tx": 64 << rnd.IntN(5)}); err != nil {
				t.Error(err)
			}
		}},
		{"channels changed", func() {
			if err := r.rx.eth.SetChannels("zc1", ethtool.Values{"combined-count": uint64(4 + rnd.IntN(5))}); err != nil {
				t.Error(err)
			}
		}},
		{"HW GRO switched", func() {
			if err := r.rx.eth.SetFeatures("zc1", map[string]bool{"rx-gro-hw": rnd.IntN(2) == 0}); err != nil {
				t.Error(err)
			}
		}},
		{"rule added and deleted", func() {
			loc, err := r.rx.eth.AddRule("zc1", ethtool.Rule{Match: ethtool.Match{Dst: r.rx.Addr4, DstPort: uint16(1 + rnd.IntN(60000))}, Queue: 1,
				Location: uint32(1 + rnd.IntN(255))}) // 0 is the rule above
			if err == nil {
				err = r.rx.eth.DeleteRule("zc1", loc)
			}
			if err != nil {
				t.Error(err)
			}
		}},
	}
	for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); {
		s := steps[rnd.IntN(len(steps))]
		s.do()
		count[s.name]++
		l.moves(t)
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	l.stop(t)
	if err := r.rx.eth.SetChannels("zc1", ethtool.Values{"combined-count": 8}); err != nil {
		t.Error(err)
	}
	r.rx.settled(t, false)
}

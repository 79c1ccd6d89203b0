package endpoint

import (
	"testing"
	"time"
)

func TestPacer(t *testing.T) {
	var p Pacer
	p.Tick()
	first := p.last
	if first.IsZero() {
		t.Fatal("the first tick did not yield")
	}
	p.Tick()
	if p.last != first && time.Since(first) < pace {
		t.Error("yielded again at once")
	}
	p.last = time.Now().Add(-pace)
	late := p.last
	p.Tick()
	if p.last == late {
		t.Errorf("did not yield after %s", pace)
	}
	if n := testing.AllocsPerRun(1000, p.Tick); n != 0 {
		t.Errorf("%v allocations a tick", n)
	}
}

func BenchmarkPacer(b *testing.B) {
	var p Pacer
	b.ReportAllocs()
	for b.Loop() {
		p.Tick()
	}
}

package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/endpoint"
)

// progress is one line that changes on a terminal, and a line a run elsewhere.
type progress struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	done     int
	total    int
	what     string
	last     endpoint.Sample
	seen     bool
	begun    time.Time
}

func newProgress(out io.Writer, total int) *progress {
	p := &progress{out: out, total: total, begun: time.Now()}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

func (p *progress) next(pair string, repeat int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	p.seen = false
	left := ""
	if p.done > 1 {
		each := time.Since(p.begun) / time.Duration(p.done-1)
		left = fmt.Sprintf(", about %s left", (each * time.Duration(p.total-p.done+1)).Round(time.Second))
	}
	p.what = fmt.Sprintf("[%d/%d] %s, run %d%s", p.done, p.total, pair, repeat, left)
	p.show("")
	if !p.terminal {
		fmt.Fprintln(p.out, p.what)
	}
}

func (p *progress) live(role endpoint.Role, s endpoint.Sample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if role != endpoint.RX {
		return
	}
	if p.seen {
		p.show(fmt.Sprintf(": %.2f Gbit/s", endpoint.Interval(role, p.last, s).Gbps))
	}
	p.last, p.seen = s, true
}

func (p *progress) show(more string) {
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s%s", p.what, more)
	}
}

func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

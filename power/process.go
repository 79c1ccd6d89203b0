package power

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a command that prints readings, a line each.
type process struct {
	info  Info
	cmd   *exec.Cmd
	parse func(line string) (watts float64, err error)
	lines chan stamped
	said  *tail
	ended chan struct{}
	// Valid once ended is closed.
	why     error // there is nothing more to come
	well    bool  // it ended by itself, without an error
	printed int   // lines that were not empty
}

// mostLines are more than a buffer of stdio has, which a command may write at
// once, in lines with a digit and their end.
const mostLines = 4096

type stamped struct {
	at   time.Time
	text string
}

// startProcess runs the command in a group of its own, so that whatever it
// started ends with it.
func startProcess(info Info, cmd *exec.Cmd, parse func(string) (float64, error)) (*process, error) {
	p := &process{info: info, cmd: cmd, parse: parse, lines: make(chan stamped, mostLines), said: &tail{}, ended: make(chan struct{})}
	p.info.Pushed = true
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = p.said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go p.watch(out)
	return p, nil
}

// watch stamps each line as it comes.
func (p *process) watch(out io.Reader) {
	defer close(p.ended)
	keep := func(line string) {
		if strings.TrimSpace(line) == "" {
			return
		}
		p.printed++
		select {
		case p.lines <- stamped{time.Now(), line}:
		default: // nobody reads them
		}
	}
	rest := "" // after the end of the last line
	s := bufio.NewScanner(out)
	s.Buffer(nil, 4096)
	s.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			return i + 1, data[:i], nil
		}
		if atEOF {
			rest += string(data)
			return len(data), nil, nil
		}
		return 0, nil, nil
	})
	for s.Scan() {
		keep(s.Text())
	}
	long := s.Err()
	if long != nil {
		p.kill()
	}
	err := p.cmd.Wait()
	switch {
	case long != nil:
		p.why = fmt.Errorf("its output: %w", long)
	case err != nil:
		p.why = fmt.Errorf("the command ended: %w%s", err, p.said.text())
	default:
		// One that failed may have been cut off within a number.
		keep(rest)
		p.well = true
		p.why = fmt.Errorf("the command ended by itself after %d lines: it must print one number and end, to be run again, or go on printing%s",
			p.printed, p.said.text())
	}
}

func (p *process) Info() Info { return p.info }

func (p *process) Read(ctx context.Context) (Reading, error) {
	var l stamped
	select {
	case l = <-p.lines:
	default:
		select {
		case l = <-p.lines:
		case <-ctx.Done():
			return Reading{}, context.Cause(ctx)
		case <-p.ended:
			select {
			case l = <-p.lines:
			default:
				return Reading{}, over{p.why}
			}
		}
	}
	w, err := p.parse(l.text)
	if err != nil {
		return Reading{}, err
	}
	return Reading{At: l.at, Watts: &w}, nil
}

// over is an error after which there is nothing more to come.
type over struct{ error }

func (over) Is(target error) bool { return target == io.EOF }

func (p *process) kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// Close ends the command and what it started.
func (p *process) Close() error {
	p.kill()
	<-p.ended
	return nil
}

// tail keeps the last words of a command, for the error.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if over := len(t.b) - 300; over > 0 {
		t.b = t.b[over:]
	}
	return len(b), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := strings.TrimSpace(string(t.b))
	if s == "" {
		return ""
	}
	return ": " + strings.Join(strings.Fields(s), " ")
}

package remote

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
)

// Link is a program's stdin and stdout. Closing it lets the program end by
// itself, which an agent does once it has put everything back.
type Link struct {
	cmd    *exec.Cmd
	in     *os.File // the program's stdin
	out    *os.File // its stdout
	read   io.Reader
	said   *said
	closed sync.Once
	ended  chan struct{} // closed when the program has ended
}

// Command starts a program as the other end of a link. Its stderr goes, line by
// line, to stderr.
func Command(cmd *exec.Cmd, stderr io.Writer) (*Link, error) {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, fault.Errorf(fault.Failed, "make a pipe: %w", err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		theirIn.Close()
		in.Close()
		return nil, fault.Errorf(fault.Failed, "make a pipe: %w", err)
	}
	l := &Link{cmd: cmd, in: in, out: out, read: out, said: &said{to: stderr}, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, l.said
	// Its own group: Ctrl-C is ours to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	err = cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		in.Close()
		out.Close()
		return nil, here(fmt.Errorf("start %s: %w", cmd.Path, err))
	}
	go func() {
		_ = cmd.Wait() // how it ended matters only where its words do
		close(l.ended)
	}()
	return l, nil
}

// here tells what this process has no more of from a host that does not answer.
func here(err error) error {
	if fault.Exhausted(err) {
		return fault.Wrap(fault.Failed, err)
	}
	return err
}

// await reads up to a line that is the mark: what comes before it is a login
// shell's own.
func (l *Link) await(ctx context.Context, mark string) error {
	defer context.AfterFunc(ctx, func() { _ = l.out.SetReadDeadline(time.Now()) })()
	r := bufio.NewReader(l.out)
	for {
		line, err := r.ReadString('\n')
		if strings.TrimRight(line, "\r\n") == mark {
			l.read = r
			return l.out.SetReadDeadline(time.Time{})
		}
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return l.why(err)
		}
	}
}

// why turns the end of a link into what the program said, if it did.
func (l *Link) why(err error) error {
	select {
	case <-l.ended:
		if text := l.said.last(); text != "" {
			return errors.New(text)
		}
		return fmt.Errorf("it ended with %s", l.cmd.ProcessState)
	case <-time.After(time.Second):
		return err
	}
}

// Fate says how the program ended, with its last words, or nothing where it has
// not ended.
func (l *Link) Fate() string {
	select {
	case <-l.ended:
	case <-time.After(time.Second):
		return ""
	}
	text := filepath.Base(l.cmd.Path) + " " + Fate(l.cmd.ProcessState) + "; the next zcbench there puts back the settings that it left"
	if said := l.said.last(); said != "" {
		text += "; it said: " + said
	}
	return text
}

// Fate says how a process ended.
func Fate(p *os.ProcessState) string {
	status, ok := p.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signal() == syscall.SIGKILL:
		return "was killed by SIGKILL (by somebody, or by the kernel for want of memory: dmesg)"
	case ok && status.Signaled():
		return "was killed by " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("ended with exit code %d", p.ExitCode())
}

func (l *Link) Read(p []byte) (int, error)  { return l.read.Read(p) }
func (l *Link) Write(p []byte) (int, error) { return l.in.Write(p) }

// SetDeadline bounds reads and writes.
func (l *Link) SetDeadline(t time.Time) error {
	return errors.Join(l.out.SetDeadline(t), l.in.SetDeadline(t))
}

// SetWriteDeadline bounds writes.
func (l *Link) SetWriteDeadline(t time.Time) error { return l.in.SetWriteDeadline(t) }

// Close ends the link and returns at once; Wait waits for the program.
func (l *Link) Close() error {
	l.closed.Do(func() {
		l.in.Close()
		l.out.Close()
	})
	return nil
}

// Wait gives the program, whose link is closed, time to end by itself, then
// kills it.
func (l *Link) Wait(limit time.Duration) {
	select {
	case <-l.ended:
	case <-time.After(limit):
		_ = l.cmd.Process.Kill()
		<-l.ended
	}
}

// said passes a program's words on and keeps the latest.
type said struct {
	mu   sync.Mutex
	to   io.Writer // nil: nobody
	part []byte
	all  []string
}

const keepLines = 5

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.part = append(s.part, p...)
	for {
		i := bytes.IndexByte(s.part, '\n')
		if i < 0 {
			break
		}
		s.line(string(bytes.TrimRight(s.part[:i], "\r")))
		s.part = s.part[i+1:]
	}
	if len(s.part) > 4096 { // no end of line to come
		s.line(string(s.part))
		s.part = nil
	}
	return len(p), nil
}

func (s *said) line(text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	if s.all = append(s.all, text); len(s.all) > keepLines {
		s.all = s.all[1:]
	}
	if s.to != nil {
		fmt.Fprintln(s.to, text)
	}
}

// last is what was said latest, on one line.
func (s *said) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	if len(s.part) > 0 {
		all = append(all[:len(all):len(all)], string(s.part))
	}
	return strings.Join(all, "; ")
}

package power

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// command is a shell command that prints watts. One that goes on printing is
// read as it does; one that printed a number and ended well is run again, each
// interval.
type command struct {
	info     Info
	text     string
	interval time.Duration
	run      *process // the latest
	again    bool
	next     time.Time // when to run it again
	runs     int
	cpu      time.Duration // of all runs
}

const (
	execInterval = time.Second
	execLeast    = 100 * time.Millisecond
	// execPatience bounds one run of a command that is run again.
	execPatience = 10 * time.Second
)

// execOptions end a command. No shell takes them for anything of its own, and a
// command that does end so may have a space behind it.
var execOptions = regexp.MustCompile(`\?(?:interval|resolution|scope)=[^&?\s]+(?:&(?:interval|resolution|scope)=[^&?\s]+)*$`)

// openExec runs a shell command that prints watts, a number a line. What the
// watts are of is its user's to know.
func openExec(address string) (Meter, error) {
	text := address
	t := &target{options: map[string]string{}}
	if at := execOptions.FindStringIndex(address); at != nil {
		text = address[:at[0]]
		for _, option := range strings.Split(address[at[0]+1:], "&") {
			name, value, _ := strings.Cut(option, "=")
			t.options[name] = value
		}
	}
	if strings.TrimSpace(text) == "" {
		return nil, noMeter("exec: wants a command that prints watts, a number a line")
	}
	// Of the command only the first word is told: a secret may be in the rest,
	// and a receiver's record goes to the sender.
	words := strings.Fields(text)
	t.name = "exec:" + words[0]
	if len(words) > 1 {
		t.name += " …"
	}
	m := &command{text: text, interval: execInterval}
	var err error
	if m.info, err = t.info(Info{Scope: Other, Pushed: true}); err != nil {
		return nil, err
	}
	if m.info.Interval > 0 {
		m.interval = m.info.Interval
	}
	if m.interval < execLeast {
		return nil, noMeter("option interval is %s or more", execLeast)
	}
	m.info.Of = private("exec", text)
	m.info.Source = "a command that goes on printing"
	return m, m.start()
}

func (m *command) start() (err error) {
	m.next = time.Now().Add(m.interval)
	m.run, err = startProcess(m.info, exec.Command("/bin/sh", "-c", m.text), parseWatts)
	return err
}

func (m *command) Info() Info { return m.info }

func (m *command) Read(ctx context.Context) (Reading, error) {
	if !m.again {
		r, err := m.run.Read(ctx)
		if !errors.Is(err, io.EOF) || !m.run.well || m.run.printed != 1 {
			return r, err
		}
		m.again = true
		m.count()
	}
	select {
	case <-time.After(time.Until(m.next)):
	case <-ctx.Done():
		return Reading{}, context.Cause(ctx)
	}
	return m.once(ctx)
}

// once runs the command for one number.
func (m *command) once(ctx context.Context) (Reading, error) {
	begun := time.Now()
	if err := m.start(); err != nil {
		return Reading{}, err
	}
	slow := time.NewTimer(execPatience)
	defer slow.Stop()
	var late error
	select {
	case <-m.run.ended:
	case <-slow.C:
		late = fmt.Errorf("the command did not end within %s", execPatience)
	case <-ctx.Done():
		late = context.Cause(ctx)
	}
	if late != nil {
		return Reading{}, errors.Join(late, m.run.Close())
	}
	at := midway(begun)
	m.count()
	switch {
	case !m.run.well:
		return Reading{}, m.run.why
	case m.run.printed != 1:
		return Reading{}, noValue("the command printed %d lines and not one number", m.run.printed)
	}
	r, err := m.run.Read(ctx)
	r.At = at
	return r, err
}

// count adds what a run took, its children's time with it.
func (m *command) count() {
	m.runs++
	m.cpu += m.run.cmd.ProcessState.UserTime() + m.run.cmd.ProcessState.SystemTime()
	each := m.cpu / time.Duration(m.runs)
	m.info.Interval = m.interval
	m.info.Cost = each.Seconds() / m.interval.Seconds()
	m.info.Source = fmt.Sprintf("a command that is run again each %s and takes %.1f ms of CPU", m.interval, each.Seconds()*1e3)
}

// Close ends the command and what it started.
func (m *command) Close() error { return m.run.Close() }

// parseWatts reads a line with one number.
func parseWatts(line string) (float64, error) {
	w, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is not a number of watts", errNoValue, clip(line))
	}
	return w, nil
}

// clip keeps a meter's words short in errors.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

package power

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// replay reads a CSV file that something else writes, or has written: a head
// line that names the columns, of which it takes time (RFC 3339, or seconds
// since 1970) and watts or joules, and a line for each reading. At the file's
// end it waits for more.
type replay struct {
	info    Info
	file    *os.File
	r       *bufio.Reader
	columns replayColumns
	part    string // of a line that is still being written
	line    int
}

// replayColumns are the positions of the columns, -1 where one is not there.
type replayColumns struct{ time, watts, joules, all int }

func openReplay(path string) (Meter, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, noMeter("%w", err)
	}
	m := &replay{info: Info{Name: "replay:" + filepath.Base(path), Scope: Other, Pushed: true, Stamped: true}, file: f,
		r: bufio.NewReaderSize(f, maxReplayLine)}
	if st, err := f.Stat(); err == nil {
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			m.info.Of = []string{fmt.Sprintf("file:%s-%d-%d", element(thisHost()), sys.Dev, sys.Ino)}
		}
	}
	head, err := m.next()
	if err == nil {
		m.columns, err = parseReplayHead(head)
	}
	if err != nil {
		f.Close()
		return nil, noMeter("%s: %w", path, err)
	}
	return m, nil
}

func parseReplayHead(line string) (replayColumns, error) {
	names := strings.Split(strings.TrimPrefix(line, "\ufeff"), ",")
	c := replayColumns{-1, -1, -1, len(names)}
	for i, name := range names {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "time":
			c.time = i
		case "watts":
			c.watts = i
		case "joules":
			c.joules = i
		}
	}
	if c.time < 0 || c.watts < 0 && c.joules < 0 {
		return c, errors.New("its first line must name the columns, with commas between them: time, and watts or joules")
	}
	return c, nil
}

func (c replayColumns) parse(line string) (Reading, error) {
	f := strings.Split(line, ",")
	for len(f) > c.all && strings.TrimSpace(f[len(f)-1]) == "" {
		f = f[:len(f)-1] // a comma at the end names nothing
	}
	// More are what a decimal comma makes, or one in thousands: the number before
	// it would be a part of what was meant.
	if len(f) != c.all {
		return Reading{}, fmt.Errorf("%w: %q has %d columns and the head has %d (numbers have a decimal point, no comma)", errNoValue, clip(line),
			len(f), c.all)
	}
	at, err := parseTime(strings.TrimSpace(f[c.time]))
	if err != nil {
		return Reading{}, err
	}
	r := Reading{At: at}
	for _, v := range []struct {
		column int
		to     **float64
	}{{c.watts, &r.Watts}, {c.joules, &r.Joules}} {
		if v.column < 0 {
			continue
		}
		if text := strings.TrimSpace(f[v.column]); text != "" {
			n, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return Reading{}, fmt.Errorf("%w: %q is not a number", errNoValue, clip(text))
			}
			*v.to = &n
		}
	}
	if r.Watts == nil && r.Joules == nil {
		return Reading{}, errNoValue
	}
	return r, nil
}

func parseTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	// Whole seconds apart from the rest: a float64 has microseconds left at
	// today's dates.
	whole, rest, _ := strings.Cut(text, ".")
	s, err := strconv.ParseInt(whole, 10, 64)
	ns := 0.0
	if err == nil && strings.Trim(rest, "0123456789") != "" {
		err = strconv.ErrSyntax // an exponent would be of the whole
	}
	if err == nil && rest != "" {
		ns, err = strconv.ParseFloat("0."+rest, 64)
	}
	if err != nil || s < 0 || s > math.MaxInt64/int64(time.Second) {
		return time.Time{}, fmt.Errorf("%w: %q is neither a time of RFC 3339 nor seconds since 1970", errNoValue, clip(text))
	}
	return time.Unix(s, int64(ns*1e9)), nil
}

// maxReplayLine is far above what a line of readings takes.
const maxReplayLine = 64 << 10

// next gives a whole line, or io.EOF.
func (m *replay) next() (string, error) {
	for {
		text, err := m.r.ReadSlice('\n')
		if m.part += string(text); len(m.part) > maxReplayLine || errors.Is(err, bufio.ErrBufferFull) {
			return "", fmt.Errorf("line %d is longer than %d bytes", m.line+1, maxReplayLine)
		}
		if err != nil {
			return "", err
		}
		line := strings.TrimSpace(m.part)
		m.part = ""
		m.line++
		if line != "" {
			return line, nil
		}
	}
}

func (m *replay) Info() Info { return m.info }

func (m *replay) Read(ctx context.Context) (Reading, error) {
	for {
		line, err := m.next()
		if err == nil {
			r, err := m.columns.parse(line)
			if err != nil {
				err = fmt.Errorf("line %d: %w", m.line, err)
			}
			return r, err
		}
		if !errors.Is(err, io.EOF) {
			return Reading{}, err
		}
		select {
		case <-ctx.Done():
			return Reading{}, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (m *replay) Close() error { return m.file.Close() }

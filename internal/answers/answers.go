// Package answers keeps what a kernel and a driver answer about one NIC, question by
// question and as raw as it comes, in a file, and gives the same answers again from
// one. Whoever asks passes a Source: nil is the kernel itself.
package answers

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"
)

// Hex is bytes that a file has in hexadecimal.
type Hex []byte

// MarshalText writes them.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// UnmarshalText reads them.
func (h *Hex) UnmarshalText(b []byte) (err error) {
	*h, err = hex.AppendDecode((*h)[:0], b)
	return err
}

// Reply is what came back.
type Reply struct {
	// Messages are those of netlink, each from its header on, whose sequence and
	// port are 0, or the one structure that an ioctl has filled in.
	Messages []Hex `json:"messages,omitempty"`
	// Text is that of a file, or of a list a name a line.
	Text string `json:"text,omitempty"`
	// Failed is how a call failed, in words.
	Failed string `json:"failed,omitempty"`
	// Says is how netlink refused, in words with those of the extended ack: for
	// readers of the file, as it is in the last message too.
	Says string `json:"says,omitempty"`
	// Errno is the number of either.
	Errno unix.Errno `json:"errno,omitempty"`
}

// failure is an error that is in a file.
type failure struct{ Reply }

func (f *failure) Error() string { return f.Failed }

// Unwrap gives the errno to errors.Is.
func (f *failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}

// Answer is a question and its Reply. A file has one answer to each question.
type Answer struct {
	Ask string `json:"ask"`          // "ethtool rings-get", "ioctl ETHTOOL_GRXCLSRLCNT", "link", "file"
	Of  string `json:"of,omitempty"` // the attributes of the request in hexadecimal, or a path
	Reply
}

// Head is the first line of a file.
type Head struct {
	Schema    string `json:"schema"`
	Version   string `json:"version"` // of zcbench
	Kernel    string `json:"kernel"`  // its release
	Machine   string `json:"machine"` // x86_64: numbers are in its byte order
	Interface string `json:"interface"`
	Driver    string `json:"driver"`
}

// Schema names the format. What changes how older files read gets another number.
const Schema = "zcbench-capture/1"

// Source is who answers: nil the kernel, else a record of it that is being made, or
// one that was read. It serves one goroutine at a time.
type Source struct {
	Head    Head
	playing bool
	list    []Answer
	place   map[question]int // in list
	missed  []string
}

type question struct{ ask, of string }

// Record is a Source that asks the kernel and keeps what it answers.
func Record() *Source { return &Source{place: map[question]int{}} }

// ErrNoAnswer says that a file does not have what is asked.
var ErrNoAnswer = errors.New("the capture has no answer")

// Playing says that the answers come from a file.
func (s *Source) Playing() bool { return s != nil && s.playing }

// Answers are all, in the order of the first time that each was asked.
func (s *Source) Answers() []Answer { return s.list }

// Missed are the questions that a file had no answer to.
func (s *Source) Missed() []string { return s.missed }

// Ask asks by calling kernel, or gives the answer that is in the file. That kernel
// fails is an answer, too. Where a question is asked again, the last answer stays.
func (s *Source) Ask(ask, of string, kernel func() (Reply, error)) (Reply, error) {
	q := question{ask, of}
	switch {
	case s == nil:
		return kernel()
	case s.playing:
		i, ok := s.place[q]
		if !ok {
			what := ask
			if of != "" {
				what += " of " + of
			}
			s.missed = append(s.missed, what)
			return Reply{}, fmt.Errorf("%w: %s", ErrNoAnswer, what)
		}
		r := s.list[i].Reply
		if r.Failed != "" {
			return r, &failure{r}
		}
		return r, nil
	}
	r, err := kernel()
	if err != nil {
		r.Failed = err.Error()
		errors.As(err, &r.Errno)
	}
	kept := Answer{ask, of, r}
	kept.Messages = make([]Hex, len(r.Messages)) // whoever asked may write to its own
	for i, m := range r.Messages {
		kept.Messages[i] = slices.Clone(m)
	}
	if i, ok := s.place[q]; ok {
		s.list[i] = kept
	} else {
		s.place[q] = len(s.list)
		s.list = append(s.list, kept)
	}
	return r, err
}

// Write writes the file: lines of JSON, the Head first.
func (s *Source) Write(to io.Writer) error {
	e := json.NewEncoder(to)
	e.SetEscapeHTML(false)
	if err := e.Encode(s.Head); err != nil {
		return err
	}
	for _, a := range s.list {
		if err := e.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

// one reads a line that has one thing, and no more.
func one(line []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind its end")
	}
	return nil
}

// Read is a Source that answers from a file, whose name errors tell.
func Read(name string, from io.Reader) (*Source, error) {
	s := &Source{playing: true, place: map[question]int{}}
	lines := bufio.NewReader(from)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d is torn: %w", name, n, err)
		}
		if n == 1 {
			if err := one(line, &s.Head); err != nil || s.Head.Schema != Schema {
				return nil, fmt.Errorf("%s is no capture of zcbench probe --capture: its first line is not one of %s", name, Schema)
			}
			continue
		}
		var a Answer
		if err := one(line, &a); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, n, err)
		}
		if a.Ask == "" {
			return nil, fmt.Errorf("%s: line %d asks nothing", name, n)
		}
		q := question{a.Ask, a.Of}
		if _, twice := s.place[q]; twice {
			return nil, fmt.Errorf("%s: line %d: %q is answered twice", name, n, a.Ask)
		}
		s.place[q] = len(s.list)
		s.list = append(s.list, a)
	}
	if s.Head.Schema == "" {
		return nil, fmt.Errorf("%s is empty", name)
	}
	return s, nil
}

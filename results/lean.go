package results

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Line is one line of a store.
type Line struct {
	Number int   // from 1
	Offset int64 // in bytes, of its start
	Text   []byte
}

// Lines yields the lines of a store that are not blank, with text of their
// own, not yet read as records. A line that is too long is yielded as a
// *LineError and the next follows; any other error is the last.
func Lines(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		lines := bufio.NewReaderSize(r, 1<<20) // a line of a long run, so that it is copied once
		offset := int64(0)
		for n := 1; ; n++ {
			text, length, err := readLine(lines, maxLine, maxSkipped)
			if err != nil && err != io.EOF {
				yield(Line{}, fmt.Errorf("read the store after line %d: %w", n-1, err))
				return
			}
			if text == nil && length > 0 {
				if !yield(Line{}, &LineError{n, fmt.Errorf("more than %d bytes", maxLine)}) {
					return
				}
			} else if len(bytes.TrimSpace(text)) > 0 && !yield(Line{n, offset, text}, nil) {
				return
			}
			if err == io.EOF {
				return
			}
			offset += length
		}
	}
}

// maxDocuments is that of several records as long as a line may be.
const maxDocuments = 4 * maxLine

// Documents yields the records of a file in which they are written over
// several lines, as zcbench's -J prints one; the whole file is held in
// memory, so that it must not be larger than maxDocuments. After what is not
// JSON nothing follows.
func Documents(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		all, err := io.ReadAll(io.LimitReader(r, maxDocuments+1))
		if err == nil && len(all) > maxDocuments {
			err = fmt.Errorf("more than %d bytes: of more there is a line for each record, as jq -c . makes them", maxDocuments)
		}
		if err != nil {
			yield(Line{}, fmt.Errorf("read records: %w", err))
			return
		}
		d := json.NewDecoder(bytes.NewReader(all))
		for {
			var text json.RawMessage
			err := d.Decode(&text)
			if err == io.EOF {
				return
			}
			start := space(all, int(d.InputOffset())-len(text))
			number := 1 + bytes.Count(all[:start], []byte{'\n'})
			if err != nil {
				if errors.Is(err, io.ErrUnexpectedEOF) {
					err = ErrTorn
				}
				yield(Line{}, &LineError{number, err})
				return
			}
			if !yield(Line{number, int64(start), text}, nil) {
				return
			}
		}
	}
}

// Record reads the line as a record. Its error is a *LineError.
func (l Line) Record() (Record, error) {
	r, err := decode(l.Text)
	if err != nil {
		return Record{}, &LineError{l.Number, err}
	}
	return r, nil
}

// Digest stands for a piece of a line's text: what has the same is the same.
// The zero Digest stands for nothing.
type Digest [sha256.Size]byte

// Shared tells which facts and settings of a record others of its Pool may
// have too.
type Shared struct {
	Facts    Pair[Digest]
	Settings Digest
}

// Pool reads records without what fills most of their lines, and holds the
// facts and settings that many records share once: ten thousand records then
// fit where a hundred whole ones do. It may be used by many goroutines. What
// it shares must not be changed.
type Pool struct {
	mu    sync.Mutex
	facts map[Digest]Facts
	parts map[Digest]any
}

// Lean reads the line as Record does, but without Samples and Flows and, of each
// end, without CPUs, SyscallCosts, Profile and Verify. What is wrong in those is
// wrong all the same: a line that Lean reads Record reads too.
func (p *Pool) Lean(l Line) (Record, Shared, error) {
	var same Shared
	rest, out := cut(l.Text, "samples", "flows", "facts", "settings")
	r, err := decode(rest)
	if err == nil && bytes.IndexByte(out["samples"], 0) >= 0 {
		err = errors.New("not a record: its samples hold zeros, as after a loss of power")
	}
	if err == nil {
		err = leftOut(out["samples"], out["flows"])
	}
	if err == nil {
		var facts Pair[json.RawMessage]
		if err = unmarshal(out["facts"], &facts); err == nil {
			same.Facts.RX, err = p.shared(facts.RX, &r.Facts.RX)
		}
		if err == nil {
			same.Facts.TX, err = p.shared(facts.TX, &r.Facts.TX)
		}
		if err == nil {
			same.Settings, err = p.shared(out["settings"], (*Facts)(&r.Settings))
		}
		if err != nil {
			err = fmt.Errorf("not a record: %w", err)
		}
	}
	if err != nil {
		// What was cut must not hide that the line is torn, or of another schema.
		if _, whole := decode(l.Text); whole != nil {
			err = whole
		}
		return Record{}, Shared{}, &LineError{l.Number, err}
	}
	r.modernize()
	r.Samples, r.Flows = nil, nil
	for _, e := range []*End{r.RX, r.TX} {
		if e != nil {
			e.CPUs, e.SyscallCosts, e.Profile, e.Verify = nil, nil, nil, nil
		}
	}
	return r, same, nil
}

// leftOut judges what Lean leaves out.
func leftOut(samples, flows []byte) error {
	var r Record
	if !plainSamples(samples) { // else nothing is wrong in them, and they are most of a line
		if err := unmarshal(samples, &r.Samples); err != nil {
			return err
		}
	}
	if err := unmarshal(flows, &r.Flows); err != nil {
		return err
	}
	return r.possible()
}

// plainSamples says that text is samples as zcbench writes them, in which every value is
// one that a sample may have. It knows what is right, ten times as fast as the decoder;
// what is wrong it does not know.
func plainSamples(text []byte) bool {
	s := scan{text: text}
	series := func() bool { return s.word() != nil && s.next(':') && s.number(300, true) }
	figure := func() bool {
		switch name := string(s.word()); {
		case !s.next(':'):
			return false
		case name == "end":
			return s.word() != nil
		case name == "bytes":
			return s.number(18, false)
		case name == "series":
			return s.list('{', '}', series)
		default:
			return slices.Contains(plainNames, name) && s.number(9, true)
		}
	}
	return s.list('[', ']', func() bool { return s.list('{', '}', figure) }) && space(text, s.at) == len(text)
}

// plainNames are those of a sample's other figures.
var plainNames = []string{"start", "seconds", "gbps", "cpu_percent", "watts"}

// scan goes through JSON that is written plainly.
type scan struct {
	text []byte
	at   int
}

// next takes a character, if it comes next.
func (s *scan) next(c byte) bool {
	s.at = space(s.text, s.at)
	if s.at == len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

// list takes items between two characters.
func (s *scan) list(from, to byte, item func() bool) bool {
	if !s.next(from) {
		return false
	}
	for first := true; !s.next(to); first = false {
		if !first && !s.next(',') || !item() {
			return false
		}
	}
	return true
}

// word takes a text of printable ASCII without escapes; nil is none.
func (s *scan) word() []byte {
	if !s.next('"') {
		return nil
	}
	from := s.at
	for at := from; at < len(s.text); at++ {
		switch c := s.text[at]; {
		case c == '"':
			s.at = at + 1
			return s.text[from:at]
		case c < ' ' || c > '~' || c == '\\':
			return nil
		}
	}
	return nil
}

// number takes one that is not below zero, of so many digits before the point, or null.
func (s *scan) number(digits int, fraction bool) bool {
	s.at = space(s.text, s.at)
	if bytes.HasPrefix(s.text[s.at:], []byte("null")) {
		s.at += len("null")
		return true
	}
	n := s.digits()
	if n == 0 || n > digits || n > 1 && s.text[s.at-n] == '0' {
		return false
	}
	if s.at < len(s.text) && s.text[s.at] == '.' {
		s.at++
		return fraction && s.digits() > 0
	}
	return true
}

// digits takes those that come now and gives how many.
func (s *scan) digits() (n int) {
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
		n++
	}
	return n
}

func unmarshal(text []byte, to any) error {
	if len(text) == 0 {
		return nil
	}
	return json.Unmarshal(text, to)
}

// shared decodes text, or gives what it gave before. Of text that is no object
// nothing is shared, and to is left as it is.
func (p *Pool) shared(text []byte, to *Facts) (Digest, error) {
	if len(text) == 0 {
		return Digest{}, nil
	}
	key := Digest(sha256.Sum256(text))
	p.mu.Lock()
	known, ok := p.facts[key]
	p.mu.Unlock()
	if ok {
		*to = known
		return key, nil
	}
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil || parts == nil {
		return Digest{}, err
	}
	facts := Facts{}
	for name, part := range parts {
		v, err := p.part(part)
		if err != nil {
			return Digest{}, err
		}
		facts[name] = v
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.facts == nil {
		p.facts = map[Digest]Facts{}
	}
	p.facts[key] = facts
	*to = facts
	return key, nil
}

// part decodes one group of facts, which often stays the same where another
// of that host changes.
func (p *Pool) part(text []byte) (any, error) {
	key := Digest(sha256.Sum256(text))
	p.mu.Lock()
	v, ok := p.parts[key]
	p.mu.Unlock()
	if ok {
		return v, nil
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.parts == nil {
		p.parts = map[Digest]any{}
	}
	p.parts[key] = v
	return v, nil
}

// cut takes the values of some keys of an object out of its text, and puts
// null in their place. It does not judge: text that it does not understand, or
// that has a key twice, is left whole for the decoder.
func cut(text []byte, keys ...string) (rest []byte, out map[string][]byte) {
	none := map[string][]byte{}
	for _, k := range keys {
		none[k] = []byte("null")
	}
	out = maps.Clone(none)
	at := space(text, 0)
	if at == len(text) || text[at] != '{' {
		return text, none
	}
	copied := 0
	seen := map[string]bool{}
	for at = space(text, at+1); at < len(text) && text[at] == '"'; {
		key := at
		if at = value(text, at); at < 0 {
			return text, none
		}
		name := text[key+1 : at-1]
		if at = space(text, at); at == len(text) || text[at] != ':' {
			return text, none
		}
		from := space(text, at+1)
		if at = value(text, from); at < 0 {
			return text, none
		}
		// The decoder takes a key in any case.
		if lower := strings.ToLower(string(name)); none[lower] != nil {
			if seen[lower] || lower != string(name) {
				return text, none
			}
			seen[lower] = true
			out[string(name)] = text[from:at]
			rest = append(append(rest, text[copied:from]...), "null"...)
			copied = at
		}
		if at = space(text, at); at == len(text) || text[at] != ',' {
			break
		}
		at = space(text, at+1)
	}
	return append(rest, text[copied:]...), out
}

func space(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n') {
		at++
	}
	return at
}

// value is the end of the JSON value that starts at at; -1 if there is none.
func value(text []byte, at int) int {
	depth := 0
	for start := at; at < len(text); at++ {
		switch text[at] {
		case '"':
			for at++; ; at++ {
				n := bytes.IndexByte(text[at:], '"')
				if n < 0 {
					return -1
				}
				escapes := 0
				for i := at + n - 1; i >= at && text[i] == '\\'; i-- {
					escapes++
				}
				at += n
				if escapes%2 == 0 {
					break
				}
			}
			if depth == 0 {
				return at + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1
			} else if depth < 0 {
				if at == start {
					return -1
				}
				return at
			}
		case ',':
			if depth == 0 {
				if at == start {
					return -1
				}
				return at
			}
		}
	}
	return -1
}

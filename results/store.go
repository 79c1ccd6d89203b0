package results

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
)

// maxLine bounds what one damaged file can make a reader hold. What writes
// records keeps their samples far below it.
const maxLine = 64 << 20

// maxSkipped is how much of a longer line a reader passes over to find the next: more is
// no store of records, and may have no end.
const maxSkipped = 16 * maxLine

// ErrTorn is a line whose write did not finish: the disk was full, or the
// machine stopped.
var ErrTorn = errors.New("torn line: its write did not finish")

// SchemaError is a line that is JSON but not a Record of this version.
type SchemaError struct{ Schema string }

func (e *SchemaError) Error() string {
	if e.Schema == "" {
		return "not a record: it has no schema"
	}
	return fmt.Sprintf("record of schema %q, this zcbench reads %q; use the version that wrote it", e.Schema, Schema)
}

// LineError says which line of a store could not be read, and why. The lines
// after it can still be.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap gives the cause: ErrTorn, a *SchemaError, or that of encoding/json.
func (e *LineError) Unwrap() error { return e.Err }

// Append adds r to the store at path, making the file when there is none. It
// returns once the record is on the disk. Any number of processes may append
// at once. What is in the file already is never changed: after a torn line
// the record starts on a line of its own.
func Append(path string, r Record) (err error) {
	if r.Schema != "" && r.Schema != Schema {
		return fmt.Errorf("append to %s: %w", path, &SchemaError{r.Schema})
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("append run %s to %s: %w", r.ID, path, err)
	}
	if len(line) > maxLine {
		return fmt.Errorf("append run %s to %s: %d bytes, a line holds at most %d; use fewer samples", r.ID, path, len(line), maxLine)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// The lock goes with the file description: Close, or death, releases it.
	if err := lock(f); err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	size, last, err := end(f)
	if err != nil {
		return fmt.Errorf("append to %s: %w", path, err)
	}
	if size > 0 && last != '\n' {
		line = append([]byte{'\n'}, line...)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		_ = f.Truncate(size) // a full disk tears the line; whoever reads survives that too
		return fmt.Errorf("append run %s: %w", r.ID, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("append run %s: %w", r.ID, err)
	}
	if size == 0 {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

func lock(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			return err
		}
	}
}

func end(f *os.File) (size int64, last byte, err error) {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, 0, err
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], st.Size()-1)
	return st.Size(), b[0], err
}

// syncDir makes a new file's name as durable as its content.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync the store's folder: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// Read yields the records of a store in order, one line in memory at a time.
// A line that cannot be read is yielded as a *LineError and the next follows;
// any other error is the last.
func Read(r io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for line, err := range Lines(r) {
			var rec Record
			if err == nil {
				rec, err = line.Record()
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// readLine gives a line without its end, and how many bytes it was with it;
// err is io.EOF with the last one, which may be empty. Of a line of more than
// limit bytes there is only the length, and one of more than most is an error.
func readLine(r *bufio.Reader, limit int, most int64) (line []byte, length int64, err error) {
	long := false
	for {
		part, err := r.ReadSlice('\n')
		length += int64(len(part))
		if !long {
			line = append(line, part...)
		}
		if len(bytes.TrimSuffix(line, []byte{'\n'})) > limit {
			line, long = nil, true
		}
		if length > most {
			return nil, length, fmt.Errorf("a line of more than %d MiB: this is no store of records", most>>20)
		}
		if err != bufio.ErrBufferFull {
			return bytes.TrimSuffix(line, []byte{'\n'}), length, err
		}
	}
}

// decode looks at the schema whether or not the rest fits, because a newer
// record may well differ in its types.
func decode(line []byte) (Record, error) {
	var r Record
	err := json.Unmarshal(line, &r)
	if _, syntax := errors.AsType[*json.SyntaxError](err); syntax {
		// Only the decoder tells JSON that stops short from JSON that is wrong.
		var raw json.RawMessage
		if json.NewDecoder(bytes.NewReader(line)).Decode(&raw) == io.ErrUnexpectedEOF {
			return r, ErrTorn
		}
		return r, errors.New("not a record: it is no JSON")
	}
	if r.Schema != Schema {
		return r, &SchemaError{r.Schema}
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return r, fmt.Errorf("not a record: %s is a %s, and should be %s", wrong.Field, wrong.Value, kinds[wrong.Type.Kind()])
	}
	if err == nil {
		err = r.possible()
	}
	if err != nil {
		return r, fmt.Errorf("not a record: %w", err)
	}
	r.modernize()
	return r, nil
}

// kinds are the types that a record has, in words.
var kinds = map[reflect.Kind]string{
	reflect.Float64: "a number below 1e308",
	reflect.Int:     "a whole number",
	reflect.Uint64:  "a whole number from 0 on",
	reflect.String:  "a text",
	reflect.Bool:    "true or false",
	reflect.Slice:   "a list",
	reflect.Map:     "an object",
	reflect.Struct:  "an object",
}

// Bounds of what a run can have measured, far beyond any machine.
const (
	mostSeconds = 1e9
	mostGbps    = 1e6
	mostPercent = 1e8 // of a CPU
	mostWatts   = 1e9
	mostROI     = mostGbps * mostGbps
)

// possible refuses figures that no run has: one of them would be in a mean with all
// the others.
func (r *Record) possible() error {
	type figure struct {
		name string
		v    *float64 // nil: not measured
		most float64
	}
	repeat := float64(r.Repeat)
	all := []figure{
		{"repeat", &repeat, mostSeconds}, {"window_seconds", &r.Window, mostSeconds}, {"gbps", &r.Gbps, mostGbps},
		{"total.cpu_percent", r.Total.CPUPercent, mostPercent}, {"total.watts", r.Total.Watts, mostWatts},
		{"roi.cpu.rx", r.ROI.CPU.RX, mostROI}, {"roi.cpu.tx", r.ROI.CPU.TX, mostROI}, {"roi.cpu.total", r.ROI.CPU.Total, mostROI},
		{"roi.power.rx", r.ROI.Power.RX, mostROI}, {"roi.power.tx", r.ROI.Power.TX, mostROI}, {"roi.power.total", r.ROI.Power.Total, mostROI},
	}
	end := func(role string, e *End) {
		if e == nil {
			return
		}
		all = append(all, figure{role + ".cpu_percent", e.CPUPercent, mostPercent}, figure{role + ".iowait_percent", e.IowaitPercent,
			mostPercent},
			figure{role + ".cpu_error_percent", e.CPUError, mostPercent}, figure{role + ".cpu_second_percent", e.CPUSecond, mostPercent},
			figure{role + ".cpu_ticks_percent", e.CPUTicks, mostPercent}, figure{role + ".watts", e.Watts, mostWatts})
	}
	end("rx", r.RX)
	end("tx", r.TX)
	for i := range r.Samples { // of which a short one may have high rates
		s, name := &r.Samples[i], fmt.Sprintf("samples[%d].", i)
		all = append(all, figure{name + "seconds", &s.Seconds, mostSeconds}, figure{name + "gbps", &s.Gbps, math.Inf(1)},
			figure{name + "cpu_percent", s.CPUPercent, math.Inf(1)})
	}
	for _, f := range all {
		if f.v != nil && (*f.v < 0 || *f.v > f.most) {
			return fmt.Errorf("%s is %g, and no run has that", f.name, *f.v)
		}
	}
	return nil
}

// modernize takes out of Settings what older versions had in it. The map may
// be shared.
func (r *Record) modernize() {
	command, isText := r.Settings["command"].(string)
	tuned, isMap := r.Settings["tuned"].(map[string]any)
	if !isText && !isMap {
		return
	}
	r.Settings = maps.Clone(r.Settings)
	if isText {
		delete(r.Settings, "command")
		r.Command = cmp.Or(r.Command, command)
	}
	if !isMap {
		return
	}
	delete(r.Settings, "tuned")
	if r.Tuned != nil {
		return
	}
	r.Tuned = map[string][]string{}
	for end, changes := range tuned {
		list, _ := changes.([]any)
		for _, c := range list {
			r.Tuned[end] = append(r.Tuned[end], fmt.Sprint(c))
		}
	}
}

// Load reads a whole store. Bad are the lines that could not be read; a caller
// reports them. The error is about the file itself.
func Load(path string) (records []Record, bad []*LineError, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open the store: %w", err)
	}
	defer f.Close()
	for r, err := range Read(f) {
		if line, ok := errors.AsType[*LineError](err); ok {
			bad = append(bad, line)
		} else if err != nil {
			return records, bad, fmt.Errorf("%s: %w", path, err)
		} else {
			records = append(records, r)
		}
	}
	return records, bad, nil
}

// Package wire is what the lab's host and the init of its guest say to each
// other: a job in the initramfs, and frames over a virtio serial port.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Names that both ends know.
const (
	Port    = "zclab"         // the virtio serial port
	JobPath = "/lab/job.json" // the Job in the guest
	Module  = "/lab/zcnic.ko" // absent on kernels it does not build for
)

// Job is what the guest runs, one step after the other.
type Job struct {
	Steps      []Step   `json:"steps"`
	TTY        bool     `json:"tty,omitempty"` // one step, on a terminal
	Rows       uint16   `json:"rows,omitempty"`
	Cols       uint16   `json:"cols,omitempty"`
	Env        []string `json:"env,omitempty"`
	ModuleArgs string   `json:"module_args,omitempty"`
	Driver     string   `json:"driver,omitempty"` // of the machine's NICs, which are then the pair
}

// Step is one command; Dir is where it runs, / when empty.
type Step struct {
	Argv []string `json:"argv"`
	Dir  string   `json:"dir,omitempty"`
}

// Kind says what a frame carries.
type Kind byte

// Frames from the guest.
const (
	Ready  Kind = 'R' // the pair is up; the payload says what it is
	Stdout Kind = 'o'
	Stderr Kind = 'e'
	Kmsg   Kind = 'k' // a line of the kernel log
	Exit   Kind = 'x' // the step's exit status, in decimal
	Failed Kind = 'f' // init could not do its part; says why
)

// Frames to the guest.
const (
	Stdin  Kind = 'i' // an empty one is the end
	Resize Kind = 'w' // rows and columns, two little-endian uint16
	Signal Kind = 's' // one byte, for the step's process group
)

// MaxPayload bounds a frame, so that a confused peer cannot ask for memory.
const MaxPayload = 1 << 16

// Writer writes frames; it may be shared between goroutines.
type Writer struct {
	mu sync.Mutex
	w  io.Writer
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Send writes p as one frame, or as several when it is long.
func (w *Writer) Send(k Kind, p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for first := true; first || len(p) > 0; first = false {
		n := min(len(p), MaxPayload)
		frame := make([]byte, 5+n)
		frame[0] = byte(k)
		binary.LittleEndian.PutUint32(frame[1:], uint32(n))
		copy(frame[5:], p[:n])
		if _, err := w.w.Write(frame); err != nil {
			return fmt.Errorf("write frame %c: %w", k, err)
		}
		p = p[n:]
	}
	return nil
}

// Stream is an io.Writer whose writes become frames of one kind.
func (w *Writer) Stream(k Kind) io.Writer { return stream{w, k} }

type stream struct {
	w *Writer
	k Kind
}

func (s stream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return len(p), s.w.Send(s.k, p)
}

// Read reads one frame. At the end of r, between frames, it returns io.EOF.
func Read(r io.Reader) (Kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > MaxPayload {
		return 0, nil, fmt.Errorf("frame %q of %d bytes is over the limit of %d", head[0], n, MaxPayload)
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		return 0, nil, fmt.Errorf("frame %q cut short: %w", head[0], err)
	}
	return Kind(head[0]), p, nil
}

// Encode returns the job as the guest reads it.
func (j Job) Encode() ([]byte, error) { return json.Marshal(j) }

// DecodeJob reads what Encode wrote.
func DecodeJob(b []byte) (Job, error) {
	var j Job
	if err := json.Unmarshal(b, &j); err != nil {
		return Job{}, fmt.Errorf("job: %w", err)
	}
	return j, nil
}

package wire

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
)

// Link frames messages on a byte stream. Reads come from one goroutine;
// writes may come from several.
type Link struct {
	rw    io.ReadWriteCloser
	r     *bufio.Reader
	limit int
	mu    sync.Mutex
	heart heart
	by    *net.Interface // that the peer was behind when beats began; nil: not known
	// reached says that this host had the link's address and a route to the peer then.
	reached bool
}

// NewLink frames messages over rw; a line longer than limit, in bytes, ends it.
func NewLink(rw io.ReadWriteCloser, limit int) *Link {
	l := &Link{rw: rw, limit: limit}
	l.r = bufio.NewReader(l)
	return l
}

// ErrGarbage is a peer that does not speak this protocol.
var ErrGarbage = errors.New("the peer does not speak the zcbench control protocol")

// Send sends a message whole, however long another takes before it.
func (l *Link) Send(m Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode control message: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(append(b, '\n'), m.Live == nil) // a screen that takes no more samples is no peer that is stuck
}

// write takes as long as the link takes it. Bounded, one that takes nothing ends it.
func (l *Link) write(b []byte, bounded bool) error {
	if !bounded {
		_, err := l.rw.Write(b)
		return err
	}
	defer l.setWriteDeadline(0)
	for len(b) > 0 {
		part := b[:min(len(b), 64<<10)]
		l.setWriteDeadline(OwedWait)
		if _, err := l.rw.Write(part); err != nil {
			return err
		}
		b = b[len(part):]
	}
	return nil
}

// SendError sends an error with its kind.
func (l *Link) SendError(err error) error {
	return l.Send(Message{Error: &failure{Kind: fault.Of(err), Text: err.Error()}})
}

// Goodbye tells another process that this one was interrupted: to it, that is a failure.
func (l *Link) Goodbye(why error) {
	if fault.Of(why) == fault.Interrupted && !l.Within() {
		l.LastWords(fault.Errorf(fault.Failed, "it was interrupted (%w)", why))
	}
}

// LastWords are for a peer that may not read, or not yet.
func (l *Link) LastWords(err error) {
	b, e := json.Marshal(Message{Error: &failure{Kind: fault.Of(err), Text: err.Error()}})
	if e != nil {
		return
	}
	l.setWriteDeadline(time.Second) // also for who writes now
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setWriteDeadline(time.Second)
	_, _ = l.rw.Write(append(b, '\n')) // it may have left
}

// Receive gives the next message. What is none is ErrGarbage.
func (l *Link) Receive() (Message, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		if len(line)+len(part) > l.limit {
			return Message{}, fmt.Errorf("%w: a line of over %d bytes", ErrGarbage, l.limit)
		}
		if len(line) == 0 && isBeat(part) {
			if len(part) == len(busyLine) {
				l.heart.told.Store(Monotonic())
			}
			continue
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return Message{}, fmt.Errorf("%w: it closed the link within a line", ErrGarbage)
		}
		return Message{}, err
	}
	return decode(line)
}

// ReceiveHello reads only what tells versions apart, so that a peer of any
// other version gets an answer that names both.
func (l *Link) ReceiveHello() (Hello, error) {
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return Hello{}, ErrGarbage
	}
	if err != nil {
		if len(line) > 0 {
			return Hello{}, ErrGarbage
		}
		return Hello{}, err
	}
	var m struct {
		Hello *Hello   `json:"hello"`
		Error *failure `json:"error"`
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return Hello{}, ErrGarbage
	}
	if m.Error != nil {
		return Hello{}, m.Error.Err()
	}
	if m.Hello == nil || m.Hello.Magic != Magic {
		return Hello{}, ErrGarbage
	}
	return *m.Hello, nil
}

// VersionError is that of a peer whose protocol is another.
func VersionError(theirs Hello, version string) error {
	return fault.Errorf(fault.Failed, "the peer is zcbench %q with control protocol %d, this is %q with %d: use the same zcbench on both ends",
		Clip(theirs.Version), theirs.Protocol, version, Protocol)
}

// MAC proves knowledge of the token over both nonces; who differs for each
// side so that one cannot be echoed as the other.
func MAC(token []byte, who string, driver, agent []byte) []byte {
	h := hmac.New(sha256.New, token)
	fmt.Fprintf(h, "zcbench/%d %s ", Protocol, who)
	h.Write(driver)
	h.Write(agent)
	return h.Sum(nil)
}

// SetDeadline bounds the next exchange on links that can be bounded.
func (l *Link) SetDeadline(d time.Duration) {
	if c, ok := l.rw.(interface{ SetDeadline(time.Time) error }); ok {
		t := time.Time{}
		if d > 0 {
			t = time.Now().Add(d)
		}
		_ = c.SetDeadline(t) // a closed link shows at the next read
	}
}

// TimedOut reports a deadline that passed.
func TimedOut(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// IsReset reports an error that a broken connection causes.
func IsReset(err error) bool {
	for _, e := range []error{unix.EPIPE, unix.ECONNRESET, unix.ENOTCONN, unix.ESHUTDOWN, unix.ECANCELED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// AddrOf is the address of one end of a link, where it has one.
func AddrOf(a net.Addr) netip.Addr {
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap().WithZone("")
}

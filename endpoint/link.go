package endpoint

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
)

// link frames messages on a byte stream. Reads come from one goroutine;
// writes may come from several.
type link struct {
	rw    io.ReadWriteCloser
	r     *bufio.Reader
	limit int
	mu    sync.Mutex
	heart heart
	by    *net.Interface // that the peer was behind when beats began; nil: not known
	// reached says that this host had the link's address and a route to the peer then.
	reached bool
}

func newLink(rw io.ReadWriteCloser, limit int) *link {
	l := &link{rw: rw, limit: limit}
	l.r = bufio.NewReader(l)
	return l
}

// errGarbage is a peer that does not speak this protocol.
var errGarbage = errors.New("the peer does not speak the zcbench control protocol")

func (l *link) send(m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode control message: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(append(b, '\n'), m.Live == nil) // a screen that takes no more samples is no peer that is stuck
}

// write takes as long as the link takes it. Bounded, one that takes nothing ends it.
func (l *link) write(b []byte, bounded bool) error {
	if !bounded {
		_, err := l.rw.Write(b)
		return err
	}
	defer l.setWriteDeadline(0)
	for len(b) > 0 {
		part := b[:min(len(b), 64<<10)]
		l.setWriteDeadline(owedWait)
		if _, err := l.rw.Write(part); err != nil {
			return err
		}
		b = b[len(part):]
	}
	return nil
}

func (l *link) sendError(err error) error {
	return l.send(message{Error: &failure{Kind: KindOf(err), Text: err.Error()}})
}

// goodbye tells another process that this one was interrupted: to it, that is a failure.
func (l *link) goodbye(why error) {
	if KindOf(why) == Interrupted && !l.within() {
		l.lastWords(Errorf(Failed, "it was interrupted (%w)", why))
	}
}

// lastWords are for a peer that may not read, or not yet.
func (l *link) lastWords(err error) {
	b, e := json.Marshal(message{Error: &failure{Kind: KindOf(err), Text: err.Error()}})
	if e != nil {
		return
	}
	l.setWriteDeadline(time.Second) // also for who writes now
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setWriteDeadline(time.Second)
	_, _ = l.rw.Write(append(b, '\n')) // it may have left
}

func (l *link) receive() (message, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		if len(line)+len(part) > l.limit {
			return message{}, fmt.Errorf("%w: a line of over %d bytes", errGarbage, l.limit)
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
			return message{}, fmt.Errorf("%w: it closed the link within a line", errGarbage)
		}
		return message{}, err
	}
	return decode(line)
}

// decodeHello reads only what tells versions apart, so that a peer of any
// other version gets an answer that names both.
func (l *link) receiveHello() (hello, error) {
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return hello{}, errGarbage
	}
	if err != nil {
		if len(line) > 0 {
			return hello{}, errGarbage
		}
		return hello{}, err
	}
	var m struct {
		Hello *hello   `json:"hello"`
		Error *failure `json:"error"`
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return hello{}, errGarbage
	}
	if m.Error != nil {
		return hello{}, m.Error.err()
	}
	if m.Hello == nil || m.Hello.Magic != magic {
		return hello{}, errGarbage
	}
	return *m.Hello, nil
}

func versionError(theirs hello, version string) error {
	return Errorf(Failed, "the peer is zcbench %q with control protocol %d, this is %q with %d: use the same zcbench on both ends",
		clip(theirs.Version), theirs.Protocol, version, Protocol)
}

// mac proves knowledge of the token over both nonces; who differs for each
// side so that one cannot be echoed as the other.
func mac(token []byte, who string, driver, agent []byte) []byte {
	h := hmac.New(sha256.New, token)
	fmt.Fprintf(h, "zcbench/%d %s ", Protocol, who)
	h.Write(driver)
	h.Write(agent)
	return h.Sum(nil)
}

// setDeadline bounds the next exchange on links that can be bounded.
func (l *link) setDeadline(d time.Duration) {
	if c, ok := l.rw.(interface{ SetDeadline(time.Time) error }); ok {
		t := time.Time{}
		if d > 0 {
			t = time.Now().Add(d)
		}
		_ = c.SetDeadline(t) // a closed link shows at the next read
	}
}

// timedOut reports a deadline that passed.
func timedOut(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// isReset reports an error that a broken connection causes.
func isReset(err error) bool {
	for _, e := range []error{unix.EPIPE, unix.ECONNRESET, unix.ENOTCONN, unix.ESHUTDOWN, unix.ECANCELED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// addrOf is the address of one end of a link, where it has one.
func addrOf(a net.Addr) netip.Addr {
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap().WithZone("")
}

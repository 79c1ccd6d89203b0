package wire

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"
)

// The MAC of one side must not pass for the other's, or for another nonce's.
func TestMAC(t *testing.T) {
	token := []byte("0123456789abcdef")
	a := MAC(token, "driver", []byte("n1"), []byte("n2"))
	for _, b := range [][]byte{
		MAC(token, "agent", []byte("n1"), []byte("n2")),
		MAC(token, "driver", []byte("n2"), []byte("n1")),
		MAC([]byte("0123456789abcdeg"), "driver", []byte("n1"), []byte("n2")),
	} {
		if string(a) == string(b) {
			t.Error("two different proofs are equal")
		}
	}
}

// Beats come between messages, never within.
func TestBeatsAmongMessages(t *testing.T) {
	ours, theirs := net.Pipe()
	l := NewLink(ours, MaxReply)
	go func() {
		w := bufio.NewWriter(theirs)
		for range 3 {
			_, _ = w.Write(beatLine)
		}
		_, _ = w.WriteString(`{"started":{}}` + "\n")
		_, _ = w.Write(beatLine)
		_, _ = w.WriteString(`{"clock":{"now":7}}` + "\n")
		_ = w.Flush()
		theirs.Close()
	}()
	if m, err := l.Receive(); err != nil || m.Started == nil {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := l.Receive(); err != nil || m.Clock == nil || m.Clock.Now != 7 {
		t.Errorf("%+v, %v", m, err)
	}
}

// An end that goes on after it was stopped may read that its peer left before the thread
// that beats wakes: that it was stopped is known all the same.
func TestStoppedIsKnownAtOnce(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	l := NewLink(ours, MaxReply)
	if text := l.Excuse(); text != "" {
		t.Errorf("of a link that does not beat: %s", text)
	}
	l.heart.next.Store(Monotonic() - int64(7*time.Second))
	if text := l.Excuse(); !strings.Contains(text, "this process itself did not run for 7.0 s until ") {
		t.Errorf("got %q", text)
	}
}

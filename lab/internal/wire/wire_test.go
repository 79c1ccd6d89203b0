package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestFramesComeBackInOrder(t *testing.T) {
	long := bytes.Repeat([]byte("x"), MaxPayload+3)
	var buf bytes.Buffer
	w := NewWriter(&buf)
	for _, p := range [][]byte{[]byte("one"), nil, long} {
		if err := w.Send(Stdout, p); err != nil {
			t.Fatal(err)
		}
	}
	want := [][]byte{[]byte("one"), {}, long[:MaxPayload], long[MaxPayload:]}
	for i, p := range want {
		k, got, err := Read(&buf)
		if err != nil || k != Stdout || !bytes.Equal(got, p) {
			t.Fatalf("frame %d: %c, %d bytes, %v; want %d bytes", i, k, len(got), err, len(p))
		}
	}
	if _, _, err := Read(&buf); err != io.EOF {
		t.Fatalf("at the end: %v, want io.EOF", err)
	}
}

func TestStreamSendsNoEmptyFrame(t *testing.T) {
	var buf bytes.Buffer
	if n, err := NewWriter(&buf).Stream(Stderr).Write(nil); n != 0 || err != nil || buf.Len() != 0 {
		t.Fatalf("empty write: n=%d err=%v sent %d bytes", n, err, buf.Len())
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a huge frame", "o\xff\xff\xff\xff", "over the limit"},
		{"a short payload", "o\x05\x00\x00\x00ab", "cut short"},
	} {
		if _, _, err := Read(strings.NewReader(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, _, err := Read(strings.NewReader("o\x05")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a short header: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("o\x01\x00\x00\x00a"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			if _, _, err := Read(r); err != nil {
				return
			}
		}
	})
}

func TestJobRoundTrip(t *testing.T) {
	j := Job{Steps: []Step{{Argv: []string{"sh", "-c", "true"}, Dir: "/tmp"}}, TTY: true, Rows: 24, Cols: 80, Env: []string{"A=b"}}
	b, err := j.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeJob(b)
	if err != nil || !reflect.DeepEqual(got, j) {
		t.Fatalf("got %+v, %v; want %+v", got, err, j)
	}
	if _, err := DecodeJob([]byte("{")); err == nil {
		t.Fatal("a torn job was accepted")
	}
}

package abi

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Bytes that Discard reports are gone, and the stream goes on after them.
func TestDiscard(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tx, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	rx, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer rx.Close()
	f, err := rx.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd()) // and with it blocking
	if _, err := tx.Write([]byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	if n, e := Discard(fd, 7, unix.MSG_WAITALL); n != 7 || e != 0 {
		t.Fatalf("discarded %d, %v, want 7", n, e)
	}
	b := make([]byte, 10)
	if n, e := Recv(fd, b, 0); string(b[:n]) != "789" || e != 0 {
		t.Errorf("got %q, %v, want 789", b[:n], e)
	}
}

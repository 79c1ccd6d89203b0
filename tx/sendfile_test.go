package tx

import (
	"testing"

	"golang.org/x/sys/unix"
)

// What the kernel sends by reference must not change under it.
func TestSealedFile(t *testing.T) {
	f, err := sealedFile([]byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := unix.Pwrite(int(f.Fd()), []byte("x"), 0); err != unix.EPERM {
		t.Errorf("write: %v, want EPERM", err)
	}
	if err := unix.Ftruncate(int(f.Fd()), 1); err != unix.EPERM {
		t.Errorf("truncate: %v, want EPERM", err)
	}
	b := make([]byte, 16)
	if n, err := unix.Pread(int(f.Fd()), b, 0); string(b[:max(n, 0)]) != "payload" {
		t.Errorf("read %q, %v", b[:max(n, 0)], err)
	}
}

package bounded

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, bytes.Repeat([]byte("a"), 10), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(path, 10); err != nil || len(b) != 10 {
		t.Errorf("%q %v", b, err)
	}
	for _, p := range []string{path, "/dev/zero"} { // the second has no size and no end
		if b, err := ReadFile(p, 9); err == nil || !strings.Contains(err.Error(), p+" is too large: more than 9 bytes") {
			t.Errorf("%s: %d bytes, %v", p, len(b), err)
		}
	}
	if _, err := ReadFile(path+"x", 9); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// A secret that others may read, or that others may have written, is none.
func TestReadSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o644: false, 0o604: false, 0o602: false, 0o660: false,
		0o601: false} {
		if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		b, err := ReadSecret(path)
		if (err == nil) != ok || ok && string(b) != "secret" || !ok && !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %#o: %q, %v", mode, b, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := ReadSecret("/dev/null"); err != nil || len(b) != 0 {
		t.Errorf("what is no file: %q, %v", b, err)
	}
}

// A pipe that nobody writes into holds nobody.
func TestEmptyPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := ReadFile(path, Small)
		done <- err
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it waits for a writer")
	}
}

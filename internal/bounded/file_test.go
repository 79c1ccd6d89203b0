package bounded

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

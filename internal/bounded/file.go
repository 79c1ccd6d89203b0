// Package bounded reads what people and other programs wrote, within limits:
// a file of the wrong kind, or one that was made to do harm, costs a line of
// error and neither minutes nor memory.
package bounded

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of what is read whole.
const (
	Small = 1 << 20  // what people write: specs, profiles, tokens, keys
	Large = 64 << 20 // what zcbench writes of hosts and experiments
)

// ReadFile is os.ReadFile for a file of at most limit bytes.
func ReadFile(path string, limit int64) ([]byte, error) {
	// A pipe that nobody writes into would hold an open, and a read, for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_ = f.SetReadDeadline(time.Now().Add(patience)) // a plain file has none, and needs none
	// Its size says nothing of a device or a pipe.
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is too large: more than %d bytes", path, limit)
	}
	return b, nil
}

// patience is for how long a pipe may say nothing before it is given up.
const patience = 10 * time.Second

// ReadSecret is ReadFile for a small file that only this user, or a group that it
// was given to, may read.
func ReadSecret(path string) ([]byte, error) {
	if i, err := os.Stat(path); err == nil && i.Mode().IsRegular() && i.Mode().Perm()&0o027 != 0 {
		return nil, fmt.Errorf("%s is not secret, for its mode is %#o: chmod 600 %s, and make a new one if others may have read it", path,
			i.Mode().Perm(), path)
	}
	return ReadFile(path, Small)
}

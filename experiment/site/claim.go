package site

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
	"zcbench/ringcfg"
)

// Claim holds this host, that is its network namespace, for a ticket. Another agent of
// this user that is asked for the same ticket is let in beside the first.
func Claim(ticket string) (io.Closer, error) {
	dir, err := ringcfg.Journal("").Dir()
	if err != nil {
		return nil, fmt.Errorf("keep other controllers away: %w", err)
	}
	return claimIn(dir, ticket)
}

// claimWait is for who has just taken the lock and not yet written its ticket.
const claimWait = 200 * time.Millisecond

// claimIn takes a lock in a directory that is this user's alone: what others could
// hold, they could keep everybody out with. The kernel lets go of it when the process
// ends, however it does.
func claimIn(dir, ticket string) (io.Closer, error) {
	if len(ticket) != ticketLength {
		return nil, fault.Errorf(fault.Usage, "a ticket has %d characters", ticketLength)
	}
	var ns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &ns); err != nil {
		return nil, fmt.Errorf("keep other controllers away: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("agent-%d.lock", ns.Ino))
	for end := time.Now().Add(claimWait); ; time.Sleep(claimWait / 20) {
		c, err := claimFile(path, ticket)
		if err != nil {
			return nil, fmt.Errorf("keep other controllers away: %w", err)
		}
		if c != nil {
			return c, nil
		}
		if time.Now().After(end) {
			return nil, fault.Errorf(fault.Denied, "another controller runs an experiment there: wait until it is over")
		}
	}
}

// claimFile tries once; nil is that another ticket has it, or had it just now.
func claimFile(path, ticket string) (_ io.Closer, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if !keep {
			f.Close()
		}
	}()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		theirs := make([]byte, ticketLength)
		if _, err := f.ReadAt(theirs, 0); err == nil && string(theirs) == ticket {
			keep = true
			return f, nil
		}
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	mine, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if there, err := os.Stat(path); err != nil || !os.SameFile(mine, there) {
		return nil, nil // who had it has just removed it
	}
	if _, err := f.WriteAt([]byte(ticket), 0); err != nil {
		return nil, err
	}
	keep = true
	return held{f}, nil
}

// held is the lock, which leaves nothing behind.
type held struct{ *os.File }

func (h held) Close() error { return errors.Join(os.Remove(h.Name()), h.File.Close()) }

const ticketLength = 26 // of crypto/rand.Text

package cpuclock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stored is a calibration with what it holds for.
type stored struct {
	Key  key       `json:"key"`
	Time time.Time `json:"time"`
	Calibration
}

// key is what decides which clock is right, as far as it can be seen. Another
// boot, kernel, view of /proc/stat (a container may have one of its own) or right
// to use a method takes another calibration.
type key struct {
	Boot    string   `json:"boot"`
	Kernel  string   `json:"kernel"`
	Stat    uint64   `json:"stat_device"`
	Methods []string `json:"methods"`
}

// soon is for how long a guess is kept: noise may be less then.
const soon = time.Minute

// lockWait is how long another process that calibrates is waited for.
const lockWait = 10 * time.Second

// For gives the calibration that holds here: the one that is kept in a directory
// of this user, or a new one, which takes one to five seconds of one of cpus.
func For(ctx context.Context, dir string, cpus, allowed []int) (Calibration, error) {
	here, err := place(cpus)
	if err != nil {
		return Calibration{}, err
	}
	path := filepath.Join(dir, "cpuclock.json")
	if c, ok := restore(path, here); ok {
		return c, nil
	}
	// Both ends of a run on one host would disturb each other.
	unlock, err := lock(ctx, path+".lock")
	if err != nil {
		return Calibration{}, err
	}
	defer unlock()
	if c, ok := restore(path, here); ok {
		return c, nil
	}
	among := slices.DeleteFunc(slices.Clone(cpus), func(n int) bool { return !slices.Contains(allowed, n) })
	if len(among) == 0 {
		among = allowed
	}
	c, err := calibrate(among, allowed)
	if err != nil {
		return c, err
	}
	// A directory that cannot be written to costs the next run a calibration.
	_ = keep(path, stored{here, time.Now(), c})
	return c, nil
}

func place(cpus []int) (k key, err error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return k, err
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return k, fmt.Errorf("uname: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/stat", &st); err != nil {
		return k, fmt.Errorf("/proc/stat: %w", err)
	}
	k = key{
		Boot:   strings.TrimSpace(string(boot)),
		Kernel: unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Version[:]),
		Stat:   st.Dev,
	}
	k.Methods = available("/", cpus)
	return k, nil
}

// restore reads what keep wrote. A file that is not this user's own, that is of
// another place or that makes no sense is as good as none.
func restore(path string, here key) (c Calibration, ok bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return c, false
	}
	defer f.Close()
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || int(st.Uid) != os.Geteuid() || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o022 != 0 {
		return c, false
	}
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(f, most))
	var s stored
	if err != nil || json.Unmarshal(b, &s) != nil {
		return c, false
	}
	k := s.Key
	if k.Boot != here.Boot || k.Kernel != here.Kernel || k.Stat != here.Stat || !slices.Equal(k.Methods, here.Methods) {
		return c, false
	}
	known := func(name string) bool { return slices.Contains(here.Methods, name) }
	if !known(s.Method) || s.Second != "" && !known(s.Second) || !(s.Error >= 0 && s.Error <= 200) {
		return c, false
	}
	if age := time.Since(s.Time); s.Noisy && (age < 0 || age > soon) {
		return c, false
	}
	return s.Calibration, true
}

// keep writes a file that is whole at any time.
func keep(path string, s stored) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// lock waits its turn, not for ever: two that calibrate at once find much noise,
// and say so.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return func() {}, nil // nothing can be kept there either
	}
	for end := time.Now().Add(lockWait); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(end) {
			return func() { f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

package ringcfg

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// runDir is where the journal is for who may write there: the next boot
// forgets it, as it forgets the settings.
const runDir = "/run/zcbench"

// Dir is the directory that the journal is written to, made if need be: the one that
// a journal is in already, so that all changes of an interface are in one, else the
// first that can be written. What lies in it is carried out with this user's rights,
// so it must be this user's own, and nobody else but root may be able to put another
// in its place. It fails where a journal is in one that cannot be written: what it
// holds would be lost to those who look at what was before.
func (j Journal) Dir() (string, error) {
	held, err := j.held()
	if err != nil {
		return "", err
	}
	used := ""
	for _, dir := range held {
		for _, path := range files(dir) {
			if strings.HasSuffix(path, unborn) {
				continue // it holds nothing
			}
			if err := blocked(path); err != nil {
				return "", err
			}
			used = cmp.Or(used, dir)
		}
	}
	if used != "" {
		return used, nil
	}
	me, err := identify()
	if err != nil {
		return "", err
	}
	all, err := j.places(me)
	if err != nil {
		return "", err
	}
	dir := all[0]
	if len(all) > 1 && (os.MkdirAll(dir, 0o700) != nil || unix.Access(dir, unix.W_OK) != nil) {
		dir = all[1]
	}
	if err := me.own(dir, true); err != nil {
		hint := ""
		if j == "" {
			hint = "; point XDG_RUNTIME_DIR at a directory of your own"
		}
		return "", fmt.Errorf("the journal's directory %s: %w%s", dir, err, hint)
	}
	return dir, nil
}

// places are the directories where a journal may be, in the order in which they are
// tried. Which of them could be written when it was begun need not be so now, nor need
// the environment be the same, as under sudo.
func (j Journal) places(me user) (all []string, err error) {
	list := []string{string(j)}
	if j == "" {
		list = []string{runDir}
		for _, dir := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.Getenv("TMPDIR"), "/tmp", fmt.Sprintf("/run/user/%d", me.outside)} {
			if dir != "" {
				list = append(list, filepath.Join(dir, fmt.Sprintf("zcbench-%d", me.outside)))
			}
		}
	}
	for _, dir := range list {
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, fmt.Errorf("the journal's directory: %w", err)
		}
		if !slices.Contains(all, dir) {
			all = append(all, dir)
		}
	}
	return all, nil
}

// held are those places that are there and are this user's own. One that is not is
// no place of this user's journal, and what is in it is not obeyed.
func (j Journal) held() (own []string, err error) {
	me, err := identify()
	if err != nil {
		return nil, err
	}
	all, err := j.places(me)
	if err != nil {
		return nil, err
	}
	for _, dir := range all {
		err := me.own(dir, false)
		var st unix.Stat_t
		switch {
		case err == nil:
			own = append(own, dir)
		case j != "" && !errors.Is(err, fs.ErrNotExist), unix.Lstat(dir, &st) == nil && int(st.Uid) == os.Geteuid() && len(files(dir)) > 0:
			return nil, fmt.Errorf("the journal's directory %s: %w", dir, err)
		}
	}
	return own, nil
}

// files are the journal files of a directory.
func files(dir string) []string {
	return slices.Concat(glob(filepath.Join(dir, "*.journal")), glob(filepath.Join(dir, "*"+damaged)), glob(filepath.Join(dir, "*"+unborn)))
}

// blocked says why a journal file cannot be gone on with, if it cannot: what is put
// back is noted in it, under a lock beside it, and it is removed in the end.
func blocked(path string) error {
	for _, what := range []string{filepath.Dir(path), path} {
		switch err := unix.Access(what, unix.W_OK); {
		case errors.Is(err, fs.ErrNotExist): // its process has just ended
		case err != nil:
			return fmt.Errorf("the journal %s holds what is to be put back, and cannot be worked on: %s: %w (make it writable, and run zcbench "+
				"tune restore)", path, what, err)
		}
	}
	return nil
}

// user is who this process acts as.
type user struct {
	outside int // the user ID that others know it by, outside of its user namespace
	// trusted owners of directories: itself and root. A user namespace shows
	// root as it shows all whom it does not know.
	trusted []uint32
}

func identify() (user, error) {
	u := user{outside: os.Geteuid(), trusted: []uint32{0, uint32(os.Geteuid())}}
	b, err := os.ReadFile("/proc/self/uid_map")
	if errors.Is(err, fs.ErrNotExist) {
		return u, nil // a kernel without user namespaces
	}
	if err != nil {
		return u, fmt.Errorf("find out who this user is: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		var inside, outside, n int
		if _, err := fmt.Sscan(line, &inside, &outside, &n); err != nil {
			return u, fmt.Errorf("find out who this user is: /proc/self/uid_map: %w", err)
		}
		if inside == 0 && outside == 0 && n == 1<<32-1 {
			return u, nil
		}
		if id := os.Geteuid(); id >= inside && id-inside < n {
			u.outside = id - inside + outside
		}
	}
	unknown := uint32(65534)
	if text, err := readFile("/proc/sys/kernel/overflowuid"); err == nil {
		if _, err := fmt.Sscan(text, &unknown); err != nil {
			return u, fmt.Errorf("find out who this user is: /proc/sys/kernel/overflowuid: %w", err)
		}
	}
	u.trusted = append(u.trusted, unknown)
	return u, nil
}

// mostLinks is how many symbolic links a path may lead through, as in the kernel.
const mostLinks = 40

// own walks down an absolute path and checks that only the user and root can have
// chosen what is found at its end. What is missing it makes, if it is told to.
func (u user) own(path string, mk bool) error {
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	at, err := unix.Open("/", flags, 0)
	if err != nil {
		return fmt.Errorf("open /: %w", err)
	}
	defer func() { unix.Close(at) }()
	rest := split(path)
	walked := "/"
	for links := 0; ; {
		var dir unix.Stat_t
		if err := unix.Fstat(at, &dir); err != nil {
			return fmt.Errorf("%s: %w", walked, err)
		}
		if len(rest) == 0 {
			return u.checkOwn(walked, &dir)
		}
		if err := u.checkParent(walked, &dir); err != nil {
			return err
		}
		name := rest[0]
		rest = rest[1:]
		next, err := unix.Openat(at, name, flags, 0)
		if err == unix.ENOENT && mk {
			if err = unix.Mkdirat(at, name, 0o700); err == nil || err == unix.EEXIST {
				next, err = unix.Openat(at, name, flags, 0)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(walked, name), err)
		}
		var st unix.Stat_t
		err = unix.Fstat(next, &st)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			// Where others may make links too, theirs are not told from root's.
			if links++; links > mostLinks || dir.Mode&0o022 != 0 {
				unix.Close(next)
				return fmt.Errorf("%s is a symbolic link", filepath.Join(walked, name))
			}
			buf := make([]byte, unix.PathMax)
			var n int
			n, err = unix.Readlinkat(next, "", buf)
			unix.Close(next)
			if err != nil {
				return fmt.Errorf("%s: %w", filepath.Join(walked, name), err)
			}
			to := string(buf[:n])
			if !filepath.IsAbs(to) {
				to = filepath.Join(walked, to)
			}
			rest = append(split(to), rest...)
			walked = "/"
			next, err = unix.Open("/", flags, 0)
		} else {
			walked = filepath.Join(walked, name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", walked, err)
		}
		unix.Close(at)
		at = next
	}
}

func split(path string) []string {
	return slices.DeleteFunc(strings.Split(filepath.Clean(path), "/"), func(s string) bool { return s == "" })
}

// checkParent wants a directory in which others can put nothing in the place of
// what is there.
func (u user) checkParent(path string, st *unix.Stat_t) error {
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%s is no directory", path)
	case !slices.Contains(u.trusted, st.Uid):
		return fmt.Errorf("%s belongs to user %d, who could put another in its place", path, st.Uid)
	case st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0:
		return fmt.Errorf("%s may be written by others (mode %04o)", path, st.Mode&0o7777)
	}
	return nil
}

func (u user) checkOwn(path string, st *unix.Stat_t) error {
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%s is no directory", path)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, not to this one", path, st.Uid)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("%s may be written by others (mode %04o)", path, st.Mode&0o7777)
	}
	return nil
}

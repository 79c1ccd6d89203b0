package feature

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRefused(t *testing.T) {
	for errno, want := range map[unix.Errno]Answer{
		unix.ENOMEM: Unknown, unix.EMFILE: Unknown, unix.ENFILE: Unknown, unix.EAGAIN: Unknown, unix.ENOBUFS: Unknown,
		unix.ENOENT: No, unix.EOPNOTSUPP: No, unix.EPERM: No, unix.ENOSYS: No, unix.EINVAL: No,
	} {
		if v := Refused(fmt.Errorf("make it: %w", errno), "another kernel"); v.Answer != want {
			t.Errorf("%v: %+v, want %s", errno, v, want)
		}
	}
}

package fault

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOf(t *testing.T) {
	lacks := Errorf(Unsupported, "no queues: %w", unix.EOPNOTSUPP)
	failed := errors.New("put back mtu")
	for name, c := range map[string]struct {
		err  error
		want Kind
	}{
		"plain":                       {failed, Failed},
		"passed on":                   {fmt.Errorf("eth0: %w", lacks), Unsupported},
		"given another kind":          {Errorf(Usage, "--iface: %w", lacks), Usage},
		"beside what it is a case of": {fmt.Errorf("%w: %w", io.EOF, Errorf(Usage, "x")), Usage},
		"the first of two":            {errors.Join(Errorf(Unreachable, "a"), Errorf(Usage, "b")), Unreachable},
		"two that lack":               {errors.Join(lacks, lacks), Unsupported},
		"lacks, and failed":           {errors.Join(lacks, failed), Failed},
		"failed, and lacks":           {errors.Join(failed, lacks), Failed},
		"lacks, and no answer":        {errors.Join(lacks, Errorf(Unreachable, "b")), Unreachable},
		"lacks, and failed, deeper":   {fmt.Errorf("a: %w", errors.Join(fmt.Errorf("b: %w", lacks), failed)), Failed},
		"failed, and called lacking":  {Errorf(Unsupported, "a: %w", errors.Join(lacks, failed)), Failed},
		"no memory":                   {Errorf(Unsupported, "a: %w", unix.ENOMEM), Failed},
		"no descriptors":              {Wrap(Unsupported, &os.PathError{Op: "open", Path: "/dev/x", Err: unix.EMFILE}), Failed},
		"no descriptors to look with": {Errorf(Usage, "interface eth0: %w", os.NewSyscallError("socket", unix.EMFILE)), Failed},
		"interrupted, and failed":     {errors.Join(Errorf(Interrupted, "a"), failed), Interrupted},
	} {
		if got := Of(c.err); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if c.err = fmt.Errorf("around: %w", c.err); Of(c.err) != c.want {
			t.Errorf("%s, passed on: %s, want %s", name, Of(c.err), c.want)
		}
	}
	if !errors.Is(lacks, unix.EOPNOTSUPP) || lacks.Error() != "no queues: operation not supported" {
		t.Errorf("%v has lost its cause", lacks)
	}
	if e, ok := errors.AsType[*Error](fmt.Errorf("around: %w", lacks)); !ok || e != lacks {
		t.Errorf("%v is not found", lacks)
	}
	if Known(failed) || Known(nil) || !Known(lacks) {
		t.Error("only what has a kind is known to have one")
	}
}

// TestKinds: exit codes there and back, and names that another build may send.
func TestKinds(t *testing.T) {
	for _, k := range []Kind{Usage, Unsupported, Denied, Unreachable, Failed, PeerGone, Interrupted} {
		want := k
		if k == Denied || k == PeerGone {
			want = Failed
		}
		if got := OfExit(k.Exit()); got != want {
			t.Errorf("exit code %d of %s is %s's", k.Exit(), k, got)
		}
		if Named(k) != k {
			t.Errorf("%s is not known by its name", k)
		}
	}
	if OfExit(77) != Failed || Named("skipped") != Failed || Kind("skipped").Exit() != 1 {
		t.Error("what is not known has not failed")
	}
}

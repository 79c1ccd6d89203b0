package ringcfg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// providerWait is how long a memory provider that is going may still block
// changes of its queue: io_uring frees one a while after its process died.
const providerWait = 10 * time.Second

// undo puts back the changes that this session made.
func (s *session) undo(ctx context.Context) ([]Drift, error) {
	var all []Drift
	var errs []error
	for i := len(s.made) - 1; i >= 0; i-- {
		drift, err := s.undoChange(ctx, s.made[i])
		all = append(all, drift...)
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// undoChange puts back one change and what the kernel changed along with it.
//
// A change that is known to have been done is put back where nobody has
// changed it since. One in doubt, because its process was killed in the
// middle of it, has no record of what it led to: then everything in its group
// that is not as before is put back.
func (s *session) undoChange(ctx context.Context, c *change) ([]Drift, error) {
	f, _, err := familyOf(c.Family + ".")
	if err != nil {
		return nil, err
	}
	now, err := s.h.snapshot(f.group)
	if err != nil {
		return nil, err
	}
	names := c.after.names()
	if c.after == nil {
		names = differing(c.Before, now)
	}
	ours := Settings{}
	var drift []Drift
	for _, name := range names {
		switch {
		case now[name] == c.Before[name]:
		case c.after != nil && now[name] != c.after[name]:
			drift = append(drift, Drift{name, c.Before[name], c.after[name], now[name]})
		default:
			ours[name] = c.Before[name]
		}
	}
	if len(ours) > 0 {
		if err := s.book.write(entry{Undo: &c.number}); err != nil {
			return drift, err
		}
		if err := s.putBack(ctx, f, ours); err != nil {
			return drift, err
		}
	}
	if err := s.book.write(entry{Undone: &c.number}); err != nil {
		return drift, err
	}
	c.undone = true
	return drift, nil
}

// putBack writes values of one group: those of f first, because the others
// may have followed from them, then what is still not as it should be.
func (s *session) putBack(ctx context.Context, f family, want Settings) error {
	if (f.name == "ring" || f.name == "channels") && !s.waited {
		s.waitForProviders(ctx)
		s.waited = true
	}
	order := []family{f}
	for _, g := range families {
		if g.group == f.group && g.name != f.name {
			order = append(order, g)
		}
	}
	var errs []error
	var left []string
	// A value put back may move another one; the second round catches it.
	for range 3 {
		errs = nil
		now, err := s.h.snapshot(f.group)
		if err != nil {
			return err
		}
		for _, g := range order {
			set := Settings{}
			for name, value := range want {
				if strings.HasPrefix(name, g.name+".") && now[name] != value {
					set[name] = value
				}
			}
			if len(set) == 0 {
				continue
			}
			if err := g.write(s.h, set); err != nil {
				errs = append(errs, explain(g, err))
			}
			if now, err = s.h.snapshot(f.group); err != nil {
				return err
			}
		}
		left = nil
		for _, name := range want.names() {
			if now[name] != want[name] {
				left = append(left, fmt.Sprintf("%s is %q and was %q", name, now[name], want[name]))
			}
		}
		if len(left) == 0 {
			return nil
		}
	}
	return errors.Join(append(errs, fmt.Errorf("could not put back: %s (put it right and run: zcbench tune restore)", strings.Join(left, "; ")))...)
}

// waitForProviders waits until no queue has a memory provider, for a limited
// time: one of another application may stay, and the kernel then says whether
// it is in the way.
func (s *session) waitForProviders(ctx context.Context) {
	if s.h.dev == nil {
		return
	}
	for end := time.Now().Add(providerWait); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		queues, err := s.h.dev.Queues(s.h.index)
		if err != nil {
			return
		}
		busy := false
		for _, q := range queues {
			busy = busy || q.DMABuf != 0 || q.IOUring
		}
		if !busy {
			return
		}
	}
}

package ringcfg

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// providerWait is how long a memory provider that is going may still block
// changes of its queue: io_uring frees one a while after its process died.
const providerWait = 10 * time.Second

// undo puts back the changes that this session made, of an interface where it is now:
// it may have been moved to another network namespace meanwhile. Where one could not be
// undone, those before it that it may cover stay too.
func (s *session) undo(ctx context.Context) ([]Drift, error) {
	var all []Drift
	var errs []error
	stuck := map[string]bool{}
	for _, c := range slices.Backward(s.made) {
		f, _, err := familyOf(c.Family)
		if err == nil && !stuck[f.group] {
			h := s.h
			if f.group == device {
				h, _, err = s.findDevice(c)
			}
			switch {
			case err != nil:
			case h == nil: // it is gone, and its settings with it
				s.book.note(entry{Undone: &c.number})
				c.undone = true
			default:
				var done Restored
				done, err = s.undoChange(ctx, h, c)
				all = append(all, done.Drift...)
			}
			stuck[f.group] = err != nil
		}
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// removable says that a setting can be made not to exist, and to exist again.
// Others come and go with what they belong to, such as channels.
func removable(name string) bool {
	return strings.HasPrefix(name, "flow.") || strings.HasPrefix(name, "rss.context-") || name == ipv6MTU
}

// undoChange puts back one change and what the kernel changed along with it,
// on the host that it was made to.
//
// A change that is known to have been done is put back where nobody has
// changed it since. One in doubt, because its process was killed in the
// middle of it, has no record of what it led to: then everything in its group
// that is not as before is put back, and what may be so without reading so.
//
// It does so also where the journal takes no more notes, for want of space:
// what is put back already does no harm a second time.
func (s *session) undoChange(ctx context.Context, h *host, c *change) (done Restored, err error) {
	f, _, err := familyOf(c.Family)
	if err != nil {
		return done, err
	}
	now, err := h.snapshot(f.group)
	if err != nil {
		return done, err
	}
	names := c.after.names()
	if c.after == nil {
		names = differing(c.Before, now)
		for _, name := range c.Set.names() {
			if untold(name, c.Set[name]) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	of := h.of(f.name + ".")
	ours := Settings{}
	for _, name := range names {
		was := c.Before[name]
		if c.Set[name] != "" && untold(name, c.Set[name]) && was != "" && was != "auto" {
			was = unset(was)
		}
		switch {
		case now[name] == was:
		case was == "" && !removable(name):
		case now[name] == "" && !removable(name):
			ours[name] = was // if it comes back, with what it belongs to
		case c.after != nil && now[name] != c.after[name]:
			done.Drift = append(done.Drift, Drift{of, name, was, c.after[name], now[name]})
		case s.book.sealed && c.after == nil && c.Set[name] != now[name]:
			// Damage may have taken the note that it was undone.
		default:
			ours[name] = was
		}
	}
	if len(ours) > 0 {
		s.book.note(entry{Undo: &c.number})
		if err := s.putBack(ctx, h, f, ours, c.Set); err != nil {
			return done, err
		}
		for _, name := range ours.names() {
			if now[name] != "" || removable(name) {
				done.Changes = append(done.Changes, PutBack{of, Change{name, now[name], ours[name]}})
			}
		}
	}
	s.book.note(entry{Undone: &c.number})
	c.undone = true
	return done, nil
}

// putBack writes values of one group: those of f first, because the others
// may have followed from them, then what is still not as it should be. Of what
// does not exist now only what was set must come back.
func (s *session) putBack(ctx context.Context, h *host, f family, want, set Settings) error {
	if (f.name == "ring" || f.name == "channels") && !s.waited {
		waitForProviders(ctx, h)
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
	for round := range 3 {
		errs = nil
		now, err := h.snapshot(f.group)
		if err != nil {
			return err
		}
		for _, g := range order {
			part := Settings{}
			for name, value := range want {
				if strings.HasPrefix(name, g.name+".") && (!reads(now[name], value) || now[name] != value && round == 0) &&
					(now[name] != "" || removable(name)) {
					part[name] = value
				}
			}
			if len(part) == 0 {
				continue // a snapshot is what takes time, of a NIC with many queues above all
			}
			errs = append(errs, g.writeEach(h, part))
			if now, err = h.snapshot(f.group); err != nil {
				return err
			}
		}
		left = nil
		for _, name := range want.names() {
			switch {
			case reads(now[name], want[name]):
			case now[name] != "" || removable(name):
				left = append(left, fmt.Sprintf("%s is %q and was %q", name, now[name], want[name]))
			case set[name] != "":
				left = append(left, fmt.Sprintf("%s does not exist now (it may be back when the interface is up) and was %q", name, want[name]))
			}
		}
		if len(left) == 0 {
			return nil
		}
	}
	of := ""
	if h.iface != "" {
		of = h.iface + ": "
	}
	return errors.Join(append(errs, fmt.Errorf("%scould not put back: %s (put it right and run zcbench tune restore; "+
		"to leave it as it is: zcbench tune journal --forget %s)", of, strings.Join(left, "; "), filepath.Base(s.path)))...)
}

// reads says that a setting is as it was wanted back.
func reads(now, want string) bool { return now == want || want == unset(now) }

// writeEach writes settings together, or, if that fails, as many of them as can
// be written one by one.
func (f family) writeEach(h *host, set Settings) error {
	if len(set) == 0 {
		return nil
	}
	err := f.write(h, set)
	if err == nil || len(set) == 1 {
		return h.explain(f, set, err)
	}
	var errs []error
	for _, name := range set.names() {
		errs = append(errs, h.explain(f, Settings{name: set[name]}, f.write(h, Settings{name: set[name]})))
	}
	return errors.Join(errs...)
}

// waitForProviders waits until no queue has a memory provider, for a limited
// time: one of another application may stay, and the kernel then says whether
// it is in the way.
func waitForProviders(ctx context.Context, h *host) {
	if h.dev == nil {
		return
	}
	for end := time.Now().Add(providerWait); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		queues, err := h.dev.Queues(h.index)
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

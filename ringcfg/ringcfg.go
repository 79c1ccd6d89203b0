// Package ringcfg brings a NIC and its host into the state that a run needs,
// proves that it got there, and puts every value back as it was, even after
// the process was killed.
package ringcfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"zcbench/internal/answers"
	"zcbench/internal/fault"
	"zcbench/internal/genl/ethtool"
)

// Want is the state that a run needs.
type Want struct {
	// Interface in the network namespace of the calling thread; empty when
	// only the host is concerned.
	Interface string
	// Settings by canonical name ("ring.rx"), short name ("gro-hw") or
	// pattern ("cpu.*.governor").
	Settings map[string]string
	// Optional are the same, but what this host does not have is skipped.
	Optional map[string]string
	// Queues is how many receive queues are to be kept for Flows alone, so
	// that a memory provider can be bound to them.
	Queues int
	// Flows are steered to those queues, flow i to queue i modulo Queues.
	// When they are fewer than the queues, each spreads over all queues by
	// its hash.
	Flows []ethtool.Match
	// Keep leaves the state in place, until Restore, when the process ends.
	Keep bool
	// Wait is how long to wait for another process to let go.
	Wait time.Duration
}

// Change is a setting that Apply changes; "" is a thing that does not exist.
type Change struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Grant is what a run got.
type Grant struct {
	Queues  []uint32 // kept for the flows
	Context uint32   // RSS context over Queues, 0: none was needed
	Changes []Change
	Moved   []Change // by the kernel or the driver along with Changes; Restore puts them back too
	Skipped []string // optional settings that this host does not have
}

// Drift is a setting that somebody else changed after us; it is left alone.
type Drift struct {
	Interface string // by its name now; "": the host
	Name      string
	Was       string // before us
	Set       string // by us
	Is        string
}

// String tells the drift in a sentence.
func (d Drift) String() string {
	return fmt.Sprintf("%s: %s was %q before zcbench set %q, and is %q now: somebody else changed it, so it is left as it is; if nobody "+
		"wants that, set %q by hand",
		cmp.Or(d.Interface, "the host"), d.Name, d.Was, d.Set, d.Is, d.Was)
}

// Undo puts back what an Apply changed, last change first, and lets go of the
// interface. Calling it again does nothing. What a dying ctx cuts short is
// left to Restore.
type Undo func(ctx context.Context) ([]Drift, error)

// Apply brings about what is wanted and gives the way back, which is nil when
// w.Keep. When it fails it has put back what it did. What an earlier process
// was killed over is put back first.
func Apply(ctx context.Context, w Want, j Journal) (Grant, Undo, error) {
	s, err := begin(w.Interface, j, w.Wait)
	if err != nil {
		return Grant{}, nil, err
	}
	if err := s.recover(ctx); err != nil {
		s.close()
		return Grant{}, nil, err
	}
	grant, err := s.apply(ctx, w)
	if err == nil && w.Keep {
		if err = s.book.write(entry{Kept: true}); err == nil {
			return grant, nil, s.close()
		}
	}
	if err != nil {
		s.rename()
		drift, uerr := s.undo(context.WithoutCancel(ctx))
		for _, d := range drift {
			uerr = errors.Join(uerr, errors.New(d.String()))
		}
		return Grant{}, nil, errors.Join(err, uerr, s.close())
	}
	return grant, s.undoOnce(), nil
}

func (s *session) undoOnce() Undo {
	done := false
	return func(ctx context.Context) ([]Drift, error) {
		if done {
			return nil, nil
		}
		done = true
		s.rename()
		var moved []Drift
		var merr error
		if s.here() {
			moved, merr = s.moved()
		}
		drift, err := s.undo(ctx)
		if err == nil { // else it tells of the same
			err = merr
		}
		return append(moved, drift...), errors.Join(err, s.close())
	}
}

// here says whether the interface is where it was, and not deleted, or moved to another
// network namespace.
func (s *session) here() bool {
	if s.h.iface == "" {
		return true
	}
	_, err := s.h.device()
	return !errors.Is(err, unix.ENODEV)
}

// rename gives the interface the name that it has now: it may have another one since it
// was opened, and is told by its number.
func (s *session) rename() {
	if s.h.iface == "" {
		return
	}
	if d, err := s.h.device(); err == nil { // else what is read of it next says so
		s.h.iface = d.Attrs().Name
	}
}

// Planned is what Apply would do.
type Planned struct {
	Changes []Change
	Skipped []string // optional settings, with the reason where there is more to say than that this host has none
	Refused error    // what Apply would fail with, as far as that can be known without a write
}

// Plan lists what Apply would change by w.Settings and w.Optional, and
// changes nothing.
func Plan(w Want) (Planned, error) { return PlanFrom(nil, w) }

// PlanFrom is Plan where another than the kernel may answer what the interface is
// asked.
func PlanFrom(from *answers.Source, w Want) (p Planned, err error) {
	h, err := hereFrom(from, w.Interface)
	if err != nil {
		return p, err
	}
	defer h.close()
	h.addSysctls(slices.Concat(slices.Collect(maps.Keys(w.Settings)), slices.Collect(maps.Keys(w.Optional))))
	now, err := h.all()
	if err != nil {
		return p, err
	}
	r, err := h.resolve(w, now)
	if err != nil {
		return p, err
	}
	skipped, refused := h.refusal(r, false)
	p.Refused = refused
	p.Skipped = r.skipped
	if h.wantsGRO() && r.set["ring"][headerSplit] == "on" && now[hwGRO] == "off" && r.wanted[hwGRO] == "" {
		first := h.beforeGRO(now)
		for _, name := range first.names() {
			if r.wanted[name] == "" {
				p.Changes = append(p.Changes, Change{name, now[name], first[name]})
			}
		}
		p.Changes = append(p.Changes, Change{hwGRO, "off", "on"})
	}
	for _, f := range families {
		for _, name := range r.set[f.name].names() {
			if why := skipped[name]; why != "" {
				p.Skipped = append(p.Skipped, fmt.Sprintf("%s (%s)", name, why))
				continue
			}
			p.Changes = append(p.Changes, Change{name, now[name], r.set[f.name][name]})
		}
	}
	return p, nil
}

// Snapshot reads all settings of the host and, unless it is empty, of an
// interface in the network namespace of the calling thread.
func Snapshot(iface string) (Settings, error) {
	h, err := here(iface)
	if err != nil {
		return nil, err
	}
	defer h.close()
	return h.snapshot("")
}

func here(iface string) (*host, error) { return hereFrom(nil, iface) }

// hereFrom is here where another than the kernel may answer what an interface is
// asked.
func hereFrom(from *answers.Source, iface string) (*host, error) {
	if from.Playing() {
		return replay(from, iface)
	}
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("open this network namespace: %w", err)
	}
	return openHostFrom(from, ns, iface)
}

// resolved is what has to change.
type resolved struct {
	set      map[string]Settings // by family
	optional map[string]bool     // names in set that this host need not take
	wanted   Settings            // all that is wanted and that there is, changed or not
	skipped  []string            // optional ones that there are not
}

// resolve gives what has to change, and fails with everything that is wrong at once.
func (h *host) resolve(w Want, now Settings) (resolved, error) {
	r := resolved{set: map[string]Settings{}, optional: map[string]bool{}, wanted: Settings{}}
	var lacking []string
	for _, part := range []struct {
		settings map[string]string
		optional bool
	}{{w.Optional, true}, {w.Settings, false}} { // what must be overrides
		for _, name := range slices.Sorted(maps.Keys(part.settings)) {
			value := part.settings[name]
			names, err := expand(name, now)
			if err != nil {
				return r, err
			}
			if len(names) == 0 && !h.met(name, value) {
				if part.optional {
					r.skipped = append(r.skipped, name)
				} else {
					lacking = append(lacking, name)
				}
			}
			for _, n := range names {
				canonical, err := h.put(r.set, now, n, value)
				if err != nil {
					return r, err
				}
				r.wanted[n], r.optional[n] = canonical, part.optional
			}
		}
	}
	if h.wantsGRO() && r.set["ring"][headerSplit] == "on" && !r.optional[headerSplit] && h.fixed[hwGRO] == "off" {
		return r, unsupported("tcp-data-split: driver %s splits headers only with %s, which this NIC does not have (ethtool -k shows it fixed)",
			h.driver, hwGRO)
	}
	if len(lacking) > 0 && h.iface == "" {
		if f, _, err := familyOf(Names(lacking[0])[0]); err == nil && f.group == device {
			return r, usage("%s: this is a setting of an interface, and none is named: -i IFACE", strings.Join(lacking, ", "))
		}
	}
	for _, name := range lacking {
		if err := misspelt(Names(name)[0], now, h.fixed); err != nil {
			return r, err
		}
	}
	if len(lacking) > 0 {
		return r, unsupported("%s", h.lacks(lacking))
	}
	if w.Keep && r.set["cpu"]["cpu.dma-latency"] != "" {
		return r, usage("cpu.dma-latency lasts only as long as the process that sets it; switch idle states off instead (cpu.*.idle-C6 = off)")
	}
	return r, nil
}

// met says that what is wanted is so, and cannot be otherwise.
func (h *host) met(name, value string) bool {
	for _, full := range Names(name) {
		if h.fixed[full] == "" || h.fixed[full] != value {
			return false
		}
	}
	return true
}

// lacks says what cannot be set here, and what it is where it is something.
func (h *host) lacks(names []string) string {
	var absent, all []string
	for _, name := range names {
		if is := h.fixed[Names(name)[0]]; is != "" {
			all = append(all, fmt.Sprintf("%s: not supported by %s, which keeps it %s", name, h.owner(name), is))
		} else {
			absent = append(absent, name)
		}
	}
	if len(absent) == 0 {
		return strings.Join(all, "; ")
	}
	if key, ok := sysctlKey(absent[0]); ok && strings.HasPrefix(key, "net.") && h.ns.IsOpen() && h.hidden() {
		all = append([]string{fmt.Sprintf("%s: not in this network namespace: it is the whole host's, if this kernel has it, and can be set "+
			"only in the host's own", strings.Join(absent, ", "))}, all...)
	} else {
		all = append([]string{fmt.Sprintf("%s: not supported by %s", strings.Join(absent, ", "), h.owner(absent[0]))}, all...)
	}
	return strings.Join(all, "; ")
}

// owner names what would have to have a setting.
func (h *host) owner(name string) string {
	if full, ok := short[name]; ok {
		name = full[0]
	}
	if f, _, err := familyOf(name); err == nil && f.group == device && h.driver != "" {
		return "driver " + h.driver
	}
	return "this kernel"
}

// put adds one setting to what has to change, unless it is so already, and gives
// its value in its canonical form.
func (h *host) put(set map[string]Settings, now Settings, name, value string) (string, error) {
	f, _, err := familyOf(name)
	if err != nil {
		return "", fault.Wrap(fault.Usage, err)
	}
	value = strings.Join(strings.Fields(value), " ")
	if f.parse != nil {
		if value, err = f.parse(h, now, name, value); err != nil {
			return "", fault.Wrap(fault.Usage, err)
		}
	}
	if now[name] == value && !untold(name, value) {
		delete(set[f.name], name) // an optional one may have said otherwise
		return value, nil
	}
	if set[f.name] == nil {
		set[f.name] = Settings{}
	}
	set[f.name][name] = value
	return value, nil
}

// expand gives the canonical names that a short name or a pattern stands for
// here. Flow rules and RSS contexts may be ones that do not exist yet.
func expand(name string, now Settings) ([]string, error) {
	full, ok := short[name]
	if !ok {
		full = []string{name}
	}
	var names []string
	for _, pattern := range full {
		if _, _, err := familyOf(pattern); err != nil || !strings.Contains(pattern, ".") {
			return nil, unknown(pattern, now)
		}
		if key, ok := sysctlKey(pattern); ok && !strings.Contains(key, "*") {
			if err := mayBeSet(key); err != nil {
				return nil, fault.Wrap(fault.Usage, err)
			}
		}
		if strings.HasPrefix(pattern, "flow.tcp") || strings.HasPrefix(pattern, "rss.context-") {
			names = append(names, pattern)
			continue
		}
		for _, n := range now.names() {
			match, err := path.Match(pattern, n)
			if err != nil {
				return nil, usage("pattern %q: %w", pattern, err)
			}
			if key, ok := strings.CutPrefix(n, "shared."); ok && !match {
				match, _ = path.Match(pattern, "sysctl."+key)
			}
			if match {
				names = append(names, n)
			}
		}
	}
	return names, nil
}

// session is the right to change one interface, and what was changed.
type session struct {
	h      *host
	others []*host // that changes of the journal were made to
	dir    string
	path   string // of the journal
	aside  string // where a damaged one was put that was there
	wait   time.Duration
	book   *book
	tx     *transaction     // of this session, once it changes something
	locks  map[string]*lock // by path
	made   []*change
	wanted Settings // what must stay so until the end
	waited bool     // for memory providers
}

// begin takes the lock and opens the journal.
func begin(iface string, j Journal, wait time.Duration) (*session, error) {
	dir, err := j.Dir()
	if err != nil {
		return nil, err
	}
	h, err := here(iface)
	if err != nil {
		return nil, err
	}
	return beginOn(h, bookPath(dir, h.index, h.space), wait)
}

// beginOn is begin for a host that is open already, which it takes over, and
// the journal file of the path.
func beginOn(h *host, path string, wait time.Duration) (_ *session, err error) {
	s := &session{h: h, dir: filepath.Dir(path), path: path, wait: wait, locks: map[string]*lock{}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	what := "the host"
	if h.iface != "" {
		what = "interface " + h.iface
	} else if filepath.Base(path) != "host.journal" {
		what = "the journal " + filepath.Base(path)
	}
	if err := s.take(lockPath(path), what); err != nil {
		return nil, err
	}
	if strings.HasSuffix(path, damaged) {
		return s, nil
	}
	if s.book, s.aside, err = openBook(path); err != nil {
		return nil, err
	}
	return s, nil
}

func lockPath(book string) string { return strings.TrimSuffix(book, ".journal") + ".lock" }

func (s *session) close() error {
	var err error
	if s.book != nil {
		err = s.book.close()
	}
	for _, l := range s.locks {
		l.release()
	}
	for _, h := range s.others {
		h.close()
	}
	s.h.close()
	return err
}

// take takes a lock until the session is closed.
func (s *session) take(path, what string) error {
	if s.locks[path] != nil {
		return nil
	}
	l, err := takeLock(path, what, s.wait)
	if err == nil {
		s.locks[path] = l
	}
	return err
}

// takeFor takes the right to change settings of a family that is not an
// interface's. The sysctls that each network namespace has are apart from the
// host's, so that the two ends of a link within one machine can both have
// theirs.
func (s *session) takeFor(h *host, f family, names []string) error {
	switch {
	case f.group == device || len(names) == 0:
		return nil
	case f.group == "sysctl" && h.own(names):
		return s.take(filepath.Join(s.dir, fmt.Sprintf("%d.lock", h.space.Inode)), "this network namespace")
	}
	return s.take(filepath.Join(s.dir, "host.lock"), "the host")
}

func (s *session) apply(ctx context.Context, w Want) (Grant, error) {
	h := s.h
	h.addSysctls(slices.Concat(slices.Collect(maps.Keys(w.Settings)), slices.Collect(maps.Keys(w.Optional))))
	now, err := h.snapshot("")
	if err != nil {
		return Grant{}, err
	}
	if w, err = h.forQueues(w, now); err != nil {
		return Grant{}, err
	}
	r, err := h.resolve(w, now)
	if err != nil {
		return Grant{}, err
	}
	for _, f := range families {
		if err := s.takeFor(h, f, r.set[f.name].names()); err != nil {
			return Grant{}, err
		}
	}
	if _, err := h.refusal(r, len(w.Flows) > 0 || w.Queues > 0); err != nil {
		return Grant{}, err
	}
	if err := s.announce(); err != nil {
		return Grant{}, fmt.Errorf("%w; nothing was changed", err)
	}
	skipped := r.skipped
	for _, f := range families {
		if len(r.set[f.name]) == 0 {
			continue
		}
		left, err := s.grant(ctx, f, r)
		if err != nil {
			return Grant{}, err
		}
		skipped = append(skipped, left...)
		// What there is of the group may be something else now.
		after, err := h.snapshot(f.group)
		if err != nil {
			return Grant{}, err
		}
		maps.DeleteFunc(now, func(name, _ string) bool {
			g, _, err := familyOf(name)
			return err == nil && g.group == f.group
		})
		maps.Copy(now, after)
		if r, err = h.resolve(w, now); err != nil {
			return Grant{}, err
		}
	}
	grant, err := s.steer(ctx, w, r.wanted)
	if err != nil {
		return Grant{}, err
	}
	if err := s.hold(r, &skipped); err != nil {
		return Grant{}, err
	}
	grant.Skipped = skipped
	for _, c := range s.made {
		grant.Changes = append(grant.Changes, c.told()...)
		grant.Moved = append(grant.Moved, c.moved()...)
	}
	return grant, nil
}

// told are the settings that were set, as a reader is told of them: a header split that
// only read as it was wanted was not configured, and one that was configured so already
// was not changed. Of a change in doubt that cannot be told, and it may have been.
func (c *change) told() (all []Change) {
	for _, name := range c.Set.names() {
		from := c.Before[name]
		if untold(name, c.Set[name]) {
			switch {
			case c.after != nil && c.after[name] == "":
				continue
			case from == c.Set[name]:
				from = unset(from)
			}
		}
		all = append(all, Change{name, from, c.Set[name]})
	}
	return all
}

// moved are the settings beside those that were set which are others since, of those
// that can be put back: what belongs to a channel goes and comes with it.
func (c *change) moved() (all []Change) {
	for _, name := range c.after.names() {
		was, is := c.Before[name], c.after[name]
		if _, set := c.Set[name]; !set && (removable(name) || was != "" && is != "") {
			all = append(all, Change{name, was, is})
		}
	}
	return all
}

// grant brings about the settings of a family. What is optional and is refused, or
// not taken, is left as it was, and named with the reason.
func (s *session) grant(ctx context.Context, f family, r resolved) (left []string, err error) {
	must, may := Settings{}, Settings{}
	for name, value := range r.set[f.name] {
		if r.optional[name] {
			may[name] = value
		} else {
			must[name] = value
		}
	}
	before := len(s.made)
	if err = s.setOrGRO(ctx, f, r.set[f.name], r); err == nil || len(may) == 0 || ctx.Err() != nil {
		return nil, err
	}
	// Together they are one restart of the NIC; by itself each tells whether it can.
	if err := s.takeBack(ctx, before); err != nil {
		return nil, err
	}
	if len(must) > 0 {
		if err := s.setOrGRO(ctx, f, must, r); err != nil {
			return nil, err
		}
	}
	for _, name := range may.names() {
		before := len(s.made)
		if err := s.set(ctx, f, Settings{name: may[name]}); err != nil {
			if back := s.takeBack(ctx, before); back != nil || ctx.Err() != nil {
				return nil, errors.Join(err, back)
			}
			left = append(left, fmt.Sprintf("%s (%v)", name, err))
		}
	}
	return left, nil
}

const hwGRO = "feature.rx-gro-hw"

// wantsGRO says that the driver is known to part headers from payload only while it
// has HW GRO (mlx5e_ethtool_set_tcp_data_split, Linux 7.3). Others may; Apply finds
// out.
func (h *host) wantsGRO() bool { return h.driver == "mlx5_core" }

// beforeGRO gives the private flags that are in the way of HW GRO, and what they have to
// be. mlx5 has it neither on legacy receive queues nor with compressed completions, which
// it begins with where the link is more than twice as fast as the PCIe slot
// (mlx5e_fix_features, slow_pci_heuristic, Linux 7.3).
func (h *host) beforeGRO(now Settings) Settings {
	first := Settings{}
	if !h.wantsGRO() { // another driver's flags of these names are other things
		return first
	}
	for name, value := range map[string]string{"priv.rx_striding_rq": "on", "priv.rx_cqe_compress": "off"} {
		if is := now[name]; is != "" && is != value {
			first[name] = value
		}
	}
	return first
}

// setOrGRO is set for drivers too that part headers from payload only while they
// have HW GRO, as mlx5 does.
func (s *session) setOrGRO(ctx context.Context, f family, set Settings, r resolved) error {
	before := len(s.made)
	err := s.set(ctx, f, set)
	if err == nil || set[headerSplit] != "on" || ctx.Err() != nil {
		return err
	}
	now, serr := s.h.snapshot(device)
	if serr != nil || now[hwGRO] != "off" {
		return err
	}
	if err := s.takeBack(ctx, before); err != nil {
		return err
	}
	for _, first := range []Settings{s.h.beforeGRO(now), {hwGRO: "on"}} {
		if len(first) == 0 {
			continue
		}
		for _, name := range first.names() {
			if value, ok := r.wanted[name]; ok && !r.optional[name] {
				return fmt.Errorf("%w (%s is wanted %s, and this driver may split headers only with it %s)", err, name, value, first[name])
			}
		}
		feature, _, _ := familyOf(first.names()[0])
		if gerr := s.set(ctx, feature, first); gerr != nil {
			return errors.Join(err, gerr, s.takeBack(ctx, before))
		}
	}
	return s.set(ctx, f, set)
}

// takeBack undoes the changes made since there were so many, last first: none where
// one failed before it was noted.
func (s *session) takeBack(ctx context.Context, many int) error {
	for len(s.made) > many {
		last := len(s.made) - 1
		done, err := s.undoChange(ctx, s.h, s.made[last])
		for _, d := range done.Drift {
			err = errors.Join(err, errors.New(d.String()))
		}
		if err != nil {
			return err
		}
		s.made = s.made[:last]
	}
	return nil
}

// hold reads everything back once more: what was set later may have moved what was
// set before, as a driver may do with features when its rings change.
func (s *session) hold(r resolved, skipped *[]string) error {
	now, err := s.h.groups(r.wanted)
	if err != nil {
		return err
	}
	s.wanted = Settings{}
	for _, name := range r.wanted.names() {
		switch value := r.wanted[name]; {
		case strings.HasPrefix(name, "cpu.dma-latency"):
		case now[name] == value:
			s.wanted[name] = value
		case !r.optional[name]:
			return fmt.Errorf("%s: was set to %q, and is %q since other settings changed: this driver does not have them together", name, value,
				now[name])
		case !slices.ContainsFunc(*skipped, func(text string) bool { return strings.HasPrefix(text, name+" (") }):
			*skipped = append(*skipped, fmt.Sprintf("%s (was set to %q, and is %q since other settings changed)", name, value, now[name]))
		}
	}
	return nil
}

// moved are those wanted settings that are no longer so and that no change of ours
// explains.
func (s *session) moved() ([]Drift, error) {
	now, err := s.h.groups(s.wanted)
	if err != nil {
		return nil, err
	}
	var all []Drift
	for _, name := range s.wanted.names() {
		ours := slices.ContainsFunc(s.made, func(c *change) bool { return c.after[name] != "" })
		if value := s.wanted[name]; now[name] != value && !ours { // else undo tells it
			all = append(all, Drift{s.h.of(name), name, value, value, now[name]})
		}
	}
	return all, nil
}

// set makes one change: noted, done, and read back.
func (s *session) set(ctx context.Context, f family, set Settings) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	before, err := s.h.snapshot(f.group)
	if err != nil {
		return err
	}
	c := &change{Family: f.name, Set: set, Before: before, number: len(s.book.changes), tx: s.tx}
	if f.name == "sysctl" {
		c.Host = slices.DeleteFunc(set.names(), func(name string) bool { return slices.Contains(s.h.owned(set.names()), name) })
	}
	if err := s.book.write(entry{Change: c}); err != nil {
		return err
	}
	s.book.changes = append(s.book.changes, c)
	s.made = append(s.made, c)
	werr := f.write(s.h, set)
	now, err := s.h.snapshot(f.group)
	if err != nil {
		return errors.Join(werr, err)
	}
	after := Settings{}
	for _, name := range differing(before, now) {
		after[name] = now[name]
	}
	if untold(headerSplit, set[headerSplit]) && s.h.splitChanged {
		after[headerSplit] = now[headerSplit]
	}
	if err := s.book.write(entry{Done: &after}); err != nil {
		return errors.Join(werr, err)
	}
	c.after = after
	if werr != nil {
		return s.h.explain(f, set, werr)
	}
	for _, name := range set.names() {
		if now[name] != set[name] {
			return fmt.Errorf("%s: asked for %q and got %q, though no error was reported%s", name, set[name], now[name], hintOnRounding(name))
		}
	}
	return nil
}

func hintOnRounding(name string) string {
	switch {
	case strings.HasPrefix(name, "hugepages."):
		return " (too little free or unfragmented memory: reserve them early, or at boot with hugepages=)"
	case strings.HasPrefix(name, "feature."):
		return " (another feature, XDP or the interface above it stands in its way)"
	}
	return " (the driver rounds it: ask for a value that it gives)"
}

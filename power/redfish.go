package power

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"zcbench/internal/fault"
)

func redfishKind() kind {
	return kind{
		name:    "redfish",
		address: "HOST[:PORT][/CHASSIS][?login=session|basic][&control=N|sensor=ID][&ca=FILE|pin=SHA256|insecure=true|plain=true]",
		about: "a server's management controller over Redfish: of the chassis the first that has a figure of EnvironmentMetrics, Power's " +
			"PowerControl 0, " +
			"the power supplies of PowerSubsystem, those of Power, and Sensors in W; or PowerControl N, or one sensor; its certificate is " +
			"verified, by ca= or pin= where nobody signed it",
		open: openRedfish,
	}
}

// redfish is one chassis of a Redfish service (DMTF DSP0266, schemas DSP8010).
type redfish struct {
	web            *web
	about          Info
	user, password string
	sessions       bool   // log in, else basic authentication
	token, session string // of the session; its resource
	source         redfishSource
}

// redfishPatience bounds a question. Some controllers ask all their supplies
// before they answer.
const redfishPatience = 3 * patience

// redfishSource is where the power is told: in one resource, or in several that
// add up.
type redfishSource struct {
	kind    redfishKindOf
	control int // which PowerControl
	paths   []string
	about   string        // for the record
	every   time.Duration // how often it measures; 0: it does not tell
	part    string        // of the chassis; "": all of it
}

// redfishKindOf is a place that the power may stand in.
type redfishKindOf int

// The places, in the order in which they are looked at.
const (
	ofEnvironment redfishKindOf = iota // EnvironmentMetrics: PowerWatts
	ofControl                          // Power: PowerControl N
	ofMetrics                          // PowerSubsystem: InputPowerWatts of each supply's metrics
	ofSupplies                         // Power: PowerInputWatts of each supply
	ofSensors                          // Sensors: readings in W
)

// redfishPower is what of these resources matters here.
type redfishPower struct {
	ID     string `json:"Id"`
	Name   string
	Status redfishStatus
	// EnvironmentMetrics 1.0; EnergyJoules since 1.2.
	PowerWatts struct {
		Reading reading `json:"Reading"`
		Sensor  string  `json:"DataSourceUri"`
	} `json:"PowerWatts"`
	EnergykWh struct {
		Reading reading `json:"Reading"`
	} `json:"EnergykWh"`
	EnergyJoules struct {
		Reading reading `json:"Reading"`
	} `json:"EnergyJoules"`
	// Power 1.0, deprecated since 2020.4 and still the most common.
	PowerControl []struct {
		Name               string
		PowerConsumedWatts reading `json:"PowerConsumedWatts"`
	} `json:"PowerControl"`
	// Power 1.1.
	PowerSupplies []struct {
		Status          redfishStatus
		PowerInputWatts reading `json:"PowerInputWatts"`
	} `json:"PowerSupplies"`
	// PowerSupplyMetrics 1.0.
	InputPowerWatts struct {
		Reading reading `json:"Reading"`
	} `json:"InputPowerWatts"`
	// Sensor 1.0; PhysicalSubContext since 1.1.
	Reading            reading `json:"Reading"`
	ReadingUnits       string
	PhysicalContext    string
	PhysicalSubContext string
	SensingInterval    string
}

// redfishStatus says whether a part is there.
type redfishStatus struct{ State string }

func (s redfishStatus) absent() bool { return s.State == "Absent" || s.State == "Disabled" }

// redfishChassis is what of a chassis matters here.
type redfishChassis struct {
	UUID                                               string
	EnvironmentMetrics, Power, PowerSubsystem, Sensors link
	Links                                              struct{ ComputerSystems []link }
}

// A collection has at most this many pages and members; the largest known are
// some hundred sensors.
const (
	redfishPages   = 32
	redfishMembers = 512
)

// link is a reference to another resource.
type link struct {
	ID string `json:"@odata.id"`
}

func openRedfish(ctx context.Context, address string) (Meter, error) {
	t, err := parseTarget("redfish", address, "", append([]string{"login", "control", "sensor", "plain"}, tlsOptions...)...)
	if err != nil {
		return nil, err
	}
	m := &redfish{user: t.secrets["user"], password: t.secrets["password"], sessions: true}
	plain, err := t.flag("plain")
	if err != nil {
		return nil, err
	}
	verify, err := t.verification()
	if err != nil {
		return nil, err
	}
	control, err := t.number("control", 0, 999, 0)
	if err != nil {
		return nil, err
	}
	if t.options["control"] != "" && t.options["sensor"] != "" {
		return nil, noMeter("only one of control and sensor")
	}
	switch t.options["login"] {
	case "", "session":
	case "basic":
		m.sessions = false
	default:
		return nil, noMeter("option login is session or basic")
	}
	if (m.user == "") != (m.password == "") {
		return nil, noMeter("Redfish takes a user and a password: %s", secretCure)
	}
	scheme, port := "https", "443"
	if plain {
		scheme, port = "http", "80"
	}
	if t.port == "" {
		t.port = port
	}
	m.web = newWeb(t, scheme, verify)
	m.web.client.Timeout = redfishPatience
	m.web.sign = m.sign
	if err := m.login(ctx); err != nil {
		return nil, err
	}
	w := redfishWant{chassis: t.path, control: int(control), only: t.options["control"] != "", sensor: t.options["sensor"]}
	known := Info{}
	var chassis string
	if m.source, chassis, err = m.find(ctx, w); err == nil {
		known.Interval, known.Source = m.source.every, m.source.about
		known.Of, known.Whole = m.identify(ctx, t, chassis), m.source.part == ""
		m.about, err = t.info(known)
	}
	if err == nil {
		if _, err = m.Read(ctx); errors.Is(err, errNoValue) {
			err = nil
		}
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *redfish) sign(r *http.Request) {
	switch {
	case m.token != "":
		r.Header.Set("X-Auth-Token", m.token)
	case !m.sessions && m.user != "":
		r.SetBasicAuth(m.user, m.password)
	}
}

// login opens a session, so that the controller checks the password once and
// not at every reading, which takes some of them a second.
func (m *redfish) login(ctx context.Context) error {
	if m.user == "" || !m.sessions {
		return nil
	}
	m.token = ""
	body, err := json.Marshal(map[string]string{"UserName": m.user, "Password": m.password})
	if err != nil {
		return err
	}
	answer, err := m.web.do(ctx, http.MethodPost, "/redfish/v1/SessionService/Sessions", bytes.NewReader(body), nil)
	if errors.Is(err, errNotThere) {
		return fmt.Errorf("%w: it has no sessions: give login=basic", err)
	}
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	m.token = answer.Header.Get("X-Auth-Token")
	if m.token == "" {
		return fmt.Errorf("log in to %s: it opened no session: give login=basic", m.web.base)
	}
	m.session = answer.Header.Get("Location")
	return nil
}

// ask gets a resource, and logs in again where the session has run out.
func (m *redfish) ask(ctx context.Context, resource string, into any) error {
	if !strings.HasPrefix(resource, "/") {
		return fmt.Errorf("%s links to %.60q, which is no path", m.web.base, resource)
	}
	err := m.web.get(ctx, resource, into)
	if errors.Is(err, errDenied) && m.token != "" {
		if err := m.login(ctx); err != nil {
			return err
		}
		err = m.web.get(ctx, resource, into)
	}
	return err
}

// redfishWant is what the user asked for.
type redfishWant struct {
	chassis string // "": the only one
	control int
	only    bool   // that control and nothing else
	sensor  string // and nothing else
}

// members lists a collection with its further pages. One that does not come to an
// end is an error: what is left out could be a part of a sum.
func (m *redfish) members(ctx context.Context, collection string) ([]link, error) {
	var all []link
	next := collection
	for range redfishPages {
		var page struct {
			Members []link
			Next    string `json:"Members@odata.nextLink"`
			Plain   string `json:"@odata.nextLink"` // as some have it
		}
		if err := m.ask(ctx, next, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Members...)
		if next = cmp.Or(page.Next, page.Plain); next == "" || len(all) > redfishMembers {
			break
		}
	}
	if next != "" || len(all) > redfishMembers {
		return nil, fmt.Errorf("%s%s has more than %d pages or %d members", m.web.base, collection, redfishPages, redfishMembers)
	}
	return all, nil
}

// find looks for the one chassis that tells its power, or for the named one.
// Where each is told the usual way, the others are not asked for their sensors.
func (m *redfish) find(ctx context.Context, w redfishWant) (redfishSource, string, error) {
	all := []link{{"/redfish/v1/Chassis/" + url.PathEscape(w.chassis)}}
	if w.chassis == "" {
		var err error
		if all, err = m.members(ctx, "/redfish/v1/Chassis"); err != nil {
			return redfishSource{}, "", err
		}
	}
	type candidate struct {
		source  redfishSource
		chassis string
	}
	var broken error // of one that does not answer as it should
	var mute []candidate
	for _, look := range [][]redfishKindOf{{ofEnvironment, ofControl}, {ofMetrics, ofSupplies, ofSensors}} {
		var found []candidate
		var names []string
		for _, member := range all {
			var c redfishChassis
			err := m.ask(ctx, member.ID, &c)
			var s redfishSource
			has := false
			if err == nil {
				s, has, err = m.chassis(ctx, &c, w, look)
			}
			if fault.Of(err) == fault.Unreachable {
				return s, "", err
			}
			if err != nil {
				broken = err
			}
			if has {
				found = append(found, candidate{s, member.ID})
				names = append(names, path.Base(member.ID))
			} else if s.paths != nil {
				mute = append(mute, candidate{s, member.ID})
			}
		}
		switch {
		case len(found) == 1:
			return found[0].source, found[0].chassis, nil
		case len(found) > 1:
			return redfishSource{}, "", noMeter("several chassis of %s tell their power: append one of: /%s", m.web.base, strings.Join(names, " /"))
		}
	}
	switch {
	case len(mute) == 1: // it has a place for it, and may have a value later
		return mute[0].source, mute[0].chassis, nil
	case broken != nil:
		return redfishSource{}, "", broken
	}
	return redfishSource{}, "", noMeter("%s has no chassis that tells its power", m.web.base)
}

// chassis looks in some of a chassis's places, in their order. has is set where
// there is a value; else the source, if it has paths, is a place without one.
// Nothing at all is no error.
func (m *redfish) chassis(ctx context.Context, c *redfishChassis, w redfishWant, look []redfishKindOf) (best redfishSource, has bool,
	err error) {
	for _, kind := range look {
		var s redfishSource
		switch {
		case w.only && kind != ofControl, w.sensor != "" && kind != ofSensors:
			continue
		case kind == ofEnvironment:
			s = redfishSource{paths: []string{c.EnvironmentMetrics.ID}, about: "EnvironmentMetrics"}
		case kind == ofControl:
			s = redfishSource{paths: []string{c.Power.ID}, control: w.control}
			if w.control > 0 {
				s.part = fmt.Sprintf("control-%d", w.control)
			}
		case kind == ofSupplies:
			s = redfishSource{paths: []string{c.Power.ID}, about: "the input of the power supplies, as Power has it"}
		case kind == ofMetrics && c.PowerSubsystem.ID != "":
			s, err = m.supplies(ctx, c.PowerSubsystem.ID)
		case kind == ofSensors && c.Sensors.ID != "":
			s, err = m.sensors(ctx, c.Sensors.ID, w.sensor)
		}
		s.kind = kind
		if errors.Is(err, errNotThere) {
			err = nil
			continue
		}
		if err != nil {
			return best, false, err
		}
		if len(s.paths) == 0 || s.paths[0] == "" {
			continue
		}
		r, p, err := m.read(ctx, &s)
		switch {
		case errors.Is(err, errNotThere):
			continue
		case err != nil && !errors.Is(err, errNoValue):
			return best, false, err
		case !p.has(&s):
			continue
		}
		if kind == ofControl {
			s.about = fmt.Sprintf("Power, PowerControl %d", w.control)
			if name := p.PowerControl[w.control].Name; name != "" {
				s.about += " (" + clip(name) + ")"
			}
		}
		if kind == ofEnvironment {
			s.every = m.sensing(ctx, p.PowerWatts.Sensor)
		}
		if r.Watts != nil {
			return s, true, nil
		}
		if best.paths == nil {
			best = s
		}
	}
	return best, false, nil
}

// supplies finds the metrics of a PowerSubsystem's supplies. One that is there and
// has none would be missing in the sum.
func (m *redfish) supplies(ctx context.Context, subsystem string) (s redfishSource, err error) {
	var c struct{ PowerSupplies link }
	if err := m.ask(ctx, subsystem, &c); err != nil || c.PowerSupplies.ID == "" {
		return s, err
	}
	all, err := m.members(ctx, c.PowerSupplies.ID)
	if err != nil {
		return s, err
	}
	for _, member := range all {
		var supply struct {
			Status  redfishStatus
			Metrics link
		}
		if err := m.ask(ctx, member.ID, &supply); err != nil {
			return redfishSource{}, err
		}
		if supply.Status.absent() {
			continue
		}
		if supply.Metrics.ID == "" {
			return redfishSource{}, nil
		}
		s.paths = append(s.paths, supply.Metrics.ID)
	}
	s.about = fmt.Sprintf("PowerSubsystem, the input of %d power supplies", len(s.paths))
	return s, nil
}

// sensors chooses among the sensors of a chassis: the named one; or the one that
// is of the chassis; or the inputs of its power supplies; or the only one in W.
// Among others it does not guess.
func (m *redfish) sensors(ctx context.Context, collection, name string) (s redfishSource, err error) {
	all, err := m.members(ctx, collection)
	if err != nil {
		return s, err
	}
	type sensor struct {
		path string
		redfishPower
	}
	var watts []sensor
	var names []string
	for _, member := range all {
		one := sensor{path: member.ID}
		if name != "" && path.Base(member.ID) != name {
			continue
		}
		if err := m.ask(ctx, member.ID, &one.redfishPower); errors.Is(err, errNotThere) {
			continue
		} else if err != nil {
			return s, err
		}
		if one.ReadingUnits == "W" && !one.Status.absent() {
			watts, names = append(watts, one), append(names, path.Base(member.ID))
		}
	}
	if name != "" && len(watts) == 0 {
		return s, noMeter("%s%s has no sensor %.40q that counts in W", m.web.base, collection, name)
	}
	pick := func(fits func(*sensor) bool) (found []sensor) {
		for i := range watts {
			if fits(&watts[i]) {
				found = append(found, watts[i])
			}
		}
		return found
	}
	chosen := watts
	if whole := pick(func(o *sensor) bool { return o.PhysicalContext == "Chassis" }); len(whole) == 1 {
		chosen = whole
	} else if inputs := pick(func(o *sensor) bool {
		return o.PhysicalContext == "PowerSupply" && o.PhysicalSubContext == "Input"
	}); len(inputs) > 0 && len(whole) == 0 {
		chosen = inputs
	} else if len(watts) > 1 {
		return s, noMeter("the sensors of %s%s are of several things: choose with sensor=, one of: %.400s", m.web.base, collection,
			strings.Join(names, " "))
	}
	names = nil
	for _, o := range chosen {
		s.paths = append(s.paths, o.path)
		names = append(names, path.Base(o.path))
		s.every = max(s.every, isoDuration(o.SensingInterval))
	}
	s.about = "Sensors, " + strings.Join(names, " + ")
	if name != "" {
		s.part = "?sensor-" + name
	}
	return s, nil
}

// identify names what a chassis is: the server with a UUID, if it is of one
// server, and a part of the controller at this address.
func (m *redfish) identify(ctx context.Context, t *target, chassis string) []string {
	var c redfishChassis
	if m.ask(ctx, chassis, &c) != nil {
		return nil
	}
	all := serverUUID(c.UUID)
	if len(c.Links.ComputerSystems) == 1 {
		var system struct{ UUID string }
		if m.ask(ctx, c.Links.ComputerSystems[0].ID, &system) == nil {
			all = append(all, serverUUID(system.UUID)...)
		}
	}
	all = append(all, under(t.places(ctx, "443", "80"), "chassis-"+path.Base(chassis))...)
	if m.source.part != "" {
		all = under(all, m.source.part)
	}
	return all
}

// sensing is how often a sensor measures, if it tells (Sensor 1.0,
// SensingInterval); nothing depends on that.
func (m *redfish) sensing(ctx context.Context, sensor string) time.Duration {
	var s struct{ SensingInterval string }
	if sensor == "" || m.ask(ctx, sensor, &s) != nil {
		return 0
	}
	return isoDuration(s.SensingInterval)
}

var iso8601 = regexp.MustCompile(`^PT(?:(\d{1,4})H)?(?:(\d{1,4})M)?(?:(\d{1,4}(?:\.\d{1,9})?)S)?$`)

// isoDuration reads ISO 8601 durations of less than a day; 0 for others.
func isoDuration(s string) time.Duration {
	parts := iso8601.FindStringSubmatch(s)
	if parts == nil {
		return 0
	}
	var d float64
	for i, seconds := range []float64{3600, 60, 1} {
		if parts[i+1] != "" {
			n, _ := strconv.ParseFloat(parts[i+1], 64)
			d += n * seconds
		}
	}
	return time.Duration(d * float64(time.Second))
}

func (m *redfish) Info() Info { return m.about }

func (m *redfish) Read(ctx context.Context) (Reading, error) {
	r, _, err := m.read(ctx, &m.source)
	return r, err
}

// read asks for a source's resources, and gives the last of them too.
func (m *redfish) read(ctx context.Context, s *redfishSource) (r Reading, p *redfishPower, err error) {
	start := time.Now()
	sum := 0.0
	for _, resource := range s.paths {
		p = &redfishPower{}
		if err := m.ask(ctx, resource, p); err != nil {
			return r, p, err
		}
		one, err := p.read(s)
		if err != nil {
			return Reading{At: midway(start)}, p, fmt.Errorf("%s%s: %w", m.web.base, resource, err)
		}
		sum += *one.Watts
		r.Joules = one.Joules // of a source that has but one path
	}
	r.Watts, r.At = &sum, midway(start)
	return r, p, nil
}

// watts are the figures of a resource that add up, those that are there.
func (p *redfishPower) watts(s *redfishSource) []reading {
	switch s.kind {
	case ofEnvironment:
		return []reading{p.PowerWatts.Reading}
	case ofControl:
		if s.control < len(p.PowerControl) {
			return []reading{p.PowerControl[s.control].PowerConsumedWatts}
		}
	case ofMetrics:
		return []reading{p.InputPowerWatts.Reading}
	case ofSupplies:
		var all []reading
		for _, supply := range p.PowerSupplies {
			if !supply.Status.absent() {
				all = append(all, supply.PowerInputWatts)
			}
		}
		return all
	case ofSensors:
		return []reading{p.Reading}
	}
	return nil
}

// has reports a place for the power, be there a value or not.
func (p *redfishPower) has(s *redfishSource) bool {
	all := p.watts(s)
	return len(all) > 0 && !slices.ContainsFunc(all, func(w reading) bool { return !w.there })
}

func (p *redfishPower) read(s *redfishSource) (r Reading, err error) {
	all := p.watts(s)
	sum := 0.0
	for _, w := range all {
		if !w.ok {
			return r, noValue("its power is no number")
		}
		one, err := consumed(w.value)
		if err != nil {
			return r, err
		}
		sum += *one
	}
	if len(all) == 0 {
		return r, noValue("it has no power")
	}
	r.Watts = &sum
	if s.kind == ofEnvironment {
		r.Joules = total(p.EnergyJoules.Reading, 1)
		if r.Joules == nil {
			r.Joules = total(p.EnergykWh.Reading, joulesIn["kWh"])
		}
	}
	return r, nil
}

// Close ends the session: controllers have few.
func (m *redfish) Close() error {
	var err error
	if where, e := url.Parse(m.session); m.token != "" && e == nil && strings.HasPrefix(where.Path, "/") {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err = m.web.do(ctx, http.MethodDelete, where.Path, nil, nil); errors.Is(err, errDenied) || errors.Is(err, errNotThere) {
			err = nil // it has run out by itself
		}
		m.token = ""
	}
	return errors.Join(err, m.web.close())
}

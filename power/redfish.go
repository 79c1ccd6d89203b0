package power

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func redfishKind() kind {
	return kind{
		name:    "redfish",
		address: "HOST[:PORT][/CHASSIS][?login=session|basic][&control=N][&ca=FILE|pin=SHA256|insecure=true|plain=true]",
		about: "a server's management controller over Redfish: the chassis's EnvironmentMetrics, or its Power and there PowerControl N; " +
			"its certificate is verified, by ca= or pin= where nobody signed it",
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

// redfishSource is the resource that tells the power.
type redfishSource struct {
	path    string
	control int // which PowerControl, -1 for EnvironmentMetrics
}

// redfishPower is what of EnvironmentMetrics and of Power matters here.
type redfishPower struct {
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
		PowerConsumedWatts reading `json:"PowerConsumedWatts"`
	} `json:"PowerControl"`
}

// link is a reference to another resource.
type link struct {
	ID string `json:"@odata.id"`
}

func openRedfish(ctx context.Context, address string) (Meter, error) {
	t, err := parseTarget("redfish", address, "", append([]string{"login", "control", "plain"}, tlsOptions...)...)
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
	switch t.options["login"] {
	case "", "session":
	case "basic":
		m.sessions = false
	default:
		return nil, fmt.Errorf("%w: option login is session or basic", ErrSpec)
	}
	if (m.user == "") != (m.password == "") {
		return nil, fmt.Errorf("%w: Redfish takes a user and a password: %s", ErrSpec, secretCure)
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
	var known Info
	if m.source, known.Interval, err = m.find(ctx, t.path, int(control)); err == nil {
		m.about, err = t.info(known)
	}
	if err == nil {
		if _, err = m.Read(ctx); errors.Is(err, ErrNoValue) {
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

// find looks for the one chassis that tells its power, or for the named one.
func (m *redfish) find(ctx context.Context, name string, control int) (redfishSource, time.Duration, error) {
	var none redfishSource
	var all struct{ Members []link }
	if name != "" {
		all.Members = []link{{"/redfish/v1/Chassis/" + url.PathEscape(name)}}
	} else if err := m.ask(ctx, "/redfish/v1/Chassis", &all); err != nil {
		return none, 0, err
	}
	var found []redfishSource
	var names []string
	var interval time.Duration
	var broken error // of one that does not answer as it should
	for _, member := range all.Members {
		s, every, err := m.chassis(ctx, member.ID, control)
		if errors.Is(err, ErrUnreachable) {
			return none, 0, err
		}
		if err != nil {
			broken = err
		}
		if s.path != "" {
			found, interval = append(found, s), every
			names = append(names, path.Base(member.ID))
		}
	}
	switch {
	case len(found) == 0 && broken != nil:
		return none, 0, broken
	case len(found) == 0:
		return none, 0, fmt.Errorf("%w: %s has no chassis that tells its power", ErrSpec, m.web.base)
	case len(found) == 1:
		return found[0], interval, nil
	}
	return none, 0, fmt.Errorf("%w: several chassis of %s tell their power: append one of: /%s", ErrSpec, m.web.base, strings.Join(names, " /"))
}

// chassis finds where a chassis tells its power; nowhere is no error. One that
// has a value is better than one that could have.
func (m *redfish) chassis(ctx context.Context, resource string, control int) (best redfishSource, interval time.Duration, err error) {
	var c struct{ EnvironmentMetrics, Power link }
	if err := m.ask(ctx, resource, &c); err != nil {
		return best, 0, err
	}
	for _, s := range []redfishSource{{c.EnvironmentMetrics.ID, -1}, {c.Power.ID, control}} {
		if s.path == "" {
			continue
		}
		var p redfishPower
		if err := m.ask(ctx, s.path, &p); err != nil {
			if errors.Is(err, errNotThere) {
				continue
			}
			return best, 0, err
		}
		w := p.watts(s.control)
		if w.there && (best.path == "" || w.ok) {
			best, interval = s, m.sensing(ctx, p.PowerWatts.Sensor)
		}
		if w.ok {
			break
		}
	}
	return best, interval, nil
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
	start := time.Now()
	var p redfishPower
	if err := m.ask(ctx, m.source.path, &p); err != nil {
		return Reading{}, err
	}
	r, err := p.read(m.source.control)
	r.At = midway(start)
	if err != nil {
		err = fmt.Errorf("%s%s: %w", m.web.base, m.source.path, err)
	}
	return r, err
}

func (p *redfishPower) watts(control int) reading {
	switch {
	case control < 0:
		return p.PowerWatts.Reading
	case control < len(p.PowerControl):
		return p.PowerControl[control].PowerConsumedWatts
	}
	return reading{}
}

func (p *redfishPower) read(control int) (r Reading, err error) {
	w := p.watts(control)
	if !w.ok {
		return r, noValue("its power is no number")
	}
	r.Joules = total(p.EnergyJoules.Reading, 1)
	if r.Joules == nil {
		r.Joules = total(p.EnergykWh.Reading, joulesIn["kWh"])
	}
	r.Watts, err = consumed(w.value)
	return r, err
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

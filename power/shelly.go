package power

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/icholy/digest"
)

func shellyKind() kind {
	return kind{
		name:    "shelly",
		address: "HOST[:PORT][/CHANNEL]",
		about:   "Shelly smart plug or switch that measures, any generation; CHANNEL is 0, 1 … or a component such as pm1:0",
		open:    openShelly,
	}
}

// shelly is one channel of a Shelly. Its HTTP interface differs between the
// first generation (shelly-api-docs.shelly.cloud/gen1) and all later ones
// (…/gen2).
type shelly struct {
	web     *web
	about   Info
	path    string
	channel int
	first   bool // of the first generation
}

func openShelly(ctx context.Context, address string) (Meter, error) {
	t, err := parseTarget("shelly", address, "80")
	if err != nil {
		return nil, err
	}
	m := &shelly{}
	component, channel := "switch", t.path
	if c, n, ok := strings.Cut(t.path, ":"); ok {
		component, channel = c, n
	}
	if channel != "" {
		if m.channel, err = strconv.Atoi(channel); err != nil || m.channel < 0 {
			return nil, noMeter("a Shelly's channel is a number, or a component such as switch:0 or pm1:0")
		}
	}
	method := map[string]string{"switch": "Switch", "pm1": "PM1"}[component]
	if method == "" {
		return nil, noMeter("of a Shelly's components switch and pm1 can be read, not %.20q", component)
	}
	m.web = newWeb(t, "http", nil)
	user, password := t.secrets["user"], t.secrets["password"]
	// This much any Shelly tells without credentials.
	var device struct {
		Gen  int    `json:"gen"`
		Type string `json:"type"`
		MAC  string `json:"mac"`
	}
	if err := m.web.get(ctx, "/shelly", &device); err != nil {
		if errors.Is(err, errNotThere) {
			return nil, fmt.Errorf("%s is no Shelly: %w", t.address(), err)
		}
		return nil, err
	}
	m.first = device.Gen < 2
	switch {
	case m.first && component != "switch":
		return nil, noMeter("this Shelly (%.20q) is of the first generation and has no components: give the channel's number", device.Type)
	case m.first:
		m.path = "/status"
		if password != "" {
			if user == "" {
				user = "admin"
			}
			m.web.offer = func(r *http.Request) { r.SetBasicAuth(user, password) }
		}
	default:
		m.path = fmt.Sprintf("/rpc/%s.GetStatus?id=%d", method, m.channel)
		if password != "" {
			// The user is always admin, and the scheme SHA-256 digest.
			m.web.client.Transport = &digest.Transport{Username: "admin", Password: password, Transport: m.web.client.Transport}
		}
	}
	m.about.Of = under(append(named("mac", "", device.MAC), t.places(ctx, "80")...), fmt.Sprintf("%s-%d", component, m.channel))
	// Neither generation says how often or how finely it measures.
	if m.about, err = t.info(m.about); err != nil {
		return nil, err
	}
	if _, err := m.Read(ctx); err != nil && !errors.Is(err, errNoValue) {
		return nil, err
	}
	if channel == "" {
		return m, m.alone(ctx)
	}
	return m, nil
}

// alone refuses to take the first of several channels for the device.
func (m *shelly) alone(ctx context.Context) error {
	var s shellyStatus
	where := m.path
	if !m.first {
		where = strings.Replace(m.path, "id=0", "id=1", 1)
	}
	if err := m.web.get(ctx, where, &s); err != nil && !m.first {
		return nil // it has no second one
	} else if err != nil {
		return err
	}
	if len(s.Meters) > 1 || len(s.EMeters) > 1 || !m.first && s.APower.there {
		return noMeter("it has several channels: append /0, /1, …")
	}
	return nil
}

func (m *shelly) Info() Info { return m.about }

// shellyStatus is what both generations say, each its part.
type shellyStatus struct {
	// First generation: power in W, total in Wmin for meters, Wh for emeters.
	Meters  []shellyMeter `json:"meters"`
	EMeters []shellyMeter `json:"emeters"`
	// Later ones: apower in W, aenergy.total in Wh.
	APower  reading `json:"apower"`
	AEnergy struct {
		Total reading `json:"total"`
	} `json:"aenergy"`
}

type shellyMeter struct {
	Power reading `json:"power"`
	Total reading `json:"total"`
	Valid *bool   `json:"is_valid"`
}

func (m *shelly) Read(ctx context.Context) (Reading, error) {
	start := time.Now()
	var s shellyStatus
	if err := m.web.get(ctx, m.path, &s); err != nil {
		return Reading{}, err
	}
	r, err := s.read(m.first, m.channel)
	r.At = midway(start)
	return r, err
}

// read takes a channel's figures out of a status.
func (s *shellyStatus) read(first bool, channel int) (r Reading, err error) {
	power, energy, worth := s.APower, s.AEnergy.Total, joulesIn["Wh"]
	if first {
		// A device has either the one or the other.
		all := s.Meters
		worth = joulesIn["Wmin"]
		if len(s.EMeters) > 0 {
			all, worth = s.EMeters, joulesIn["Wh"]
		}
		power, energy = reading{}, reading{}
		if channel < len(all) {
			c := all[channel]
			if c.Valid != nil && !*c.Valid {
				return r, noValue("it calls its own measurement invalid")
			}
			power, energy = c.Power, c.Total
		}
	}
	if !power.there {
		return r, noMeter("channel %d of this Shelly does not measure", channel)
	}
	if !power.ok {
		return r, noValue("its power is no number")
	}
	r.Watts, err = consumed(power.value)
	r.Joules = total(energy, worth)
	return r, err
}

func (m *shelly) Close() error { return m.web.close() }

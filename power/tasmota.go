package power

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func tasmotaKind() kind {
	return kind{
		name:    "tasmota",
		address: "HOST[:PORT][/CHANNEL]",
		about:   "smart plug with Tasmota, over HTTP; CHANNEL is 1, 2 … of a device with several",
		open:    openTasmota,
	}
}

// tasmota is one channel of a device with Tasmota.
type tasmota struct {
	web     *web
	about   Info
	channel int // from 0
}

func openTasmota(ctx context.Context, address string) (Meter, error) {
	t, err := parseTarget("tasmota", address, "80")
	if err != nil {
		return nil, err
	}
	m := &tasmota{web: newWeb(t, "http", nil)}
	if t.path != "" {
		n, err := strconv.Atoi(t.path)
		if err != nil || n < 1 {
			return nil, noMeter("a channel is 1, 2, …")
		}
		m.channel = n - 1
	}
	if password := t.secrets["password"]; password != "" {
		user := t.secrets["user"]
		if user == "" {
			user = "admin"
		}
		m.web.offer = func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	// Its energy drivers work once a second (FUNC_ENERGY_EVERY_SECOND).
	known := Info{Interval: time.Second}
	e, err := m.ask(ctx)
	if err != nil {
		return nil, err
	}
	if p := e.Power.at(m.channel); p.ok {
		known.Resolution = p.step // its WattRes
	}
	if t.path == "" && len(e.Power) > 1 {
		return nil, noMeter("it has %d channels: append /1, /2, …", len(e.Power))
	}
	known.Of = under(append(m.mac(ctx), t.places(ctx, "80")...), fmt.Sprintf("channel-%d", m.channel))
	if m.about, err = t.info(known); err != nil {
		return nil, err
	}
	if _, err := e.read(m.channel); err != nil && !errors.Is(err, errNoValue) {
		return nil, err
	}
	return m, nil
}

// mac names the device, where its Status 5 tells.
func (m *tasmota) mac(ctx context.Context) []string {
	var s struct {
		StatusNET struct{ Mac string }
	}
	if m.web.get(ctx, "/cm?cmnd=Status%205", &s) != nil {
		return nil
	}
	return named("mac", "", strings.ReplaceAll(s.StatusNET.Mac, ":", ""))
}

func (m *tasmota) Info() Info { return m.about }

// tasmotaEnergy is the object ENERGY of Tasmota's sensors: Power in W and Total
// in kWh, each one number or one for each channel.
type tasmotaEnergy struct {
	Power readings `json:"Power"`
	Total readings `json:"Total"`
}

// ask sends the command Status 8, which tells the sensors.
func (m *tasmota) ask(ctx context.Context) (*tasmotaEnergy, error) {
	var s struct {
		StatusSNS struct {
			Energy *tasmotaEnergy `json:"ENERGY"`
		} `json:"StatusSNS"`
		Warning string `json:"WARNING"`
	}
	if err := m.web.get(ctx, "/cm?cmnd=Status%208", &s); err != nil {
		return nil, err
	}
	switch {
	case s.Warning != "" && m.web.asked():
		return m.ask(ctx)
	case s.Warning != "":
		// "Need user=<username>&password=<password>", with status 200 in older versions.
		return nil, fmt.Errorf("%s: %w", m.web.base, errDenied)
	case s.StatusSNS.Energy == nil:
		return nil, noMeter("%s does not measure: its Status 8 has no ENERGY", m.web.base)
	}
	return s.StatusSNS.Energy, nil
}

func (m *tasmota) Read(ctx context.Context) (Reading, error) {
	start := time.Now()
	e, err := m.ask(ctx)
	if err != nil {
		return Reading{}, err
	}
	r, err := e.read(m.channel)
	r.At = midway(start)
	return r, err
}

// read takes a channel's figures, counted from 0.
func (e *tasmotaEnergy) read(channel int) (r Reading, err error) {
	if len(e.Power) > 0 && channel >= len(e.Power) {
		return r, noMeter("there is no channel %d: it has %d", channel+1, len(e.Power))
	}
	power := e.Power.at(channel)
	if !power.ok {
		return r, noValue("its power is no number")
	}
	// Some devices count their channels apart, some only the sum.
	if len(e.Total) == len(e.Power) {
		r.Joules = total(e.Total.at(channel), joulesIn["kWh"])
	}
	r.Watts, err = consumed(power.value)
	return r, err
}

func (m *tasmota) Close() error { return m.web.close() }

// readings is one number or a list.
type readings []reading

func (all *readings) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]reading)(all))
	}
	*all = make(readings, 1)
	return (*all)[0].UnmarshalJSON(b)
}

func (all readings) at(i int) reading {
	if i < len(all) {
		return all[i]
	}
	return reading{}
}

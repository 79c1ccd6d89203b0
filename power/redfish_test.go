package power

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zcbench/internal/fault"
	"zcbench/internal/testutil/tier"
)

// The answers follow DMTF's published mockups (DSP2043): a rack server of the
// old Power and one of the new EnvironmentMetrics.
func controller() *pages {
	return &pages{answer: map[string]string{
		"/redfish/v1/Chassis": `{"@odata.type":"#ChassisCollection.ChassisCollection","Name":"Chassis Collection","Members@odata.count":1,
			"Members":[{"@odata.id":"/redfish/v1/Chassis/1U"}],"@odata.id":"/redfish/v1/Chassis"}`,
		"/redfish/v1/Chassis/1U": `{"@odata.type":"#Chassis.v1_15_0.Chassis","Id":"1U","ChassisType":"RackMount","PowerState":"On",
			"Power":{"@odata.id":"/redfish/v1/Chassis/1U/Power"},"EnvironmentMetrics":{"@odata.id":"/redfish/v1/Chassis/1U/EnvironmentMetrics"}}`,
		"/redfish/v1/Chassis/1U/Power": `{"@odata.type":"#Power.v1_6_1.Power","Id":"Power","Name":"Power","PowerControl":[
			{"MemberId":"0","Name":"Server Power Control","PowerConsumedWatts":344,"PowerRequestedWatts":800,"PowerCapacityWatts":1600,
			"PowerMetrics":{"IntervalInMin":30,"MinConsumedWatts":271,"MaxConsumedWatts":489,"AverageConsumedWatts":319}},
			{"MemberId":"1","Name":"CPU","PowerConsumedWatts":121.5}]}`,
		"/redfish/v1/Chassis/1U/EnvironmentMetrics": `{"@odata.type":"#EnvironmentMetrics.v1_2_0.EnvironmentMetrics","Id":"EnvironmentMetrics",
			"TemperatureCelsius":{"DataSourceUri":"/redfish/v1/Chassis/1U/Sensors/AmbientTemp","Reading":22.7},
			"PowerWatts":{"DataSourceUri":"/redfish/v1/Chassis/1U/Sensors/TotalPower","Reading":374},
			"EnergykWh":{"DataSourceUri":"/redfish/v1/Chassis/1U/Sensors/TotalEnergy","Reading":325675.5}}`,
		"/redfish/v1/Chassis/1U/Sensors/TotalPower": `{"@odata.type":"#Sensor.v1_2_0.Sensor","Id":"TotalPower","ReadingType":"Power",
			"Reading":374,"ReadingUnits":"W","SensingInterval":"PT0.5S","Accuracy":1.5}`,
	}}
}

func (p *pages) startTLS(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(p)
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	return s
}

func TestRedfish(t *testing.T) {
	p := controller()
	s := p.startTLS(t)
	host := strings.TrimPrefix(s.URL, "https://")
	file, pin := certificateOf(t, s)
	m := open(t, "redfish:"+host+"?ca="+file)
	if i := m.Info(); i.Interval != 500*time.Millisecond || i.Scope != Wall || !strings.HasPrefix(i.Name, "redfish:"+host) {
		t.Errorf("it is %+v", i)
	}
	reads(t, m, 374, 325675.5*3.6e6)
	reads(t, open(t, "redfish:"+host+"/1U?pin="+pin), 374, 325675.5*3.6e6)

	// Where there are joules, they need no conversion.
	const env = "/redfish/v1/Chassis/1U/EnvironmentMetrics"
	p.set(env, `{"PowerWatts":{"Reading":374.25},"EnergykWh":{"Reading":1},"EnergyJoules":{"Reading":3600123.5}}`)
	reads(t, open(t, "redfish:"+host+"?insecure=true"), 374.25, 3600123.5)
	p.set(env, `{"PowerWatts":{"Reading":null}}`)
	if _, err := m.Read(t.Context()); !errors.Is(err, errNoValue) {
		t.Errorf("null: %v", err)
	}
	// Power has a value, so it is better.
	m = open(t, "redfish:"+host+"?insecure=true")
	reads(t, m, 344, none)
	if i := m.Info(); i.Interval != 0 {
		t.Errorf("Power says nothing of an interval: %+v", i)
	}
	reads(t, open(t, "redfish:"+host+"?insecure=true&control=1"), 121.5, none)

	for spec, says := range map[string]string{
		"":                                     "certificate",
		"?pin=" + strings.Repeat("ab", 32):     pin,
		"?pin=abcd":                            "64",
		"?ca=/nonexistent":                     "nonexistent",
		"?insecure=true&pin=" + pin:            "only one",
		"?insecure=yes":                        "true or false",
		"/2U?insecure=true":                    "not there",
		"?insecure=true&control=7&login=basic": "no chassis that tells", // not EnvironmentMetrics in its place
		"?insecure=true&sensor=x&control=1":    "only one of",
		"?login=digest":                        "session or basic",
	} {
		m, err := Open(t.Context(), "redfish:"+host+spec)
		if says == "" {
			if err != nil {
				t.Errorf("%s: %v", spec, err)
			} else {
				m.Close()
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", spec, err, says)
		}
	}
}

func TestRedfishSeveralChassis(t *testing.T) {
	p := controller()
	p.set("/redfish/v1/Chassis", `{"Members":[{"@odata.id":"/redfish/v1/Chassis/1U"},{"@odata.id":"/redfish/v1/Chassis/Riser"},{"@odata.id":"/redfish/v1/Chassis/GPU"}]}`)
	p.set("/redfish/v1/Chassis/Riser", `{"Id":"Riser"}`)
	p.set("/redfish/v1/Chassis/GPU", `{"Id":"GPU","Power":{"@odata.id":"/redfish/v1/Chassis/1U/Power"}}`)
	host := p.start(t)
	if _, err := Open(t.Context(), "redfish:"+host+"?plain=true"); fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), "/1U /GPU") {
		t.Errorf("several: %v", err)
	}
	reads(t, open(t, "redfish:"+host+"/GPU?plain=true"), 344, none)
	if _, err := Open(t.Context(), "redfish:"+host+"/Riser?plain=true"); fault.Of(err) != fault.Usage {
		t.Errorf("none: %v", err)
	}
	// One that does not answer as it should does not hide the other.
	p.set("/redfish/v1/Chassis", `{"Members":[{"@odata.id":"/redfish/v1/Chassis/Lost"},{"@odata.id":"/redfish/v1/Chassis/GPU"}]}`)
	reads(t, open(t, "redfish:"+host+"?plain=true"), 344, none)
	p.set("/redfish/v1/Chassis", `{"Members":[{"@odata.id":"/redfish/v1/Chassis/Lost"},{"@odata.id":"/redfish/v1/Chassis/Riser"}]}`)
	if _, err := Open(t.Context(), "redfish:"+host+"?plain=true"); !errors.Is(err, errNotThere) {
		t.Errorf("one lost, the other without: %v", err)
	}
	// A link that would make another host of the base.
	p.set("/redfish/v1/Chassis/GPU", `{"Power":{"@odata.id":"@198.51.100.1/"}}`)
	if _, err := Open(t.Context(), "redfish:"+host+"/GPU?plain=true"); err == nil || !strings.Contains(err.Error(), "no path") {
		t.Errorf("a bad link: %v", err)
	}
}

// TestRedfishPlaces: what newer controllers have in place of Power, in the order of
// the documentation, with collections of several pages.
func TestRedfishPlaces(t *testing.T) {
	const chassis = "/redfish/v1/Chassis/1U"
	sensor := func(p *pages, id, reading, units, context string) {
		p.set(chassis+"/Sensors/"+id, fmt.Sprintf(`{"Id":%q,"Reading":%s,"ReadingUnits":%q,"SensingInterval":"PT2S"%s}`, id, reading, units,
			context))
	}
	list := func(ids ...string) string {
		var all []string
		for _, id := range ids {
			all = append(all, fmt.Sprintf(`{"@odata.id":"%s/%s"}`, chassis, id))
		}
		return `"Members":[` + strings.Join(all, ",") + `]`
	}
	p := &pages{answer: map[string]string{
		"/redfish/v1/Chassis":         `{"Members":[{"@odata.id":"/redfish/v1/Chassis/Fan"}],"Members@odata.nextLink":"/redfish/v1/Chassis?$skip=1"}`,
		"/redfish/v1/Chassis?$skip=1": `{"Members":[{"@odata.id":"` + chassis + `"}]}`,
		"/redfish/v1/Chassis/Fan":     `{"Id":"Fan"}`,
		"/redfish/v1/Systems/1":       `{"UUID":"00112233-4455-6677-8899-AABBCCDDEEFF"}`,
		chassis: `{"Id":"1U","Links":{"ComputerSystems":[{"@odata.id":"/redfish/v1/Systems/1"}]},"Power":{"@odata.id":"` + chassis + `/Power"},
			"EnvironmentMetrics":{"@odata.id":"` + chassis + `/EnvironmentMetrics"},"Sensors":{"@odata.id":"` + chassis + `/Sensors"},"PowerSubsystem":{"@odata.id":"` + chassis + `/PowerSubsystem"}}`,
		chassis + "/Sensors":        `{` + list("Sensors/Inlet", "Sensors/CPU") + `,"Members@odata.nextLink":"` + chassis + `/Sensors?page=2"}`,
		chassis + "/Sensors?page=2": `{` + list("Sensors/Total") + `,"@odata.nextLink":"` + chassis + `/Sensors?page=3"}`,
		chassis + "/Sensors?page=3": `{` + list("Sensors/Lost") + `}`,
	}}
	sensor(p, "Inlet", "22.5", "Cel", `,"PhysicalContext":"Chassis"`)
	sensor(p, "CPU", "120", "W", `,"PhysicalContext":"CPU"`)
	sensor(p, "Total", "301.5", "W", `,"PhysicalContext":"Chassis"`)
	host := p.start(t)
	at := func(spec string) Meter { return open(t, "redfish:"+host+spec) }
	m := at("?plain=true")
	reads(t, m, 301.5, none)
	if i := m.Info(); i.Source != "Sensors, Total" || i.Interval != 2*time.Second || !i.Whole ||
		i.Of[0] != serverUUID("00112233-4455-6677-8899-aabbccddeeff")[0] {
		t.Errorf("%+v", i)
	}
	cpu := at("/1U?plain=true&sensor=CPU")
	reads(t, cpu, 120, none)
	related(t, m, cpu, Wider)
	if cpu.Info().Whole {
		t.Error("one sensor is the server")
	}
	p.set(chassis+"/Sensors/Total", `{"Id":"Total","Reading":null,"ReadingUnits":"W","PhysicalContext":"Chassis"}`)
	if _, err := m.Read(t.Context()); !errors.Is(err, errNoValue) {
		t.Errorf("null: %v", err)
	}

	// Which of several is not guessed.
	sensor(p, "Total", "301.5", "W", "")
	if _, err := Open(t.Context(), "redfish:"+host+"?plain=true"); fault.Of(err) != fault.Usage || !strings.Contains(err.Error(),
		"sensor=, one of: CPU Total") {
		t.Errorf("several sensors: %v", err)
	}
	for _, id := range []string{"CPU", "Total"} {
		sensor(p, id, "150", "W", `,"PhysicalContext":"PowerSupply","PhysicalSubContext":"Input"`)
	}
	m = at("?plain=true")
	reads(t, m, 300, none)
	if i := m.Info(); i.Source != "Sensors, CPU + Total" {
		t.Errorf("%+v", i)
	}
	if _, err := Open(t.Context(), "redfish:"+host+"?plain=true&sensor=Inlet"); fault.Of(err) != fault.Usage {
		t.Errorf("a sensor in degrees: %v", err)
	}

	// The supplies of Power come before.
	p.set(chassis+"/Power", `{"PowerSupplies":[{"PowerInputWatts":160},{"Status":{"State":"Absent"},"PowerInputWatts":null},{"Status":{"State":"Enabled"},"PowerInputWatts":"170.5"}]}`)
	m = at("?plain=true")
	reads(t, m, 330.5, none)
	if i := m.Info(); !strings.Contains(i.Source, "as Power has it") {
		t.Errorf("%+v", i)
	}
	// One that is there and says nothing: no sum of the others.
	p.set(chassis+"/Power", `{"PowerSupplies":[{"PowerInputWatts":160},{"PowerInputWatts":null}]}`)
	if r, err := m.Read(t.Context()); !errors.Is(err, errNoValue) {
		t.Errorf("one of two supplies: %v %v", r, err)
	}

	// Those of PowerSubsystem before these.
	p.set(chassis+"/PowerSubsystem", `{"PowerSupplies":{"@odata.id":"`+chassis+`/PowerSubsystem/PowerSupplies"}}`)
	p.set(chassis+"/PowerSubsystem/PowerSupplies", `{`+list("PSU/1", "PSU/2")+`,"Members@odata.nextLink":"`+chassis+`/PSUs?2"}`)
	p.set(chassis+"/PSUs?2", `{`+list("PSU/3")+`}`)
	for i, state := range []string{"Enabled", "Absent", "StandbyOffline"} {
		p.set(fmt.Sprintf("%s/PSU/%d", chassis, i+1), fmt.Sprintf(`{"Status":{"State":%q},"Metrics":{"@odata.id":"%s/PSU/%d/Metrics"}}`, state,
			chassis, i+1))
		p.set(fmt.Sprintf("%s/PSU/%d/Metrics", chassis, i+1), fmt.Sprintf(`{"InputPowerWatts":{"Reading":%d}}`, 100+i))
	}
	m = at("?plain=true")
	reads(t, m, 202, none)
	if i := m.Info(); i.Source != "PowerSubsystem, the input of 2 power supplies" || !i.Whole {
		t.Errorf("%+v", i)
	}

	// The usual places before all, and then no other is asked.
	p.set(chassis+"/Power", `{"PowerControl":[{"Name":"Server","PowerConsumedWatts":344},{"Name":"CPU","PowerConsumedWatts":120}]}`)
	p.guard = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "Sensors") || strings.Contains(r.URL.Path, "PSU") {
			t.Errorf("asked for %s", r.URL)
		}
		return true
	}
	m = at("?plain=true")
	reads(t, m, 344, none)
	if i := m.Info(); i.Source != "Power, PowerControl 0 (Server)" {
		t.Errorf("%+v", i)
	}
	p.set(chassis+"/EnvironmentMetrics", `{"PowerWatts":{"Reading":374}}`)
	m = at("?plain=true")
	reads(t, m, 374, none)
	if i := m.Info(); i.Source != "EnvironmentMetrics" {
		t.Errorf("%+v", i)
	}
	// A control that was asked for is that one, and a part.
	part := at("?plain=true&control=1")
	reads(t, part, 120, none)
	related(t, m, part, Wider)
}

// TestRedfishEndlessPages: a collection without an end is an error and no part of
// it.
func TestRedfishEndlessPages(t *testing.T) {
	p := controller()
	p.set("/redfish/v1/Chassis", `{"Members":[{"@odata.id":"/redfish/v1/Chassis/1U"}],"Members@odata.nextLink":"/redfish/v1/Chassis"}`)
	if _, err := Open(t.Context(), "redfish:"+p.start(t)+"?plain=true"); err == nil || !strings.Contains(err.Error(), "more than 32 pages") {
		t.Errorf("%v", err)
	}
	p.set("/redfish/v1/Chassis", `{"Members":[{"@odata.id":"/redfish/v1/Chassis/1U"}],"Members@odata.nextLink":"http://198.51.100.1/"}`)
	if _, err := Open(t.Context(), "redfish:"+p.start(t)+"?plain=true"); err == nil || !strings.Contains(err.Error(), "no path") {
		t.Errorf("a page elsewhere: %v", err)
	}
}

// guarded is a controller that wants a session or basic authentication.
type guarded struct {
	opened, closed int
	token          string
	basic          int // requests by basic authentication
}

func (g *guarded) check(w http.ResponseWriter, r *http.Request) bool {
	const sessions = "/redfish/v1/SessionService/Sessions"
	switch {
	case r.Method == http.MethodPost && r.URL.Path == sessions:
		var c struct{ UserName, Password string }
		if json.NewDecoder(r.Body).Decode(&c) != nil || c.UserName != "reader" || c.Password != "hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
			return false
		}
		g.opened++
		g.token = fmt.Sprintf("token%d", g.opened)
		w.Header().Set("X-Auth-Token", g.token)
		w.Header().Set("Location", fmt.Sprintf("https://%s%s/%d", r.Host, sessions, g.opened))
		w.WriteHeader(http.StatusCreated)
		return false
	case r.Header.Get("X-Auth-Token") != "" && r.Header.Get("X-Auth-Token") == g.token:
		if r.Method == http.MethodDelete {
			g.closed++
			g.token = ""
			w.WriteHeader(http.StatusNoContent)
			return false
		}
		return true
	}
	if user, password, ok := r.BasicAuth(); ok && user == "reader" && password == "hunter2" {
		g.basic++
		return true
	}
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

func TestRedfishLogin(t *testing.T) {
	g := &guarded{}
	p := controller()
	p.guard = g.check
	host := strings.TrimPrefix(p.startTLS(t).URL, "https://")
	auth := "&auth=" + secretFile(t, "user=reader", "password=hunter2")
	m := open(t, "redfish:"+host+"?insecure=true"+auth)
	reads(t, m, 374, 325675.5*3.6e6)
	g.token = "lost" // the session runs out
	reads(t, m, 374, 325675.5*3.6e6)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if g.opened != 2 || g.closed != 1 || g.basic != 0 {
		t.Errorf("%+v", *g)
	}
	reads(t, open(t, "redfish:"+host+"?insecure=true&login=basic"+auth), 374, 325675.5*3.6e6)
	if g.basic == 0 || g.opened != 2 {
		t.Errorf("by basic authentication: %+v", *g)
	}
	for says, secret := range map[string]string{
		"credentials":         secretFile(t, "user=reader", "password=hunter3"),
		"user and a password": secretFile(t, "user=reader"),
		"":                    secretFile(t, ""),
	} {
		_, err := Open(t.Context(), "redfish:"+host+"?insecure=true&auth="+secret)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter3") {
			t.Errorf("%q: %v", says, err)
		}
	}
}

// A server that this project did not write, with DMTF's own mockup.
func TestRedfishMockup(t *testing.T) {
	tier.Long(t)
	t.Parallel()
	server := filepath.Join(t.TempDir(), "server")
	if out, err := exec.Command("go", "build", "-C", "testdata/redfish", "-o", server, ".").CombinedOutput(); err != nil {
		t.Skipf("the mock server cannot be built, which needs the Go module proxy once: %v\n%s", err, out)
	}
	host := "127.0.0.1:" + freePort(t, "tcp")
	background(t, nil, server, host)
	eventually(t, func() error {
		c, err := net.Dial("tcp", host)
		if err == nil {
			c.Close()
		}
		return err
	})
	m := open(t, "redfish:"+host+"?plain=true")
	reads(t, m, 374, none)
	if i := m.Info(); i.Interval != 250*time.Millisecond {
		t.Errorf("it is %+v", i)
	}
	// Without the new resource's figure, the old one's.
	r, err := http.NewRequest(http.MethodPatch, "http://"+host+"/redfish/v1/Chassis/1U/EnvironmentMetrics",
		strings.NewReader(`{"PowerWatts":{"Reading":null}}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil || answer.StatusCode >= 300 {
		t.Fatalf("%v, %v", answer, err)
	}
	answer.Body.Close()
	if _, err := m.Read(t.Context()); !errors.Is(err, errNoValue) {
		t.Errorf("null: %v", err)
	}
	reads(t, open(t, "redfish:"+host+"?plain=true"), 344, none)
}

func TestISODuration(t *testing.T) {
	for s, want := range map[string]time.Duration{"PT1S": time.Second, "PT0.25S": 250 * time.Millisecond, "PT1M30S": 90 * time.Second,
		"PT1H": time.Hour, "P1D": 0, "": 0, "1s": 0} {
		if got := isoDuration(s); got != want {
			t.Errorf("%s is %v, want %v", s, got, want)
		}
	}
}

func FuzzRedfish(f *testing.F) {
	for _, text := range controller().answer {
		f.Add(text, 0)
		f.Add(text, 1)
	}
	f.Fuzz(func(t *testing.T, text string, control int) {
		var p redfishPower
		if control < 0 || json.Unmarshal([]byte(text), &p) != nil {
			return
		}
		for kind := ofEnvironment; kind <= ofSensors; kind++ {
			r, err := p.read(&redfishSource{kind: kind, control: control})
			sane(t, r, err)
		}
		isoDuration(text)
	})
}

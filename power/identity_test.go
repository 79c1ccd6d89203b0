package power

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// related wants a relation of two meters, and its opposite the other way round.
func related(t *testing.T, a, b Meter, want Relation) {
	t.Helper()
	i, j := a.Info(), b.Info()
	back := map[Relation]Relation{Wider: Narrower, Narrower: Wider}
	opposite, ok := back[want]
	if !ok {
		opposite = want
	}
	if got, other := i.Relate(&j), j.Relate(&i); got != want || other != opposite {
		t.Errorf("%s %q and %s %q: relation %d and %d, want %d", i.Name, i.Of, j.Name, j.Of, got, other, want)
	}
}

func TestIdentityOfSysfs(t *testing.T) {
	sys := serverTree(t)
	zone := func(name string) Meter {
		m, err := openRAPL(sys, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
	related(t, zone(""), zone(""), Same)
	related(t, zone(""), zone("core"), Wider)
	related(t, zone(""), zone("dram"), Wider)
	related(t, zone("package-0"), zone(""), Narrower)
	related(t, zone("package-0"), zone("core"), Wider)
	related(t, zone("package-0"), zone("package-1"), Apart)
	related(t, zone("package-0"), zone("dram"), Apart)
	related(t, zone("psys"), zone(""), Wider)
	if i := zone("psys").Info(); !i.Whole || zone("").Info().Whole {
		t.Error("which is the platform?")
	}

	chips := tree(t, map[string]string{
		"class/hwmon/hwmon0/name": "amd_energy", "class/hwmon/hwmon0/energy1_input": "1", "class/hwmon/hwmon0/energy1_label": "Ecore000",
		"class/hwmon/hwmon0/energy2_input": "2", "class/hwmon/hwmon0/energy2_label": "Esocket0",
		"class/hwmon/hwmon0/energy3_input": "2", "class/hwmon/hwmon0/energy3_label": "Esocket1",
		"class/hwmon/hwmon1/name": "xe", "class/hwmon/hwmon1/energy1_input": "1", "class/hwmon/hwmon1/energy1_label": "card",
		"class/hwmon/hwmon1/power1_input": "1",
		"class/hwmon/hwmon1/power1_label": "card", "class/hwmon/hwmon1/energy2_input": "1", "class/hwmon/hwmon1/energy2_label": "pkg",
		"class/hwmon/hwmon2/name": "pmbus", "class/hwmon/hwmon2/power1_input": "5", "class/hwmon/hwmon2/power1_label": "pin",
		"class/hwmon/hwmon2/power2_input": "4", "class/hwmon/hwmon2/power2_label": "pout1",
		"class/hwmon/hwmon3/name": "pmbus", "class/hwmon/hwmon3/power1_input": "5", "class/hwmon/hwmon3/power1_label": "pin",
		"class/hwmon/hwmon3/power2_input": "4", "class/hwmon/hwmon3/power2_label": "pout1",
		"class/hwmon/hwmon4/name": "ina3221", "class/hwmon/hwmon4/power1_input": "5", "class/hwmon/hwmon4/power2_input": "5",
		"class/hwmon/hwmon5/name": "power_meter", "class/hwmon/hwmon5/power1_average": "5",
	})
	chip := func(name string) Meter {
		m, err := openHwmon(chips, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
	related(t, zone(""), chip("amd_energy/Esocket0"), Wider)
	related(t, zone("package-0"), chip("amd_energy/Esocket0"), Same)
	related(t, chip("amd_energy/Esocket1"), chip("amd_energy/Esocket0"), Apart)
	related(t, chip("amd_energy/Esocket0"), chip("amd_energy/Ecore000"), Wider)
	related(t, chip("xe/energy1"), chip("xe/power1"), Same)
	related(t, chip("xe/energy1"), chip("xe/energy2"), Wider)
	related(t, chip("hwmon2/pin"), chip("hwmon2/pout1"), Wider)
	related(t, chip("hwmon2/pin"), chip("hwmon3/pin"), Apart)
	related(t, chip("hwmon2/pin"), zone(""), Apart)
	related(t, chip("ina3221/power1"), chip("ina3221/power2"), Unknown)
	if !chip("power_meter").Info().Whole {
		t.Error("ACPI's meter is of the server")
	}
	smi(t, false)
	related(t, open(t, "nvml:0"), open(t, "nvml:GPU-aaaa"), Same)

	path := filepath.Join(t.TempDir(), "log.csv")
	put(t, "", path, "time,watts")
	other := filepath.Join(t.TempDir(), "log.csv")
	put(t, "", other, "time,watts")
	related(t, open(t, "replay:"+path), open(t, "replay+2s:"+filepath.Dir(path)+"/./log.csv"), Same)
	related(t, open(t, "replay:"+path), open(t, "replay:"+other), Unknown)
	related(t, open(t, "exec:echo hunter2"), open(t, "exec:echo hunter2?interval=2s"), Same)
	related(t, open(t, "exec:echo 1"), open(t, "exec:echo 2"), Unknown)
	related(t, open(t, "exec:echo 1"), zone("psys"), Unknown)
	if i := open(t, "exec:echo hunter2").Info(); strings.Contains(fmt.Sprint(i), "hunter2") {
		t.Errorf("it tells its command: %+v", i)
	}
}

func TestIdentityOfInstruments(t *testing.T) {
	local := func(address string) string { return strings.Replace(address, "127.0.0.1", "localhost", 1) }
	b := &bench{values: "1,1", state: "STOP", answers: map[string]string{"MEAS:POW?": "5", "FETC:POW?": "5"}}
	address, _ := serve(t, b.lines)
	second, _ := serve(t, b.lines) // the same serial number on another port
	wt := "?model=wt300&transport=socket"
	related(t, open(t, "scpi:"+address+wt), open(t, "scpi:"+local(second)+"/1"+wt), Wider)
	related(t, open(t, "scpi:"+address+"/1"+wt), open(t, "scpi:"+address+"/2"+wt), Apart)
	related(t, open(t, "scpi:"+address+"?power=MEAS:POW?"), open(t, "scpi:"+local(second)+"?power=MEAS:POW?"), Same)
	related(t, open(t, "scpi:"+address+"?power=MEAS:POW?"), open(t, "scpi:"+address+"?power=FETC:POW?"), Unknown)

	p := &pages{answer: map[string]string{"/shelly": gen2Device, "/rpc/Switch.GetStatus?id=0": gen2Switch,
		"/rpc/PM1.GetStatus?id=0": gen2Switch}}
	one, two := p.start(t), p.start(t)
	related(t, open(t, "shelly:"+one), open(t, "shelly:"+local(two)+"/switch:0"), Same)
	related(t, open(t, "shelly:"+one), open(t, "shelly:"+one+"/pm1:0"), Apart)
	p = &pages{answer: map[string]string{"/cm?cmnd=Status%208": tasmotaStatus,
		"/cm?cmnd=Status%205": `{"StatusNET":{"Hostname":"plug","Mac":"5C:CF:7F:00:00:01"}}`}}
	plug := p.start(t)
	related(t, open(t, "tasmota:"+plug), open(t, "tasmota:"+p.start(t)+"/1"), Same)
	related(t, open(t, "tasmota:"+plug), open(t, "shelly:"+one), Apart)

	// Of several channels the first is not the device.
	p.set("/cm?cmnd=Status%208", strings.Replace(tasmotaStatus, `"Power":103`, `"Power":[103,50]`, 1))
	if _, err := Open(t.Context(), "tasmota:"+plug); err == nil || !strings.Contains(err.Error(), "it has 2 channels") {
		t.Errorf("a device of two channels: %v", err)
	}
	related(t, open(t, "tasmota:"+plug+"/1"), open(t, "tasmota:"+plug+"/2"), Apart)
	p = &pages{answer: map[string]string{"/shelly": gen2Device, "/rpc/Switch.GetStatus?id=0": gen2Switch,
		"/rpc/Switch.GetStatus?id=1": gen2Switch}}
	if _, err := Open(t.Context(), "shelly:"+p.start(t)); err == nil || !strings.Contains(err.Error(), "several channels") {
		t.Errorf("a switch of two channels: %v", err)
	}
	p = &pages{answer: map[string]string{"/shelly": gen1Device, "/status": `{"meters":[{"power":1,"total":1},{"power":2,"total":2}]}`}}
	host := p.start(t)
	if _, err := Open(t.Context(), "shelly:"+host); err == nil || !strings.Contains(err.Error(), "several channels") {
		t.Errorf("a switch of the first generation: %v", err)
	}
	reads(t, open(t, "shelly:"+host+"/0"), 1, 60)
}

func TestIdentityOfControllers(t *testing.T) {
	t.Parallel()
	d := &dcmiServer{watts: 287, active: true}
	one, _ := d.start(t, "127.0.0.1:0")
	two, _ := d.start(t, "127.0.0.1:0")
	auth := "?auth=" + secretFile(t, "user=reader", "password=hunter2")
	a, b := open(t, "ipmi:"+one+auth), open(t, "ipmi:"+strings.Replace(two, "127.0.0.1", "localhost", 1)+auth)
	related(t, a, b, Same)
	p := controller()
	p.set("/redfish/v1/Chassis/1U", `{"Power":{"@odata.id":"/redfish/v1/Chassis/1U/Power"},"Links":{"ComputerSystems":[{"@odata.id":"/redfish/v1/Systems/1"}]}}`)
	p.set("/redfish/v1/Systems/1", `{"UUID":"00112233-4455-6677-8899-AABBCCDDEEFF"}`)
	host := p.start(t)
	related(t, a, open(t, "redfish:"+host+"?plain=true"), Same)
	related(t, a, open(t, "redfish:"+host+"/1U?plain=true&control=1"), Wider)
	p.set("/redfish/v1/Systems/1", `{"UUID":"00112233-4455-6677-8899-AABBCCDDEE00"}`)
	related(t, a, open(t, "redfish:"+host+"?plain=true"), Apart)
	if i := a.Info(); !i.Whole || i.Of[0] != serverUUID("00112233-4455-6677-8899-AABBCCDDEEFF")[0] {
		t.Errorf("%+v", i)
	}
}

func TestIdentityOfPDUs(t *testing.T) {
	host := snmpd(t)
	t.Setenv("ZCBENCH_METER_COMMUNITY", "hunter2")
	name := "snmp:" + strings.Replace(host, "127.0.0.1", "localhost", 1)
	host = "snmp:" + host
	related(t, open(t, host+"/apc/5"), open(t, name+"/apc/05?version=1"), Same)
	related(t, open(t, host+"/apc/5"), open(t, host+"?power="+rPDU2OutletMeteredStatusPower[1:]+".5"), Same)
	related(t, open(t, host+"/apc"), open(t, name+"/apc/5"), Wider)
	related(t, open(t, host+"/apc"), open(t, host+"/apc?pdu=4"), Apart)
	related(t, open(t, host+"/raritan"), open(t, host+"/raritan/7"), Wider)
	related(t, open(t, host+"/raritan/7"), open(t, host+"/raritan/8"), Apart)
	related(t, open(t, host+"/apc"), open(t, host+"?power=1.3.6.1.4.1.8072.9999.2.0"), Unknown)
}

func TestIdentityOfTopics(t *testing.T) {
	b := mosquitto(t)
	b.start()
	auth := "auth=" + secretFile(t, "user=reader", "password=hunter2")
	topic := func(s string) Meter {
		separator := "?"
		if strings.Contains(s, "?") {
			separator = "&"
		}
		return open(t, "mqtt:"+b.host+s+separator+auth)
	}
	related(t, topic("/tele/plug/SENSOR"), topic("/tele/plug/SENSOR"), Same)
	related(t, topic("/tele/plug/SENSOR"), topic("/tele/plug/SENSOR?power=ENERGY.Power"), Wider)
	related(t, topic("/plug?power=a"), topic("/plug?power=b"), Unknown)
	related(t, topic("/plug/1"), topic("/plug/2"), Apart)
}

func TestServerUUID(t *testing.T) {
	want := serverUUID("00112233-4455-6677-8899-aabbccddeeff")
	if len(want) != 1 {
		t.Fatal("a UUID is none")
	}
	for _, same := range []string{"00112233445566778899AABBCCDDEEFF", "33221100-5544-7766-8899-aabbccddeeff",
		"ffeeddcc-bbaa-9988-7766-554433221100", "ffeeddcc-bbaa-9988-6677-445500112233", "ccddeeff-aabb-8899-7766-554433221100"} {
		if got := serverUUID(same); len(got) != 1 || got[0] != want[0] {
			t.Errorf("%s is %v, want %v", same, got, want)
		}
	}
	for _, bad := range []string{"", "x", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
		"03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009"} {
		if got := serverUUID(bad); got != nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
	if got := serverUUID("00112233-4455-6677-8899-aabbccddeef0"); got[0] == want[0] {
		t.Error("two servers have one UUID")
	}
	for value, named := range map[string]bool{"ZA1": true, "": false, "0000": false, " N/A ": false, "To Be Filled By O.E.M.": false} {
		if got := namedOf(value); got != named {
			t.Errorf("%q: %v", value, got)
		}
	}
}

func namedOf(value string) bool { return len(named("serial", "x", value)) > 0 }

// TestPlaces: an address is the same however it is written, and a port of one's
// own is another device.
func TestPlaces(t *testing.T) {
	of := func(address string) string {
		tt, err := parseTarget("snmp", address, "161")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(tt.places(t.Context(), "161"), " ")
	}
	if of("192.0.2.1") != of("192.0.2.1:161") || of("192.0.2.1") == of("192.0.2.1:1161") || of("192.0.2.1") == of("192.0.2.2") {
		t.Error("addresses are confused")
	}
	if a := of("127.0.0.1"); !strings.Contains(a, "127.0.0.1") || a == "addr:127.0.0.1" {
		t.Errorf("%s is no address of this host alone", a)
	}
	if of("[2001:db8::1]") != of("[2001:0db8:0:0::1]") {
		t.Error("one address in two spellings")
	}
	if _, err := net.DefaultResolver.LookupHost(t.Context(), "localhost"); err == nil && !strings.Contains(of("localhost"),
		strings.TrimPrefix(of("127.0.0.1"), "addr:")) {
		t.Errorf("localhost is %s", of("localhost"))
	}
}

package power

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gosnmp/gosnmp"

	"zcbench/internal/fault"
)

func snmpKind() kind {
	return kind{
		name: "snmp",
		address: "HOST[:PORT]/apc[/OUTLET], /apc-rpdu or /raritan[/OUTLET] [?pdu=N][?inlet=N], or " +
			"HOST[:PORT]?power=OID[&power-unit=UNIT][&energy=OID&energy-unit=UNIT]; all: [&version=1|2c|3]",
		about: "power distribution unit over SNMP: APC's rPDU2 (steps of 10 W, of 1 W by outlet) and the older rPDU, Raritan's PDU2 inlet or " +
			"outlet, others by their OIDs; " +
			"community, or user, auth-password and privacy-password, from the file of auth=FILE or ZCBENCH_METER_…",
		open: openSNMP,
	}
}

// snmp is one value, or a value and a counter, of an SNMP agent.
type snmp struct {
	client            gosnmp.GoSNMP
	connected         bool
	about             Info
	address           string
	power, energy     string // OIDs; energy "" where none is wanted
	valid             string // OID that is true(1) while the values hold; may be none
	inWatts, inJoules float64
}

var (
	oidForm      = regexp.MustCompile(`^\.?\d{1,10}(\.\d{1,10}){1,100}$`)
	authProtocol = map[string]gosnmp.SnmpV3AuthProtocol{"MD5": gosnmp.MD5, "SHA": gosnmp.SHA, "SHA-224": gosnmp.SHA224,
		"SHA-256": gosnmp.SHA256, "SHA-384": gosnmp.SHA384, "SHA-512": gosnmp.SHA512}
	privProtocol = map[string]gosnmp.SnmpV3PrivProtocol{"DES": gosnmp.DES, "AES": gosnmp.AES, "AES-192": gosnmp.AES192,
		"AES-256": gosnmp.AES256, "AES-192-C": gosnmp.AES192C, "AES-256-C": gosnmp.AES256C}
)

// Objects of APC's PowerNet-MIB and of Raritan's PDU2-MIB, without their indexes.
const (
	rPDU2DeviceStatusPower         = ".1.3.6.1.4.1.318.1.1.26.4.3.1.5"    // hundredths of kW; -1: not supported
	rPDU2DeviceStatusEnergy        = ".1.3.6.1.4.1.318.1.1.26.4.3.1.9"    // tenths of kWh
	rPDU2OutletMeteredStatusPower  = ".1.3.6.1.4.1.318.1.1.26.9.4.3.1.7"  // W
	rPDU2OutletMeteredStatusEnergy = ".1.3.6.1.4.1.318.1.1.26.9.4.3.1.11" // tenths of kWh
	rPDU2OutletMeteredStatusModule = ".1.3.6.1.4.1.318.1.1.26.9.4.3.1.2"  // which PDU of a group
	rPDU2IdentSerialNumber         = ".1.3.6.1.4.1.318.1.1.26.2.1.9"
	rPDUIdentSerialNumber          = ".1.3.6.1.4.1.318.1.1.12.1.6.0"
	pduSerialNumber                = ".1.3.6.1.4.1.13742.6.3.2.1.1.4"
	snmpEngineID                   = ".1.3.6.1.6.3.10.2.1.1.0"
	rPDUIdentDevicePowerWatts      = ".1.3.6.1.4.1.318.1.1.12.1.16.0" // W

	// Of each the column .2 says whether the value is available, .4 is the
	// value; of the configuration .6 is the unit, .7 the decimals.
	measurementsInletSensor  = ".1.3.6.1.4.1.13742.6.5.2.3.1"
	measurementsOutletSensor = ".1.3.6.1.4.1.13742.6.5.4.3.1"
	inletSensor              = ".1.3.6.1.4.1.13742.6.3.3.4.1"
	outletSensor             = ".1.3.6.1.4.1.13742.6.3.5.4.1"
	activePower              = 5 // of SensorTypeEnumeration
	activeEnergy             = 8
	unitWatt                 = 3 // of SensorUnitsEnumeration
	unitWattHour             = 5
)

func openSNMP(ctx context.Context, address string) (Meter, error) {
	t, err := parseTarget("snmp", address, "161", "power", "power-unit", "energy", "energy-unit", "pdu", "inlet", "version")
	if err != nil {
		return nil, err
	}
	m := &snmp{address: t.address(), inWatts: 1, inJoules: 1}
	if err := m.setUp(t); err != nil {
		return nil, err
	}
	var known Info
	find := m.device
	if t.path == "" {
		find = m.generic
	}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if known, err = find(ctx, t); err != nil {
		return nil, err
	}
	if known.Of, err = m.identify(ctx, t); err != nil {
		return nil, err
	}
	if m.about, err = t.info(known); err != nil {
		return nil, err
	}
	if _, err = m.Read(ctx); err != nil && !errors.Is(err, errNoValue) {
		return nil, err
	}
	err = nil
	return m, nil
}

// setUp reads how to speak with the agent.
func (m *snmp) setUp(t *target) error {
	port, _ := strconv.ParseUint(t.port, 10, 16) // parseTarget has seen it
	m.client = gosnmp.GoSNMP{Target: t.host, Port: uint16(port), Transport: "udp", Timeout: patience / 3, Retries: 2, MaxOids: gosnmp.MaxOids}
	community := t.secrets["community"]
	if community == "" {
		community = "public"
	}
	switch t.options["version"] {
	case "1":
		m.client.Version, m.client.Community = gosnmp.Version1, community
	case "", "2c":
		m.client.Version, m.client.Community = gosnmp.Version2c, community
	case "3":
		return m.usm(t.secrets)
	default:
		return noMeter("option version is 1, 2c or 3")
	}
	return nil
}

// usm sets the user of version 3 (RFC 3414).
func (m *snmp) usm(secrets map[string]string) error {
	user := &gosnmp.UsmSecurityParameters{UserName: secrets["user"], AuthenticationProtocol: gosnmp.NoAuth, PrivacyProtocol: gosnmp.NoPriv}
	if user.UserName == "" {
		return noMeter("version 3 takes a user: put user=NAME, auth-password=… and privacy-password=… into the file of auth=FILE, or into " +
			"ZCBENCH_METER_USER and so on")
	}
	m.client.Version, m.client.SecurityModel, m.client.SecurityParameters = gosnmp.Version3, gosnmp.UserSecurityModel, user
	m.client.MsgFlags = gosnmp.NoAuthNoPriv
	if p := secrets["auth-password"]; p != "" {
		name := cmp.Or(secrets["auth-protocol"], "SHA")
		protocol, ok := authProtocol[name]
		if !ok {
			return noMeter("auth-protocol is one of %s", strings.Join(slices.Sorted(maps.Keys(authProtocol)), " "))
		}
		user.AuthenticationProtocol, user.AuthenticationPassphrase = protocol, p
		m.client.MsgFlags = gosnmp.AuthNoPriv
	}
	if p := secrets["privacy-password"]; p != "" {
		name := cmp.Or(secrets["privacy-protocol"], "AES")
		protocol, ok := privProtocol[name]
		if !ok {
			return noMeter("privacy-protocol is one of %s", strings.Join(slices.Sorted(maps.Keys(privProtocol)), " "))
		}
		if m.client.MsgFlags == gosnmp.NoAuthNoPriv {
			return noMeter("a privacy-password needs an auth-password")
		}
		user.PrivacyProtocol, user.PrivacyPassphrase = protocol, p
		m.client.MsgFlags = gosnmp.AuthPriv
	}
	return nil
}

// generic takes the OIDs of the address.
func (m *snmp) generic(ctx context.Context, t *target) (known Info, err error) {
	m.power, m.energy = t.options["power"], t.options["energy"]
	if m.power == "" && m.energy == "" {
		return known, noMeter("name the device (/apc, /apc-rpdu, /raritan) or its OIDs (?power=OID)")
	}
	for name, oid := range map[string]*string{"power": &m.power, "energy": &m.energy} {
		if *oid != "" && !oidForm.MatchString(*oid) {
			return known, noMeter("option %s is an OID in numbers", name)
		}
		if *oid != "" {
			*oid = "." + strings.TrimPrefix(*oid, ".")
		}
	}
	if t.options["pdu"]+t.options["inlet"] != "" {
		return known, noMeter("options pdu and inlet go with /apc and /raritan")
	}
	if m.inWatts, m.inJoules, err = t.scales(); err != nil || m.energy == "" {
		return known, err
	}
	values, err := m.get(ctx, m.energy)
	if err != nil {
		return known, err
	}
	if values[0].Type == gosnmp.Counter32 {
		known.Range = (1 << 32) * m.inJoules
	}
	return known, nil
}

// part is which part of a known device an address names.
type part struct {
	maker  string
	pdu    uint64
	of     bool   // an outlet, not the whole
	number uint64 // of the outlet, or of the inlet
}

// partOf reads it off an address.
func partOf(t *target) (p part, err error) {
	for _, name := range []string{"power", "power-unit", "energy", "energy-unit"} {
		if t.options[name] != "" {
			return p, noMeter("%.20q has its own OIDs and units: leave out %s", t.path, name)
		}
	}
	if p.pdu, err = t.number("pdu", 1, 255, 1); err != nil {
		return p, err
	}
	var outlet string
	p.maker, outlet, p.of = strings.Cut(t.path, "/")
	p.number = 1
	if p.of {
		if p.number, err = strconv.ParseUint(outlet, 10, 16); err != nil || p.number == 0 {
			return p, noMeter("an outlet is 1, 2, …")
		}
	}
	inlet, err := t.number("inlet", 1, 255, 1)
	if err != nil {
		return p, err
	}
	if t.options["inlet"] != "" && (p.of || p.maker != "raritan") {
		return p, noMeter("option inlet goes with /raritan alone")
	}
	if p.maker == "raritan" && !p.of {
		p.number = inlet
	}
	return p, nil
}

// whole refuses a device of which the address names the whole and which has several
// parts: the first would be one of them. An object that is not there is none.
func (m *snmp) whole(ctx context.Context, t *target, p part) error {
	var second, what string
	switch {
	case p.maker == "apc" && !p.of && t.options["pdu"] == "":
		second, what = fmt.Sprint(rPDU2DeviceStatusPower, ".2"), "pdu"
	case p.maker == "raritan" && !p.of && t.options["inlet"] == "":
		second, what = fmt.Sprintf("%s.4.%d.2.%d", measurementsInletSensor, p.pdu, activePower), "inlet"
	default:
		return nil
	}
	values, err := m.get(ctx, second)
	if fault.Of(err) == fault.Usage {
		return nil
	} else if err != nil {
		return err
	}
	if n, err := snmpNumber(values[0]); err != nil || n < 0 {
		return nil
	}
	return noMeter("it has several %ss: say %s=1, %s=2 …, each a meter of its own", what, what, what)
}

// device takes the OIDs of a known one.
func (m *snmp) device(ctx context.Context, t *target) (known Info, err error) {
	p, err := partOf(t)
	if err == nil {
		err = m.whole(ctx, t, p)
	}
	if err != nil {
		return known, err
	}
	switch {
	case p.maker == "apc" && !p.of:
		known.Resolution = 10
		m.power, m.inWatts = fmt.Sprint(rPDU2DeviceStatusPower, ".", p.pdu), 10
		m.energy, m.inJoules = fmt.Sprint(rPDU2DeviceStatusEnergy, ".", p.pdu), 0.1*joulesIn["kWh"]
	case p.maker == "apc":
		// Outlets are numbered through all of a group of PDUs.
		known.Resolution = 1
		m.power = fmt.Sprint(rPDU2OutletMeteredStatusPower, ".", p.number)
		m.energy, m.inJoules = fmt.Sprint(rPDU2OutletMeteredStatusEnergy, ".", p.number), 0.1*joulesIn["kWh"]
		if t.options["pdu"] != "" {
			return known, noMeter("APC numbers outlets through all PDUs: leave out pdu")
		}
	case p.maker == "apc-rpdu" && !p.of:
		if t.options["pdu"] != "" {
			return known, noMeter("the older rPDU has no others beside it: leave out pdu")
		}
		known.Resolution = 1
		m.power = rPDUIdentDevicePowerWatts
	case p.maker == "raritan":
		if err := m.raritan(ctx, p); err != nil {
			return known, err
		}
		known.Resolution = m.inWatts
	default:
		return known, noMeter("the device is apc, apc/OUTLET, apc-rpdu, raritan or raritan/OUTLET; give others by their OIDs: ?power=OID")
	}
	// A value that is not there would spoil the others of the same question.
	if m.energy != "" {
		if _, err := m.get(ctx, m.energy); fault.Of(err) == fault.Usage {
			m.energy = ""
		} else if err != nil {
			return known, err
		}
	}
	return known, nil
}

// raritan takes the sensors of an inlet or an outlet, and what they count in.
func (m *snmp) raritan(ctx context.Context, p part) (err error) {
	config, values := inletSensor, measurementsInletSensor
	if p.of {
		config, values = outletSensor, measurementsOutletSensor
	}
	sensor := func(table string, column, kind int) string {
		return fmt.Sprintf("%s.%d.%d.%d.%d", table, column, p.pdu, p.number, kind)
	}
	if m.inWatts, err = m.unit(ctx, sensor(config, 6, activePower), sensor(config, 7, activePower), unitWatt); err != nil {
		return err
	}
	m.power, m.energy = sensor(values, 4, activePower), sensor(values, 4, activeEnergy)
	m.valid = sensor(values, 2, activePower)
	// Not every outlet counts; one that does has the unit to show for it.
	if m.inJoules, err = m.unit(ctx, sensor(config, 6, activeEnergy), sensor(config, 7, activeEnergy),
		unitWattHour); fault.Of(err) == fault.Usage {
		m.energy = ""
	} else if err != nil {
		return err
	}
	m.inJoules *= joulesIn["Wh"]
	return nil
}

// identify names what is read: of a known device by its serial number, and of any
// by the agent and the object.
func (m *snmp) identify(ctx context.Context, t *target) ([]string, error) {
	told := func(sort, maker, oid string) ([]string, error) {
		values, err := m.get(ctx, oid)
		switch {
		case fault.Of(err) == fault.Unreachable:
			return nil, err
		case err != nil:
			return nil, nil // it does not tell
		}
		switch v := values[0].Value.(type) {
		case []byte:
			if sort == "agent" {
				return named(sort, "", hex.EncodeToString(v)), nil
			}
			return named(sort, maker, string(v)), nil
		case int:
			return named(sort, maker, strconv.Itoa(v)), nil
		}
		return nil, nil
	}
	agent, err := told("agent", "", snmpEngineID)
	if err != nil {
		return nil, err
	}
	all := under(append(agent, t.places(ctx, "161")...), "?"+cmp.Or(m.power, m.energy))
	name, outlet, of := strings.Cut(t.path, "/")
	pdu := cmp.Or(t.options["pdu"], "1")
	var device []string
	switch name {
	case "apc":
		if of {
			if values, err := m.get(ctx, rPDU2OutletMeteredStatusModule+"."+outlet); err == nil {
				if n, err := snmpNumber(values[0]); err == nil {
					pdu = fmt.Sprint(n)
				}
			}
		}
		device, err = told("serial", name, rPDU2IdentSerialNumber+"."+pdu)
	case "apc-rpdu":
		device, err = told("serial", "apc", rPDUIdentSerialNumber)
	case "raritan":
		device, err = told("serial", name, pduSerialNumber+"."+pdu)
	default:
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	device = append(device, under(t.places(ctx, "161"), "pdu-"+pdu)...)
	if inlet := t.options["inlet"]; inlet != "" {
		device = under(device, "inlet-"+inlet)
	}
	if of {
		n, _ := strconv.ParseUint(outlet, 10, 16) // device has seen it
		device = under(device, fmt.Sprintf("outlet-%d", n))
	}
	return append(device, all...), nil
}

// unit asks a Raritan what a sensor's numbers are worth in its base unit.
func (m *snmp) unit(ctx context.Context, unit, decimals string, want float64) (float64, error) {
	values, err := m.get(ctx, unit, decimals)
	if err != nil {
		return 0, err
	}
	u, err := snmpNumber(values[0])
	if err == nil && u != want {
		err = fmt.Errorf("%s counts in a unit that is not known here: %v", m.address, u)
	}
	digits := 0.0
	if err == nil {
		digits, err = snmpNumber(values[1])
	}
	if err == nil && (digits < 0 || digits > 9) {
		err = fmt.Errorf("%s counts in %v decimals", m.address, digits)
	}
	return math.Pow10(-int(digits)), err
}

// get asks for values, all of which must be there. gosnmp repeats questions
// that are not answered.
func (m *snmp) get(ctx context.Context, oids ...string) ([]gosnmp.SnmpPDU, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m.client.Context = ctx
	if !m.connected {
		if err := m.client.Connect(); err != nil {
			return nil, noAnswer("%w", err)
		}
		m.connected = true
	}
	answer, err := m.client.Get(oids)
	if err != nil {
		// Version 3 makes the agent's acquaintance anew: it may have restarted.
		m.Close()
		hint := ""
		if !errors.Is(err, syscall.ECONNREFUSED) {
			hint = " (nor would it answer to a wrong community or user)"
		}
		return nil, noAnswer("%s: %w%s", m.address, err, hint)
	}
	switch {
	case answer.Error == gosnmp.NoSuchName && int(answer.ErrorIndex) >= 1 && int(answer.ErrorIndex) <= len(oids):
		return nil, noMeter("%s has no %s", m.address, oids[answer.ErrorIndex-1])
	case answer.Error != gosnmp.NoError:
		return nil, fmt.Errorf("%s answers %v", m.address, answer.Error)
	case len(answer.Variables) != len(oids):
		return nil, fmt.Errorf("%s answers %d values for %d (%s)", m.address, len(answer.Variables), len(oids), snmpReport(answer))
	}
	for i, v := range answer.Variables {
		switch {
		case v.Name != oids[i]:
			return nil, fmt.Errorf("%s answers %s for %s (%s)", m.address, v.Name, oids[i], snmpReport(answer))
		case v.Type == gosnmp.NoSuchObject || v.Type == gosnmp.NoSuchInstance:
			return nil, noMeter("%s has no %s", m.address, oids[i])
		}
	}
	return answer.Variables, nil
}

// snmpReport names what an agent reports in place of an answer.
func snmpReport(answer *gosnmp.SnmpPacket) string {
	if answer.PDUType == gosnmp.Report {
		return "it reports an error: are user and passwords right?"
	}
	return "not what was asked"
}

func (m *snmp) Info() Info { return m.about }

func (m *snmp) Read(ctx context.Context) (r Reading, err error) {
	var oids []string
	for _, oid := range []string{m.power, m.energy, m.valid} {
		if oid != "" {
			oids = append(oids, oid)
		}
	}
	start := time.Now()
	values, err := m.get(ctx, oids...)
	if err != nil {
		return r, err
	}
	r.At = midway(start)
	if m.valid != "" {
		if n, err := snmpNumber(values[len(values)-1]); err != nil || n != 1 {
			return r, noValue("%s: the sensor is not available", m.address)
		}
	}
	if m.power != "" {
		if r.Watts, err = snmpValue(values[0], m.inWatts, consumed); err != nil {
			return r, fmt.Errorf("%s: %s: %w", m.address, m.power, err)
		}
		values = values[1:]
	}
	if m.energy != "" {
		if r.Joules, err = snmpValue(values[0], m.inJoules, runningTotal); err != nil && r.Watts == nil {
			return r, fmt.Errorf("%s: %s: %w", m.address, m.energy, err)
		}
	}
	return r, nil
}

// Close closes the socket; a later question opens another.
func (m *snmp) Close() error {
	if !m.connected {
		return nil
	}
	m.connected = false
	return m.client.Close()
}

// snmpValue is a value in watts or joules.
func snmpValue(v gosnmp.SnmpPDU, worth float64, check func(float64) (*float64, error)) (*float64, error) {
	n, err := snmpNumber(v)
	if err != nil {
		return nil, err
	}
	// The largest number of a gauge and of a 32-bit integer stand for none;
	// a counter may pass there.
	if v.Type != gosnmp.Counter32 && (n == math.MaxUint32 || n == math.MaxInt32) {
		return nil, noValue("it says %v", n)
	}
	return check(n * worth)
}

// snmpNumber reads any type that agents put numbers into, text too.
func snmpNumber(v gosnmp.SnmpPDU) (float64, error) {
	switch n := v.Value.(type) {
	case int:
		return float64(n), nil
	case uint:
		return float64(n), nil
	case uint32:
		return float64(n), nil
	case uint64:
		return float64(n), nil
	}
	text, ok := v.Value.([]byte)
	if !ok { // floats as decimals, as the agent meant them
		text = fmt.Append(nil, v.Value)
	}
	if r := parseReading(string(text)); r.ok {
		return r.value, nil
	}
	return 0, noValue("a value of type %v is no number", v.Type)
}

package power

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/simonvetter/modbus"
)

func modbusKind() kind {
	return kind{
		name: "modbus",
		address: "HOST[:PORT]?power=REGISTER[&power-unit=UNIT][&energy=REGISTER&energy-unit=UNIT][&wrap=ENERGY][&unit=ID], or ?map=FILE with " +
			"these as lines",
		about: "meter on Modbus TCP; REGISTER is [input:|holding:]ADDRESS:TYPE[:ORDER], as input:0x34:float32 or holding:3059:int32:cdab; " +
			"addresses count from 0, types are int16 … float64, ORDER of bytes abcd cdab badc dcba; UNIT as in 0.1W, 0.01kWh",
		open: openModbus,
	}
}

// modbusMeter reads one or two values from the registers of a meter.
type modbusMeter struct {
	target            *target
	client            *modbus.ModbusClient
	connected         bool
	about             Info
	power, energy     *register // nil where there is none
	inWatts, inJoules float64
}

// register is a number in the registers of a Modbus device.
type register struct {
	table   modbus.RegType
	address uint16
	kind    string // of registerKinds
	order   string
}

// registerKinds has the width of each in registers of 16 bits.
var registerKinds = map[string]uint16{"int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "int64": 4, "uint64": 4, "float32": 2, "float64": 4}

var modbusOptions = []string{"power", "power-unit", "energy", "energy-unit", "wrap", "unit"}

func openModbus(ctx context.Context, address string) (Meter, error) {
	t, err := parseTarget("modbus", address, "502", append([]string{"map"}, modbusOptions...)...)
	if err != nil {
		return nil, err
	}
	if err := t.addMap(t.options["map"]); err != nil {
		return nil, err
	}
	if t.path != "" {
		return nil, noMeter("what follows the host's slash means nothing to Modbus")
	}
	m := &modbusMeter{target: t}
	for name, into := range map[string]**register{"power": &m.power, "energy": &m.energy} {
		if s := t.options[name]; s != "" {
			if *into, err = parseRegister(s); err != nil {
				return nil, fmt.Errorf("option %s: %w", name, err)
			}
		}
	}
	if m.power == nil && m.energy == nil {
		return nil, noMeter("it needs a register to read: power=REGISTER:TYPE, as the meter's manual has it")
	}
	if m.inWatts, m.inJoules, err = t.scales(); err != nil {
		return nil, err
	}
	var known Info
	if m.power != nil && !strings.HasPrefix(m.power.kind, "float") {
		known.Resolution = m.inWatts
	}
	if known.Range, err = m.wrap(t.options["wrap"]); err != nil {
		return nil, err
	}
	if m.about, err = t.info(known); err != nil {
		return nil, err
	}
	unit, err := t.number("unit", 0, 255, 1)
	if err != nil {
		return nil, err
	}
	first := m.power
	if first == nil {
		first = m.energy
	}
	m.about.Of = under(t.places(ctx, "502"), fmt.Sprintf("unit-%d", unit), fmt.Sprintf("?%v-%d", first.table, first.address))
	m.client, err = modbus.NewClient(&modbus.ClientConfiguration{URL: "tcp://" + t.address(), Timeout: patience, Logger: log.New(io.Discard,
		"", 0)})
	if err == nil {
		err = m.client.SetUnitId(uint8(unit))
	}
	if err == nil {
		_, err = m.Read(ctx)
	}
	if err != nil && !errors.Is(err, errNoValue) {
		m.Close()
		return nil, err
	}
	return m, nil
}

// addMap adds the lines of a register map to the options; the address decides
// where both say something.
func (t *target) addMap(file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return noMeter("read the register map: %w", err)
	}
	defer f.Close()
	allowed := append([]string{"interval", "resolution", "scope"}, modbusOptions...)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !slices.Contains(allowed, name) || value == "" {
			return noMeter("%s line %d is not NAME=VALUE with one of these names: %s", file, n, strings.Join(allowed, " "))
		}
		if t.options[name] == "" {
			t.options[name] = value
		}
	}
	if err := lines.Err(); err != nil {
		return noMeter("read the register map %s: %w", file, err)
	}
	return nil
}

// wrap is where the energy counter starts again: where the user says, or at the
// end of its integer.
func (m *modbusMeter) wrap(option string) (float64, error) {
	if m.energy == nil {
		if option != "" {
			return 0, noMeter("option wrap needs energy")
		}
		return 0, nil
	}
	if option != "" {
		j, err := quantity(option, joulesIn)
		if err != nil {
			return 0, fmt.Errorf("option wrap: %w", err)
		}
		return j, nil
	}
	bits, ok := map[string]float64{"uint16": 16, "int16": 15, "uint32": 32, "int32": 31}[m.energy.kind]
	if !ok {
		return 0, nil
	}
	return math.Exp2(bits) * m.inJoules, nil
}

func parseRegister(s string) (*register, error) {
	r := &register{table: modbus.HOLDING_REGISTER, order: "abcd"}
	parts := strings.Split(s, ":")
	switch parts[0] {
	case "input":
		r.table = modbus.INPUT_REGISTER
		parts = parts[1:]
	case "holding":
		parts = parts[1:]
	}
	if len(parts) == 3 {
		r.order = parts[2]
		parts = parts[:2]
	}
	if len(parts) != 2 {
		return nil, noMeter("%.40q is not [input:|holding:]ADDRESS:TYPE[:ORDER]", s)
	}
	n, err := strconv.ParseUint(parts[0], 0, 16)
	if err != nil {
		return nil, noMeter("%.20q is no register: they have the numbers 0 to 65535 in the protocol, 1 less than in some manuals", parts[0])
	}
	r.address, r.kind = uint16(n), parts[1]
	if registerKinds[r.kind] == 0 {
		return nil, noMeter("type %.20q is none of %s", r.kind, strings.Join(slices.Sorted(maps.Keys(registerKinds)), " "))
	}
	if !slices.Contains([]string{"abcd", "cdab", "badc", "dcba"}, r.order) {
		return nil, noMeter("order %.20q is none of abcd cdab badc dcba", r.order)
	}
	return r, nil
}

// decode reads the number in the registers, most significant first unless the
// order says else.
func (r *register) decode(registers []uint16) (float64, error) {
	if len(registers) != int(registerKinds[r.kind]) {
		return 0, fmt.Errorf("%d registers came for %s", len(registers), r.kind)
	}
	registers = slices.Clone(registers)
	if r.order == "cdab" || r.order == "dcba" {
		slices.Reverse(registers)
	}
	var b []byte
	for _, w := range registers {
		if r.order == "badc" || r.order == "dcba" {
			w = w<<8 | w>>8
		}
		b = binary.BigEndian.AppendUint16(b, w)
	}
	bits := binary.BigEndian.Uint64(append(make([]byte, 8-len(b)), b...))
	var v float64
	// Each type has a number that stands for none, as in SunSpec's information
	// models (Device Information Model Specification, 4.1).
	nothing := false
	switch r.kind {
	case "uint16", "uint32", "uint64":
		v, nothing = float64(bits), bits == math.MaxUint64>>(64-8*len(b))
	case "int16":
		v, nothing = float64(int16(bits)), int16(bits) == math.MinInt16
	case "int32":
		v, nothing = float64(int32(bits)), int32(bits) == math.MinInt32
	case "int64":
		v, nothing = float64(int64(bits)), int64(bits) == math.MinInt64
	case "float32":
		v = float64(math.Float32frombits(uint32(bits)))
	case "float64":
		v = math.Float64frombits(bits)
	}
	if nothing || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, noValue("the registers hold %x", b)
	}
	return v, nil
}

func (m *modbusMeter) Info() Info { return m.about }

// Read asks once more on a fresh connection where an old one has broken: meters
// close those that were idle for a while.
func (m *modbusMeter) Read(ctx context.Context) (Reading, error) {
	fresh := !m.connected
	r, err := m.read(ctx)
	if err != nil && !m.connected && !fresh && !errors.Is(err, modbus.ErrRequestTimedOut) && ctx.Err() == nil {
		r, err = m.read(ctx)
	}
	return r, err
}

func (m *modbusMeter) read(ctx context.Context) (r Reading, err error) {
	if !m.connected {
		if err := m.client.Open(); err != nil {
			return r, noAnswer("%w", err)
		}
		m.connected = true
	}
	if m.power != nil {
		start := time.Now()
		w, err := m.value(ctx, m.power)
		if err == nil {
			r.At = midway(start)
			r.Watts, err = consumed(w * m.inWatts)
		}
		if err != nil {
			return r, fmt.Errorf("%s: power: %w", m.target.address(), err)
		}
	}
	if m.energy != nil {
		start := time.Now()
		j, err := m.value(ctx, m.energy)
		if err == nil {
			r.At = midway(start)
			r.Joules, err = runningTotal(j * m.inJoules)
		}
		if err != nil {
			return r, fmt.Errorf("%s: energy: %w", m.target.address(), err)
		}
	}
	return r, nil
}

// value reads one number. The library knows no context; its time-out bounds it.
func (m *modbusMeter) value(ctx context.Context, g *register) (float64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	registers, err := m.client.ReadRegisters(g.address, registerKinds[g.kind], g.table)
	switch {
	case err == nil:
		return g.decode(registers)
	case errors.Is(err, modbus.ErrIllegalDataAddress), errors.Is(err, modbus.ErrIllegalFunction):
		return 0, noMeter("it has no such register (%w)", err)
	case errors.Is(err, modbus.ErrServerDeviceBusy), errors.Is(err, modbus.ErrAcknowledge), errors.Is(err, modbus.ErrServerDeviceFailure),
		errors.Is(err, modbus.ErrGWPathUnavailable), errors.Is(err, modbus.ErrGWTargetFailedToRespond):
		return 0, fmt.Errorf("%w: %w", errNoValue, err)
	}
	// The next answer on this connection could be the one that was late.
	m.Close()
	return 0, err
}

// Close closes the connection; a later reading opens another.
func (m *modbusMeter) Close() error {
	if !m.connected {
		return nil
	}
	m.connected = false
	return m.client.Close()
}

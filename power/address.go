package power

import (
	"bufio"
	"fmt"
	"maps"
	"math"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// patience bounds one question to a meter and its answer.
const patience = 3 * time.Second

// target is the address of a meter in the network, taken apart:
//
//	HOST[:PORT][/PATH][?NAME=VALUE&…]
//
// Values may escape characters as in URLs, %26 for an ampersand.
type target struct {
	host, port string
	path       string // without its leading slash
	options    map[string]string
	secrets    map[string]string // by the names in secretNames
	name       string            // KIND:ADDRESS without what concerns secrets
}

// Options that every kind takes: what the meter cannot tell about itself.
var commonOptions = []string{"auth", "interval", "resolution", "scope"}

// secretNames are the lines of a file of credentials, and, in upper case behind
// ZCBENCH_METER_, the names in the environment.
var secretNames = []string{"user", "password", "community", "auth-protocol", "auth-password", "privacy-protocol", "privacy-password"}

const secretCure = "name a file with auth=FILE (lines such as user=NAME and password=SECRET) or set ZCBENCH_METER_USER and " +
	"ZCBENCH_METER_PASSWORD"

// parseTarget takes an address apart. Its errors are all of what the user gave, and none
// repeats what could be a secret.
func parseTarget(kind, address, port string, options ...string) (*target, error) {
	t := &target{port: port, options: map[string]string{}}
	host, own, err := splitHost(kind, address)
	if err != nil {
		return nil, err
	}
	t.host = host
	if own != "" {
		t.port = own
	}
	where, query, _ := strings.Cut(address, "?")
	hostport, path, hasPath := strings.Cut(where, "/")
	if t.path, err = url.PathUnescape(path); err != nil {
		return nil, noMeter("the path has a bad escape")
	}
	t.name = kind + ":" + hostport
	if hasPath {
		t.name += "/" + path
	}
	separator := "?"
	for _, option := range strings.Split(query, "&") {
		if option == "" {
			continue
		}
		name, escaped, ok := strings.Cut(option, "=")
		switch {
		case slices.Contains(secretNames, name):
			return nil, noMeter("%s does not belong on a command line, where others can read it: %s", name, secretCure)
		case !slices.Contains(options, name) && !slices.Contains(commonOptions, name):
			return nil, noMeter("unknown option %.20q; there are: %s", name, strings.Join(slices.Concat(options, commonOptions), " "))
		case !ok || escaped == "":
			return nil, noMeter("option %s has no value", name)
		}
		if _, twice := t.options[name]; twice {
			return nil, noMeter("option %s is there twice", name)
		}
		value, err := url.PathUnescape(escaped)
		if err != nil || strings.ContainsAny(value, "\r\n\x00") {
			return nil, noMeter("the value of option %s has a bad escape", name)
		}
		t.options[name] = value
		if name != "auth" {
			t.name += separator + option
			separator = "&"
		}
	}
	if t.secrets, err = secrets(t.options["auth"]); err != nil {
		return nil, err
	}
	return t, nil
}

// splitHost takes the host and, if there is one, the port off the front of an
// address.
func splitHost(kind, address string) (host, port string, err error) {
	end := strings.IndexAny(address, "?/")
	if end < 0 {
		end = len(address)
	}
	hostport := address[:end]
	if strings.Contains(hostport, "@") {
		return "", "", noMeter("credentials do not belong on a command line, where others can read them: %s", secretCure)
	}
	host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	if h, p, err := net.SplitHostPort(hostport); err == nil {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return "", "", noMeter("what follows the host and a colon is no port (and credentials do not belong there: %s)", secretCure)
		}
		host, port = h, p
	}
	if host == "" || strings.ContainsAny(host, "[] %#\\\t\r\n") || strings.Contains(host, ":") && net.ParseIP(host) == nil {
		return "", "", noMeter("it needs a host: %s:HOST[:PORT]", kind)
	}
	return host, port, nil
}

// address is host and port for a dialer.
func (t *target) address() string { return net.JoinHostPort(t.host, t.port) }

// flag reads an option that is true or false.
func (t *target) flag(name string) (bool, error) {
	switch t.options[name] {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, noMeter("option %s is true or false", name)
}

// number reads an option that is a whole number of a range.
func (t *target) number(name string, low, high, otherwise uint64) (uint64, error) {
	s := t.options[name]
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil || n < low || n > high {
		return 0, noMeter("option %s is a number from %d to %d", name, low, high)
	}
	return n, nil
}

// info lets the options decide what the meter's kind cannot know.
func (t *target) info(known Info) (Info, error) {
	known.Name = t.name
	if known.Scope == "" {
		known.Scope = Wall
	}
	if s := t.options["interval"]; s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return known, noMeter("option interval is a time such as 500ms")
		}
		known.Interval = d
	}
	if s := t.options["resolution"]; s != "" {
		w, err := quantity(s, wattsIn)
		if err != nil {
			return known, fmt.Errorf("option resolution: %w", err)
		}
		known.Resolution = w
	}
	if s := t.options["scope"]; s != "" {
		known.Scope = Scope(s)
		if !slices.Contains([]Scope{Wall, Package, GPU, Other}, known.Scope) {
			return known, noMeter("option scope is wall, package, gpu or other")
		}
	}
	return known, nil
}

// secrets reads the file of credentials, or the environment where there is none.
func secrets(file string) (map[string]string, error) {
	found := map[string]string{}
	if file == "" {
		for _, name := range secretNames {
			env := "ZCBENCH_METER_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
			if v := os.Getenv(env); v != "" {
				found[name] = v
			}
		}
		return found, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, noMeter("read the credentials: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o007 != 0 {
		return nil, noMeter("anybody can read the credentials in %s: chmod o= %s", file, file)
	}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || !slices.Contains(secretNames, name) {
			// Not the line itself: it may be a secret.
			return nil, noMeter("%s line %d is not NAME=VALUE with one of these names: %s", file, n, strings.Join(secretNames, " "))
		}
		found[name] = strings.TrimSpace(value)
	}
	if err := lines.Err(); err != nil {
		return nil, noMeter("read the credentials in %s: %w", file, err)
	}
	return found, nil
}

// Units by what they are worth in watts and in joules.
var (
	wattsIn  = map[string]float64{"mW": 1e-3, "W": 1, "kW": 1e3, "MW": 1e6}
	joulesIn = map[string]float64{"mJ": 1e-3, "J": 1, "kJ": 1e3, "MJ": 1e6, "Ws": 1, "Wmin": 60, "mWh": 3.6, "Wh": 3600, "kWh": 3.6e6,
		"MWh": 3.6e9}
)

// quantity reads a unit, or a positive number of them, such as kWh or 0.1kWh.
func quantity(s string, units map[string]float64) (float64, error) {
	unit := strings.TrimLeft(s, "0123456789.")
	factor, ok := units[unit]
	if n := s[:len(s)-len(unit)]; ok && n != "" {
		many, err := strconv.ParseFloat(n, 64)
		if err != nil || many <= 0 {
			ok = false
		}
		factor *= many
	}
	if !ok {
		return 0, noMeter("%.20q is none of %s, nor a number of them", s, strings.Join(slices.Sorted(maps.Keys(units)), " "))
	}
	return factor, nil
}

// scales reads the options that say what raw numbers are worth. Power is in
// watts unless they say else; of energy there is no usual unit to guess.
func (t *target) scales() (inWatts, inJoules float64, err error) {
	inWatts, inJoules = 1, 1
	if s := t.options["power-unit"]; s != "" {
		if inWatts, err = quantity(s, wattsIn); err != nil {
			return 0, 0, fmt.Errorf("option power-unit: %w", err)
		}
	}
	s := t.options["energy-unit"]
	if s == "" && t.options["energy"] != "" {
		return 0, 0, noMeter("say what the energy counts: energy-unit=kWh, or Wh, 0.1kWh, J, …")
	}
	if s != "" {
		if inJoules, err = quantity(s, joulesIn); err != nil {
			return 0, 0, fmt.Errorf("option energy-unit: %w", err)
		}
	}
	return inWatts, inJoules, nil
}

// midway is when an answer held that was asked for at start and has just come.
func midway(start time.Time) time.Time { return start.Add(time.Since(start) / 2) }

// noValue says what a meter gave in place of a value.
func noValue(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errNoValue, fmt.Sprintf(format, args...))
}

// consumed refuses what no load takes; meters say -1 for "not known".
func consumed(w float64) (*float64, error) {
	if w < 0 || w != w || w > 1e9 {
		return nil, noValue("it says %g W", w)
	}
	return &w, nil
}

// runningTotal is consumed for an energy counter.
func runningTotal(j float64) (*float64, error) {
	if j < 0 || j != j || j > 1e18 {
		return nil, noValue("it says %g J", j)
	}
	return &j, nil
}

// reading is a number as a meter wrote it.
type reading struct {
	value float64
	step  float64 // what its last digit is worth
	there bool    // something was
	ok    bool    // and it was a number
}

// UnmarshalJSON takes a number, also one in a string. What is null, "NaN" or
// any other text is there, and no value.
func (n *reading) UnmarshalJSON(b []byte) error {
	*n = parseReading(strings.Trim(string(b), `"`))
	return nil
}

// parseReading reads a number; ok is false for anything else.
func parseReading(text string) reading {
	text = strings.TrimSpace(text)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return reading{there: true}
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	_, decimals, _ := strings.Cut(mantissa, ".")
	e, _ := strconv.Atoi(exponent)
	return reading{v, math.Pow10(e - len(decimals)), true, true}
}

// total is a counter's reading in joules, of a meter that gives watts too: nil
// where it counts nothing.
func total(energy reading, worth float64) *float64 {
	if !energy.ok {
		return nil
	}
	j, err := runningTotal(energy.value * worth)
	if err != nil {
		return nil
	}
	return j
}

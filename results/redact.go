package results

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Redactor takes out of records what tells whose they are: names of hosts and
// users, addresses, serial numbers, paths, kernel command lines. What they are,
// models, drivers, speeds and versions, stays. One name has one stand-in in all that
// a Redactor reads. It may be used by many goroutines.
type Redactor struct {
	mu     sync.Mutex
	known  map[string]string // by kind and what it stands for
	count  map[string]int    // by kind
	names  []name            // that are also replaced within texts, the longest first
	listed map[string]bool
	cells  map[string]bool   // what is no MAC address, though it looks like one
	engine map[string]bool   // names of engines, which a command may have too
	said   map[string]string // what became of short texts, by all names learned so far
}

// name is what a record has named, and its stand-in.
type name struct{ is, becomes string }

// standIn is the same for the same, in order of appearance.
func (r *Redactor) standIn(kind, of string) string {
	if r.known == nil {
		r.known, r.count, r.listed, r.cells = map[string]string{}, map[string]int{}, map[string]bool{}, map[string]bool{}
		r.engine = map[string]bool{}
	}
	if kind == "mac" {
		of = bare(of)
	}
	key := kind + " " + of
	if r.known[key] == "" {
		r.count[kind]++
		r.known[key] = fmt.Sprintf("%s-%d", kind, r.count[kind])
	}
	return r.known[key]
}

// plainWords are no names in texts, though a host may be called so.
var plainWords = []string{"rx", "tx", "sender", "receiver", "local", "localhost", "host", "both", "root"}

// learn has a name replaced within texts, too, and a MAC address in all the ways to
// write one.
func (r *Redactor) learn(is, becomes string) {
	if mac := bare(is); len(mac) == 12 && isMAC.MatchString(is) {
		for _, each := range []struct {
			digits int
			by     string
		}{{2, ":"}, {2, "-"}, {4, "."}, {12, ""}} {
			var parts []string
			for part := range slices.Chunk([]byte(mac), each.digits) {
				parts = append(parts, string(part))
			}
			r.list(strings.Join(parts, each.by), becomes)
		}
	}
	r.list(is, becomes)
}

func (r *Redactor) list(is, becomes string) {
	if utf8.RuneCountInString(is) < 2 || slices.Contains(plainWords, is) || r.listed[is] {
		return
	}
	r.listed[is] = true
	r.said = nil
	i, _ := slices.BinarySearchFunc(r.names, name{is: is}, func(a, b name) int {
		return cmp.Or(cmp.Compare(len(b.is), len(a.is)), cmp.Compare(a.is, b.is))
	})
	r.names = slices.Insert(r.names, i, name{is, becomes})
}

// Line redacts the JSON of a record. What is no JSON is given back as it is.
func (r *Redactor) Line(text []byte) []byte {
	if !json.Valid(text) {
		return text
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := walk{text: text, each: func(path []string, s string) string { r.note(path, s); return s }}
	w.value(nil)
	w = walk{text: text, each: r.field, key: r.key}
	w.value(nil)
	return w.out
}

// Text redacts what is said in words, of files with these paths too.
func (r *Redactor) Text(s string, paths ...string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range paths {
		s = replaceName(s, name{p, r.standIn("path", p)})
	}
	return r.words(s)
}

// Pair is the stand-in of the name of a pair of hosts.
func (r *Redactor) Pair(is string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if is == "" {
		return ""
	}
	return r.standIn("pair", is)
}

// kindOf is of what kind the value of a key is, that is replaced as a whole.
func kindOf(key, value string) string {
	kind := kindOfKey(key)
	if kind == "address" && isMAC.MatchString(value) {
		return "mac"
	}
	return kind
}

func kindOfKey(key string) string {
	key = strings.ToLower(key)
	for _, k := range []struct{ part, kind string }{
		{"hostname", "host"}, {"mac", "mac"}, {"address", "address"}, {"serial", "serial"}, {"uuid", "id"}, {"boot_id", "id"}, {"machine_id",
			"id"},
		{"cmdline", "cmdline"}, {"user", "user"}, {"token", "path"}, {"pin", "id"}, {"bind", "address"}, {"host", "host"}, {"pair",
			"pair"}, {"ssh", "host"}, {"file", "path"}, {"dir", "path"},
	} {
		if key == k.part || strings.HasSuffix(key, "_"+k.part) || strings.HasPrefix(key, k.part+"_") || strings.HasSuffix(key, "-"+k.part) ||
			k.part == "serial" && strings.HasSuffix(key, k.part) {
			return k.kind
		}
	}
	return ""
}

// plainKeys are keys whose values name nobody, though they may look like addresses:
// versions and what a record is found by.
var plainKeys = []string{"schema", "id", "cell", "status", "started", "release", "version", "driver_version", "firmware", "fw_version",
	"go", "online", "microcode"}

// plain says so of a value. Whatever else stands there is a text like any other.
func plain(key, s string) bool { return slices.Contains(plainKeys, key) && plainText.MatchString(s) }

// schemaKeys are those that a record and its parts have, whoever made it.
var schemaKeys = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{"rx": true, "tx": true, "settings": true, "options": true}
	seen := map[reflect.Type]bool{}
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			add(t.Elem())
		case reflect.Struct:
			if seen[t] {
				return
			}
			seen[t] = true
			for i := range t.NumField() {
				name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
				all[name] = true
				add(t.Field(i).Type)
			}
		}
	}
	add(reflect.TypeFor[Record]())
	return all
})

// key redacts the name of a value, which may be an interface's, a host's or an
// address where a map goes by them. The sections of facts are zcbench's own.
func (r *Redactor) key(path []string, name string) string {
	if schemaKeys()[name] || len(path) == 2 && path[0] == "facts" && section.MatchString(name) {
		return name
	}
	return r.words(name)
}

// localMeters have addresses that are of any host.
var localMeters = []string{"rapl", "hwmon", "nvml", "ipmidev"}

// note learns the names of one value.
func (r *Redactor) note(path []string, s string) {
	key := path[len(path)-1]
	switch kind := kindOf(key, s); {
	case s == "":
	case key == "cell" || key == "id":
		r.standIn("id", s) // makes the maps
		r.cells[s] = true
	case key == "engine" && hostName.MatchString(s):
		r.standIn("engine", s) // likewise
		r.engine[s] = true
	case kind == "host" || kind == "user" || kind == "pair":
		to := r.standIn(kind, s)
		r.learn(s, to)
		if short, _, ok := strings.Cut(s, "."); ok && kind == "host" {
			r.learn(short, to)
		}
	case kind != "" && kind != "cmdline":
		r.learn(s, r.standIn(kind, s))
	case key == "meter":
		if to := r.meter(s); to != s {
			r.learn(s, to)
		}
	case key == "command":
		words := strings.Fields(s)
		for i, w := range words {
			if plain := plainValue.MatchString(w) || r.keeps(w) || !hostName.MatchString(w); i > 0 && !plain &&
				(words[i-1] == "tx" || strings.Contains(w, ".")) {
				r.learn(w, r.standIn("host", w))
			}
		}
	}
}

// meter keeps the kind of a meter.
func (r *Redactor) meter(s string) string {
	kind, address, ok := strings.Cut(s, ":")
	if bare, _, _ := strings.Cut(kind, "+"); !ok || address == "" || !meterKind.MatchString(kind) || slices.Contains(localMeters, bare) {
		return r.words(s)
	}
	return kind + ":" + r.standIn("meter", s)
}

// field redacts one value.
func (r *Redactor) field(path []string, s string) string {
	key := path[len(path)-1]
	switch kind := kindOf(key, s); {
	case s == "" || plain(key, s):
		return s
	case kind != "":
		return r.standIn(kind, s)
	case key == "meter":
		return r.meter(s)
	case key == "command":
		return r.command(s)
	}
	return r.words(s)
}

var (
	plainValue = regexp.MustCompile(`^-?[0-9.,]+[a-zA-Z%]*$`)
	hostName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*$`)
	meterKind  = regexp.MustCompile(`^[a-z+]+$`)
	optionName = regexp.MustCompile(`^[A-Za-z0-9_.?-]+$`)
	// keptWords are values of flags that name nobody.
	keptWords = []string{"zcbench", "local", "tx", "rx", "run", "demo", "agent", "on", "off", "auto", "all", "none",
		"baseline", "msgzc", "devmem", "iouring", // modes
		"udmabuf", "hugepages", "normal", "huge", "dmabuf", "bbr", "cubic", "reno", "dctcp", "netdev-0x19", "bigtcp", "latency-safe"}
)

// command keeps the flags of a command line, and of their values numbers and words
// that are anybody's.
func (r *Redactor) command(s string) string {
	words := strings.Fields(s)
	for i, w := range words {
		if i == 0 {
			w = w[strings.LastIndexByte(w, '/')+1:]
		}
		words[i] = r.word(w)
	}
	return strings.Join(words, " ")
}

// keeps says that a word names nobody.
func (r *Redactor) keeps(w string) bool { return slices.Contains(keptWords, w) || r.engine[w] }

func (r *Redactor) word(w string) string {
	name, value, pair := strings.Cut(w, "=")
	switch {
	case pair && optionName.MatchString(name) && value != "":
		return name + "=" + r.word(value)
	case strings.HasPrefix(w, "-") && optionName.MatchString(w) || plainValue.MatchString(w) || r.keeps(w):
		return r.words(w)
	}
	if kind, address, ok := strings.Cut(w, ":"); ok && meterKind.MatchString(kind) && address != "" && !isAddress(w) {
		if r.plain(address) {
			return w
		}
		return kind + ":…"
	}
	if to := r.words(w); to != w {
		return to
	}
	return "…"
}

func (r *Redactor) plain(s string) bool {
	return plainValue.MatchString(s) && r.words(s) == s || slices.Contains(keptWords, s)
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return err == nil
}

const macForms = `(?i)(?:[0-9a-f]{1,2}:){5,}[0-9a-f]{1,2}|(?:[0-9a-f]{2}-){5,}[0-9a-f]{2}|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}|[0-9a-f]{12}`

// found are what is known by how it looks, in the order they are looked for. What
// glued finds before it or behind it makes it a part of something else.
var found = []struct {
	kind  string
	is    *regexp.Regexp
	glued func(before, after rune, m string) bool
}{
	{"id", regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), inHex},
	{"id", regexp.MustCompile(`sha256:[0-9A-Za-z+/=]{32,}`), inWord},
	{"mac", regexp.MustCompile(macForms), inHex},
	{"mac", regexp.MustCompile(`(?i)enx[0-9a-f]{12}`), inHex}, // an interface that is called by it
	{"address", regexp.MustCompile(`(?i)[0-9a-f]*:[0-9a-f:]*:[0-9a-f:.]*`), inSymbol},
	{"address", regexp.MustCompile(`[0-9]+(?:\.[0-9]+){3,}`), nil},
	{"login", regexp.MustCompile(`[A-Za-z0-9._-]+@[A-Za-z0-9._-]+`), inWord},
	// In quotes, or in an error of Go's, a path has blanks; elsewhere what is before
	// another of its slashes may.
	{"path", regexp.MustCompile(`"(?:~|\.{1,2})?/[^"]*"|'(?:~|\.{1,2})?/[^']*'`), nil},
	{"path", regexp.MustCompile(`\b(?:open|stat|lstat|read|write|mkdir|remove|chdir|readlink|fork/exec|exec|unlink|mount|truncate|chmod|chown) (?:~|\.{1,2})?/[^:"'<>|]*:`), inWord},
	{"path", regexp.MustCompile(`(?:~|\.{1,2})?/[^\s:;,()'"<>|]*[^\s:;,.()'"<>|](?:(?: +[^\s:;,()'"<>|/]+)+/[^\s:;,()'"<>|]*[^\s:;,.()'"<>|])*`), inWord},
}

func inWord(before, _ rune, _ string) bool {
	return unicode.IsLetter(before) || unicode.IsDigit(before) || strings.ContainsRune("*%-_²", before)
}

// inHex is one digit among more.
func inHex(before, after rune, _ string) bool {
	return strings.ContainsRune(hexDigits, before) || before == ':' || strings.ContainsRune(hexDigits, after)
}

// inSymbol is a name of C++ or Rust, or of SNMP.
func inSymbol(before, after rune, m string) bool {
	return unicode.IsLetter(after) || unicode.IsLetter(before) && !strings.ContainsAny(m, "0123456789")
}

const hexDigits = "0123456789abcdefABCDEF"

var (
	section   = regexp.MustCompile(`^[a-z_]+$`)
	plainText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+ ():/,-]{0,80}$`)
	isMAC     = regexp.MustCompile("^(?:" + macForms + ")$")
)

// bare are the digits of a MAC address, however it is written.
func bare(mac string) string {
	parts := strings.FieldsFunc(strings.TrimPrefix(lower(mac), "enx"), func(c rune) bool { return strings.ContainsRune(":-.", c) })
	for i, part := range parts {
		if len(part) == 1 {
			parts[i] = "0" + part
		}
	}
	return strings.Join(parts, "")
}

// generic are paths that every host has, but for those that name its disks.
var generic = []string{"/sys", "/proc", "/dev", "/run/zcbench", "/usr"}

// program is what another program is called in the words of a warning.
var program = regexp.MustCompile(`(most to (?:children or threads of )?)([^()]+)( \(pid [0-9]+)`)

// words replaces within a text what looks like a name and what was learned as one.
// Most texts come again and again: names of counters and of ends.
func (r *Redactor) words(s string) string {
	const short, most = 64, 1 << 14
	to, ok := r.said[s]
	if ok {
		return to
	}
	to = r.replace(s)
	if len(s) <= short {
		if r.said == nil || len(r.said) == most {
			r.said = map[string]string{}
		}
		r.said[s] = to
	}
	return to
}

func (r *Redactor) replace(s string) string {
	s = program.ReplaceAllStringFunc(s, func(m string) string {
		part := program.FindStringSubmatch(m)
		return part[1] + r.standIn("program", part[2]) + part[3]
	})
	for _, n := range r.names { // those that what is found by its look would cut
		if strings.ContainsAny(n.is, " /") {
			s = replaceName(s, n)
		}
	}
	for _, f := range found {
		s = replaceFound(s, f.is, f.glued, func(m string) string {
			switch f.kind {
			case "mac":
				if len(m) == 12 && (r.cells[m] || !strings.ContainsAny(m, "abcdefABCDEF")) {
					return m // a cell, or a number
				}
			case "address":
				return r.address(m)
			case "login":
				user, host, _ := strings.Cut(m, "@")
				if user != "root" {
					user = r.standIn("user", user)
				}
				return user + "@" + r.standIn("host", host)
			case "path":
				return r.path(m)
			}
			return r.standIn(f.kind, m)
		})
	}
	for _, n := range r.names {
		s = replaceName(s, n)
	}
	return s
}

// address replaces the addresses within signs that some are made of.
func (r *Redactor) address(m string) string {
	if !strings.Contains(m, ":") {
		if parts := strings.Split(m, "."); len(parts) != 4 || slices.ContainsFunc(parts,
			func(p string) bool { n, err := strconv.Atoi(p); return err != nil || n > 255 }) {
			return m // a version, or a name of SNMP's
		}
		if a, err := netip.ParseAddr(m); err == nil && (a.IsLoopback() || a.IsUnspecified()) {
			return m
		}
		return r.standIn("address", m)
	}
	for n := len(m); n > 2; n-- { // the longest first
		for i := 0; i+n <= len(m); i++ {
			a, err := netip.ParseAddr(m[i : i+n])
			if err != nil || !a.Is6() {
				continue
			}
			if a.IsLoopback() || a.IsUnspecified() {
				return m
			}
			return m[:i] + r.standIn("address", m[i:i+n]) + m[i+n:]
		}
	}
	return m
}

// path replaces a path, which may have quotes around it, or a word of Go's before
// and the colon behind.
func (r *Redactor) path(m string) string {
	before, after := "", ""
	switch {
	case m[0] == '"' || m[0] == '\'':
		before, m, after = m[:1], m[1:len(m)-1], m[:1]
	case m[len(m)-1] == ':':
		verb, rest, _ := strings.Cut(m, " ")
		before, m, after = verb+" ", rest[:len(rest)-1], ":"
	}
	head, rest, blank := strings.Cut(m, " ")
	if !strings.HasPrefix(head, "/dev/disk/") && slices.ContainsFunc(generic, func(g string) bool {
		return head == g ||
			strings.HasPrefix(head, g+"/")
	}) {
		if blank {
			head += " " + r.words(rest)
		}
		return before + head + after
	}
	return before + r.standIn("path", m) + after
}

// replaceFound replaces matches that are not the rest of a word: and/or is no path.
func replaceFound(s string, is *regexp.Regexp, glued func(before, after rune, m string) bool, by func(string) string) string {
	var b strings.Builder
	at := 0
	for _, m := range is.FindAllStringIndex(s, -1) {
		before, _ := utf8.DecodeLastRuneInString(s[:m[0]])
		after, _ := utf8.DecodeRuneInString(s[m[1]:])
		if glued != nil && glued(before, after, s[m[0]:m[1]]) {
			continue
		}
		b.WriteString(s[at:m[0]] + by(s[m[0]:m[1]]))
		at = m[1]
	}
	return b.String() + s[at:]
}

// lower is s in small letters, of which only those of ASCII are changed: it is as
// long as s.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c - 'A' + 'a'
		}
	}
	return string(b)
}

// replaceName replaces a name where it stands by itself, in letters of any size.
func replaceName(s string, n name) string {
	var b strings.Builder
	small, is := lower(s), lower(n.is)
	for at := 0; ; {
		i := strings.Index(small[at:], is)
		if i < 0 {
			return b.String() + s[at:]
		}
		i += at
		end := i + len(n.is)
		before, _ := utf8.DecodeLastRuneInString(s[:i])
		after, _ := utf8.DecodeRuneInString(s[end:])
		part := func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }
		if i > 0 && part(before) || end < len(s) && part(after) {
			b.WriteString(s[at : i+1])
			at = i + 1
			continue
		}
		b.WriteString(s[at:i] + n.becomes)
		at = end
	}
}

// walk goes through valid JSON and replaces the values that are strings. The rest
// stays as it is written, digits and the order of keys included.
type walk struct {
	text []byte
	at   int
	out  []byte
	each func(path []string, s string) string
	key  func(path []string, name string) string // nil: they stay
}

func (w *walk) value(path []string) {
	w.space()
	switch c := w.text[w.at]; c {
	case '{', '[':
		w.copy(1)
		for w.space(); w.text[w.at] != '}' && w.text[w.at] != ']'; w.space() {
			if w.text[w.at] == ',' {
				w.copy(1)
				continue
			}
			if c == '[' {
				w.value(path)
				continue
			}
			key := w.string()
			var name string
			_ = json.Unmarshal(key, &name) // it is valid
			if w.key != nil {
				if to := w.key(path, name); to != name {
					key, _ = json.Marshal(to)
				}
			}
			w.out = append(w.out, key...)
			w.space()
			w.copy(1) // the colon
			w.value(append(path, name))
		}
		w.copy(1)
	case '"':
		raw := w.string()
		var s string
		_ = json.Unmarshal(raw, &s)
		if len(path) > 0 {
			if to := w.each(path, s); to != s {
				raw, _ = json.Marshal(to) // a string always can be
			}
		}
		w.out = append(w.out, raw...)
	default:
		n := 0
		for w.at+n < len(w.text) && !strings.ContainsRune(",]} \t\r\n", rune(w.text[w.at+n])) {
			n++
		}
		w.copy(n)
	}
}

func (w *walk) copy(n int) {
	w.out = append(w.out, w.text[w.at:w.at+n]...)
	w.at += n
}

func (w *walk) space() { w.copy(space(w.text, w.at) - w.at) }

// string steps over one and gives it as it is written.
func (w *walk) string() []byte {
	end := value(w.text, w.at)
	raw := w.text[w.at:end]
	w.at = end
	return raw
}

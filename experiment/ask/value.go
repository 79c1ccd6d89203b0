package ask

import (
	"encoding/csv"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"zcbench/endpoint"
)

// Value is a field of one run: what a flag library wants of a flag.
type Value struct {
	ptr    any
	option string
	given  bool // what there was before was the default
}

// Value gives access to the field in r.
func (f *Field) Value(r *Run) *Value { return &Value{ptr: f.at(r), option: f.option} }

// list says that a field may be given several times.
func (f *Field) list() bool {
	_, ok := f.at(&Run{}).(*[]string)
	return ok
}

// pairs says that its values are NAME=VALUE, and a later one replaces one of the
// same name.
func (f *Field) pairs() bool {
	_, ok := f.at(&Run{}).(*map[string]string)
	return ok && f.option == "" || f.Name == "set" || strings.HasSuffix(f.Name, "-set")
}

// kinds are what types of value are called in help, and what they look like.
var kinds = map[string]string{
	"int": "a whole number", "uint": "a whole number from 0 on", "uint64": "a whole number from 0 on", "bool": "true or false",
	"seconds": "a number of seconds such as 10 or 0.5, or a duration such as 2m30s", "stringToString": "NAME=VALUE",
}

// Mistake says of a value that a flag of a type does not take what it takes, and not
// what a parser stumbled over.
func Mistake(name, kind, value string, err error) error {
	if what := kinds[kind]; what != "" {
		return fmt.Errorf("--%s %q: it is %s", name, value, what)
	}
	return fmt.Errorf("--%s: %w", name, err)
}

// Type names the value's type as help does.
func (v *Value) Type() string {
	switch p := v.ptr.(type) {
	case *string:
		return "string"
	case *bool:
		return "bool"
	case *int:
		return "int"
	case *uint64:
		return "uint64"
	case *[]string:
		return "stringArray"
	case *map[string]string:
		if v.option != "" {
			return "value"
		}
		return "stringToString"
	case interface{ Type() string }:
		return p.Type()
	}
	panic(fmt.Sprintf("ask: a field of type %T", v.ptr)) // a mistake in the table
}

// Set reads a value.
func (v *Value) Set(text string) (err error) {
	given := v.given
	v.given = true
	switch p := v.ptr.(type) {
	case *string:
		*p = text
	case *bool:
		*p, err = strconv.ParseBool(text)
	case *int:
		var n int64
		n, err = strconv.ParseInt(text, 0, strconv.IntSize)
		*p = int(n)
	case *uint64:
		*p, err = strconv.ParseUint(text, 0, 64)
	case *[]string:
		if !given {
			*p = nil
		}
		*p = append(*p, text)
	case *map[string]string:
		if v.option != "" {
			return setOption(p, v.option, text)
		}
		if !given {
			*p = nil
		}
		return setPairs(p, text)
	case interface{ Set(string) error }:
		return p.Set(text)
	}
	return err
}

// String gives it as it could be set; nothing of lists.
func (v *Value) String() string {
	switch p := v.ptr.(type) {
	case *string:
		return *p
	case *bool:
		return strconv.FormatBool(*p)
	case *int:
		return strconv.Itoa(*p)
	case *uint64:
		return strconv.FormatUint(*p, 10)
	case *[]string:
		return strings.Join(*p, ",")
	case *map[string]string:
		if v.option != "" {
			return (*p)[v.option]
		}
		var all []string
		for _, name := range slices.Sorted(maps.Keys(*p)) {
			all = append(all, name+"="+(*p)[name])
		}
		return "[" + strings.Join(all, ",") + "]"
	case fmt.Stringer:
		return p.String()
	}
	return "" // of the zero Value, which a flag library asks for
}

func setOption(to *map[string]string, name, value string) error {
	if *to == nil {
		*to = map[string]string{}
	}
	(*to)[name] = value
	return nil
}

// setPairs reads NAME=VALUE, or several with commas between, quoted as in CSV.
func setPairs(to *map[string]string, text string) error {
	pairs := []string{strings.Trim(text, `"`)}
	if strings.Count(text, "=") > 1 {
		var err error
		if pairs, err = fromCSV(text); err != nil {
			return err
		}
	}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=VALUE", pair)
		}
		if err := setOption(to, name, value); err != nil {
			return err
		}
	}
	return nil
}

func fromCSV(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	return csv.NewReader(strings.NewReader(text)).Read()
}

// names are words with commas between, added to by each further flag.
type names []string

func (n *names) Set(text string) error {
	more, err := fromCSV(text)
	*n = append(*n, more...)
	return err
}
func (n *names) String() string { return strings.Join(*n, ",") }
func (n *names) Type() string   { return "strings" }

// Seconds is a time as plain seconds, as iperf3 takes it, or as a Go duration.
type Seconds time.Duration

// Set reads one.
func (s *Seconds) Set(v string) error {
	if n, err := strconv.ParseFloat(v, 64); err == nil {
		if math.IsNaN(n) || math.Abs(n) > 1e9 {
			return fmt.Errorf("%s seconds is out of range", v)
		}
		*s = Seconds(n * float64(time.Second))
		return nil
	}
	d, err := time.ParseDuration(v)
	*s = Seconds(d)
	return err
}

// String gives it as a duration.
func (s *Seconds) String() string { return time.Duration(*s).String() }

// Type is what help calls it.
func (s *Seconds) Type() string { return "seconds" }

// Size is a byte count with iperf3's suffixes.
type Size int64

// Set reads one.
func (s *Size) Set(v string) error {
	n, err := endpoint.ParseSize(v)
	*s = Size(n)
	return err
}

// String gives it with the largest suffix that says it whole.
func (s *Size) String() string {
	n := int64(*s)
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// Type is what help calls it.
func (s *Size) Type() string { return "bytes" }

// recorded is the value as records have it, and whether anything was said.
func recorded(ptr any) (any, bool) {
	switch p := ptr.(type) {
	case *string:
		return *p, *p != ""
	case *bool:
		return *p, *p
	case *int:
		return *p, *p != 0
	case *Seconds:
		return time.Duration(*p).Seconds(), *p != 0
	case *Size:
		return int64(*p), *p != 0
	case *names:
		return strings.Join(*p, ","), len(*p) > 0
	}
	panic(fmt.Sprintf("ask: a field of type %T is not recorded", ptr)) // a mistake in the table
}

package filter

import (
	"reflect"
	"testing"

	"zcbench/internal/fault"
)

// What report's --filter, run's --only and the names that plan prints have in common.
func TestParse(t *testing.T) {
	is := func(name string, values ...string) Condition { return Condition{Name: name, Values: values} }
	not := func(name string, values ...string) Condition { return Condition{name, values, true} }
	known := func(name string) bool { return name != "mitigations" }
	for _, c := range []struct {
		text string
		want []Condition
	}{
		{"mode=devmem", []Condition{is("mode", "devmem")}},
		{"mode=devmem|iouring,gro!=sw", []Condition{is("mode", "devmem", "iouring"), not("gro", "sw")}},
		{"gro!=hw, mode = devmem | iouring", []Condition{not("gro", "hw"), is("mode", "devmem", "iouring")}},
		{"mode=devmem gro=hw", []Condition{is("mode", "devmem"), is("gro", "hw")}},
		{"mode=devmem  gro!=hw,cpus=2", []Condition{is("mode", "devmem"), not("gro", "hw"), is("cpus", "2")}},
		{"here: mode=devmem length=64K", []Condition{is("pair", "here"), is("mode", "devmem"), is("length", "64K")}},
		{"here:", []Condition{is("pair", "here")}},
		{"length=64 KiB", []Condition{is("length", "64 KiB")}},
		{"cmdline=quiet mitigations=off", []Condition{is("cmdline", "quiet mitigations=off")}},
		{"at=10.0.0.1:80", []Condition{is("at", "10.0.0.1:80")}},
		{"reason=", []Condition{is("reason", "")}},
		{"a=b=c", []Condition{is("a", "b=c")}},
	} {
		got, err := Parse(c.text, known)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v, want %+v", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "mode", "=devmem", "!=devmem", "mode=a,", "mode=a,,gro=hw"} {
		if got, err := Parse(text, known); fault.Of(err) != fault.Usage {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestHolds(t *testing.T) {
	for _, c := range []struct {
		c     Condition
		value string
		want  bool
	}{
		{Condition{"mode", []string{"a", "b"}, false}, "b", true}, {Condition{"mode", []string{"a", "b"}, false}, "c", false},
		{Condition{"mode", []string{"a", "b"}, true}, "b", false}, {Condition{"mode", []string{"a", "b"}, true}, "", true},
		{Condition{"length", []string{"64K"}, false}, "65536", true},
	} {
		if got := c.c.Holds(c.value); got != c.want {
			t.Errorf("%+v of %q: %v", c.c, c.value, got)
		}
	}
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"128K", "131072", true}, {"128K", "128 KiB", true}, {"1M", "1024k", true}, {"1G", "1024M", true}, {"", "", true},
		{"128K", "128", false}, {"1M", "1", false}, {"msgzc", "msgz", false}, {"K", "", false}, {"", "0", false}, {"2 CPUs", "2", false},
		{"8G", "8589934592", true}, {"9999999999G", "1", false},
	} {
		if got := Same(c.a, c.b); got != c.same || Same(c.b, c.a) != c.same {
			t.Errorf("%q, %q: %v", c.a, c.b, got)
		}
	}
}

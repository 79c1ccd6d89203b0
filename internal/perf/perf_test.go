package perf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
)

// refused skips a test for a right or an event that is missing.
func refused(t *testing.T, err error) {
	t.Helper()
	if err != nil && fault.Of(err) == fault.Unsupported {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		errno   unix.Errno
		lacking bool
		text    string
	}{
		{unix.EACCES, true, "kernel.perf_event_paranoid is 2): run as root, or give the program the right (setcap cap_perfmon+ep)"},
		{unix.EPERM, true, "sysctl kernel.perf_event_paranoid=-1"},
		{unix.ENOENT, true, "pmu=on"},
		{unix.EOPNOTSUPP, true, "hypervisor"},
		{unix.ENOSYS, true, "CONFIG_PERF_EVENTS"},
		{unix.EMFILE, false, "ulimit -n"},
		{unix.EINVAL, false, "perf_event_open: invalid argument"},
	} {
		err := explain(c.errno, "2")
		if (fault.Of(err) == fault.Unsupported) != c.lacking || !strings.Contains(err.Error(), c.text) || !errors.Is(err, c.errno) {
			t.Errorf("%v: %v", c.errno, err)
		}
	}
}

func TestExtrapolate(t *testing.T) {
	for _, c := range []struct {
		now   [3]uint64
		add   uint64
		whole bool
	}{
		{[3]uint64{1000, 500, 500}, 1000, true},
		{[3]uint64{1000, 1000, 250}, 4000, false},
		{[3]uint64{0, 1000, 0}, 0, false},
		{[3]uint64{1 << 62, 1 << 62, 1 << 59}, 1 << 62, false}, // eight times as much does not fit; what was counted must do
		{[3]uint64{1 << 40, 3 << 40, 1 << 40}, 3 << 40, false},
	} {
		if add, whole := extrapolate([3]uint64{}, c.now); add != c.add || whole != c.whole {
			t.Errorf("%v: %d %v, want %d %v", c.now, add, whole, c.add, c.whole)
		}
	}
}

// On the real kernel, a thread's own CPU clock.
func TestCount(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := Count(Event{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_TASK_CLOCK}, unix.Gettid(), Any)
	refused(t, err)
	defer c.Close()
	var before, after unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &before)
	first, _, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	for now := before; now.Nano() < before.Nano()+20e6; _ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now) {
	}
	last, whole, err := c.Read()
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &after)
	if err != nil || !whole {
		t.Fatal(err, whole)
	}
	if n := int64(last - first); n < 15e6 || n > after.Nano()-before.Nano()+5e6 {
		t.Errorf("counted %d ns of %d", n, after.Nano()-before.Nano())
	}
}

// Every system call of a thread is a record of the ring, in order and with its
// number, also when the ring has gone around.
func TestRing(t *testing.T) {
	e, fields, err := Tracepoint("raw_syscalls/sys_enter")
	refused(t, err)
	if f := fields["id"]; f.Offset != 8 || f.Size != 8 {
		t.Fatalf("fields %v", fields)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := NewRing(e, Sampling{Fields: unix.PERF_SAMPLE_TIME | unix.PERF_SAMPLE_RAW}, unix.Gettid(), Any, 2)
	refused(t, err)
	defer r.Close()
	if err := r.Enable(); err != nil {
		t.Fatal(err)
	}
	const calls = 100
	seen, last := 0, uint64(0)
	for range 20 { // 16 KiB hold about 160 records
		for range calls {
			unix.Getppid()
		}
		n := 0
		r.Drain(func(kind uint32, body []byte) {
			if kind != unix.PERF_RECORD_SAMPLE {
				t.Errorf("record of type %d", kind)
				return
			}
			if at := binary.NativeEndian.Uint64(body); at < last {
				t.Errorf("time %d after %d", at, last)
			} else {
				last = at
			}
			if id := binary.NativeEndian.Uint64(body[8+4+8:]); id == unix.SYS_GETPPID {
				n++
			}
		})
		if n != calls {
			t.Fatalf("%d of %d calls", n, calls)
		}
		seen += n
	}
	if err := r.Disable(); err != nil {
		t.Fatal(err)
	}
	unix.Getppid()
	r.Drain(func(_ uint32, body []byte) {
		if binary.NativeEndian.Uint64(body[20:]) == unix.SYS_GETPPID {
			t.Error("a record after the end")
		}
	})
	// A ring that is full says how much it lost.
	if err := r.Enable(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		unix.Getppid()
	}
	time.Sleep(time.Millisecond)
	r.Drain(func(uint32, []byte) {})
	unix.Getppid()
	lost := uint64(0)
	r.Drain(func(kind uint32, body []byte) {
		if kind == unix.PERF_RECORD_LOST {
			lost += binary.NativeEndian.Uint64(body[8:])
		}
	})
	if lost < 500 {
		t.Errorf("%d lost", lost)
	}
}

func record(kind uint32, body string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, kind)
	b = binary.NativeEndian.AppendUint16(b, 0)
	b = binary.NativeEndian.AppendUint16(b, uint16(8+len(body)))
	return append(b, body...)
}

func TestDrain(t *testing.T) {
	ring := make([]byte, 64)
	put := func(at int, b []byte) uint64 {
		for i, c := range b {
			ring[(at+i)%len(ring)] = c
		}
		return uint64(at + len(b))
	}
	var got []string
	f := func(kind uint32, body []byte) { got = append(got, fmt.Sprint(kind, " ", string(body))) }
	buf := make([]byte, maxRecord)
	head := put(0, slices.Concat(record(1, "12345678"), record(2, ""), record(3, "abcdefghABCDEFGH")))
	tail := drain(ring, 0, head, buf, f)
	head = put(int(tail), record(4, "around the end, in one piece.xx!"))
	tail = drain(ring, tail, head, buf, f)
	if want := []string{"1 12345678", "2 ", "3 abcdefghABCDEFGH", "4 around the end, in one piece.xx!"}; !slices.Equal(got, want) ||
		tail != head {
		t.Errorf("%q, tail %d of %d", got, tail, head)
	}
}

func FuzzDrain(f *testing.F) {
	f.Add(slices.Concat(record(1, "12345678"), record(2, "")), uint64(0), uint64(24))
	f.Fuzz(func(t *testing.T, b []byte, tail, head uint64) {
		ring := make([]byte, 256)
		copy(ring, b)
		tail &^= 7
		total := 0
		end := drain(ring, tail, head, make([]byte, maxRecord), func(_ uint32, body []byte) { total += len(body) + 8 })
		if end != head || total > len(ring) {
			t.Errorf("from %d to %d: ended at %d after %d bytes", tail, head, end, total)
		}
	})
}

const kallsyms = `ffffffff81000000 T _stext
ffffffff81000000 T alias
ffffffff81000010 t tcp_sendmsg
ffffffff81000020 D data
ffffffff81000030 W weak
ffffffffc0000000 t nft_do_chain	[nf_tables]
`

func TestKallsyms(t *testing.T) {
	s, err := parseKallsyms(strings.NewReader(kallsyms))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[uint64]string{
		0x1000:             "",
		0xffffffff81000000: "_stext kernel",
		0xffffffff8100001f: "tcp_sendmsg kernel",
		0xffffffff81000021: "tcp_sendmsg kernel",
		0xffffffffbfffffff: "weak kernel",
		0xffffffffc0000123: "nft_do_chain nf_tables",
	} {
		name, module, ok := s.Lookup(addr)
		if ok != (want != "") || ok && name+" "+module != want {
			t.Errorf("%x: %s %s, want %s", addr, name, module, want)
		}
	}
	if _, err := parseKallsyms(strings.NewReader("0000000000000000 T _stext\n0000000000000000 t b\n")); !errors.Is(err, errHidden) {
		t.Errorf("hidden: %v", err)
	}
	if _, _, ok := (*Symbols)(nil).Lookup(1); ok {
		t.Error("found one of none")
	}
}

func FuzzKallsyms(f *testing.F) {
	f.Add(kallsyms)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseKallsyms(strings.NewReader(text))
		if err == nil && (!slices.IsSorted(s.addrs) || len(s.addrs) != len(s.names)) {
			t.Error("not in order")
		}
	})
}

const format = `name: sys_exit
ID: 21
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:long id;	offset:8;	size:8;	signed:1;
	field:unsigned long args[6];	offset:16;	size:48;	signed:0;
	field:const char * name;	offset:64;	size:8;	signed:0;

print fmt: "NR %ld = %ld", REC->id, REC->ret
`

func TestFormat(t *testing.T) {
	got, err := parseFormat(format)
	want := map[string]Field{"common_type": {0, 2}, "common_pid": {4, 4}, "id": {8, 8}, "args": {16, 48}, "name": {64, 8}}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseFormat("field:long id;	size:8;"); err == nil {
		t.Error("a field without a place")
	}
}

func FuzzFormat(f *testing.F) {
	f.Add(format)
	f.Fuzz(func(t *testing.T, text string) {
		fields, _ := parseFormat(text)
		for name, v := range fields {
			if name == "" || v.Offset < 0 || v.Size < 0 {
				t.Errorf("%q: %v", name, v)
			}
		}
	})
}

// imc is a memory controller as an Ice Lake server's kernel shows it.
func imc(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range map[string]string{
		"uncore_imc_0/type": "12\n", "uncore_imc_0/cpumask": "0,28-29\n",
		"uncore_imc_0/format/event": "config:0-7\n", "uncore_imc_0/format/umask": "config:8-15\n", "uncore_imc_0/format/edge": "config:18\n",
		"uncore_imc_0/format/split":          "config1:0-3,60-63\n",
		"uncore_imc_0/events/cas_count_read": "event=0x04,umask=0x0f\n", "uncore_imc_0/events/cas_count_read.scale": "6.103515625e-5\n",
		"uncore_imc_0/events/cas_count_read.unit": "MiB\n", "uncore_imc_0/events/odd": "event=0x1,edge,split=0xa5\n",
		"uncore_imc_0/events/big":     "event=0x100\n",
		"uncore_imc_0/events/unknown": "nosuch=1\n",
		"cpu/type":                    "4\n",
	} {
		path = filepath.Join(root, devices, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPMU(t *testing.T) {
	all, err := PMUs(imc(t), "uncore_imc")
	if err != nil || len(all) != 1 || !slices.Equal(all[0].CPUs, []int{0, 28, 29}) {
		t.Fatalf("%+v, %v", all, err)
	}
	names, err := all[0].Events()
	if err != nil || !slices.Equal(names, []string{"big", "cas_count_read", "odd", "unknown"}) {
		t.Errorf("events %v, %v", names, err)
	}
	e, scale, unit, err := all[0].Event("cas_count_read")
	if want := (Event{Type: 12, Config: 0x0f04}); err != nil || e != want || scale*(1<<20) != 64 || unit != "MiB" {
		t.Errorf("%+v %v %s, %v", e, scale, unit, err)
	}
	e, scale, unit, err = all[0].Event("odd")
	if want := (Event{Type: 12, Config: 1<<18 | 1, Config1: 0xa<<60 | 5}); err != nil || e != want || scale != 1 || unit != "" {
		t.Errorf("%+v %v %s, %v", e, scale, unit, err)
	}
	for _, name := range []string{"big", "unknown", "absent"} {
		if e, _, _, err := all[0].Event(name); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func FuzzEvent(f *testing.F) {
	f.Add("event=0x04,umask=0x0f,edge", "config:0-7,32-35")
	f.Fuzz(func(t *testing.T, text, format string) {
		_, _ = parseEvent(text, func(string) (string, error) { return format, nil })
	})
}

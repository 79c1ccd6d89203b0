package uring

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/abi"
	"zcbench/internal/feature"
)

func TestQuery(t *testing.T) {
	var q abi.IOUringQueryOpcode
	switch e := query(abi.IO_URING_QUERY_OPCODES, &q); e {
	case 0:
	case unix.EINVAL, unix.ENOSYS, unix.EPERM:
		t.Skipf("IORING_REGISTER_QUERY: %v: needs Linux 6.18", e)
	default:
		t.Fatal(e)
	}
	if q.NrRequestOpcodes <= abi.IORING_OP_RECV_ZC || q.NrRegisterOpcodes <= abi.IORING_REGISTER_QUERY {
		t.Errorf("a kernel that answers queries knows %d operations and %d register operations", q.NrRequestOpcodes, q.NrRegisterOpcodes)
	}
	if q.RingSetupFlags&setupFlags != setupFlags {
		t.Errorf("set-up flags %#x lack some of %#x", q.RingSetupFlags, setupFlags)
	}
	if q.EnterFlags&abi.IORING_ENTER_NO_IOWAIT == 0 || q.FeatureFlags&abi.IORING_FEAT_NO_IOWAIT == 0 {
		t.Errorf("enter flags %#x, features %#x: no NO_IOWAIT", q.EnterFlags, q.FeatureFlags)
	}
	if e := query(1<<20, &q); e != unix.EOPNOTSUPP {
		t.Errorf("a query that does not exist: %v, want EOPNOTSUPP", e)
	}
	t.Logf("%+v", q)
	t.Logf("zero-copy receive: %+v", QueryZeroCopyRX())
}

func TestProbe(t *testing.T) {
	newRing(t, Config{Entries: 1}) // or skip
	if v := Probe(abi.IORING_OP_SEND_ZC, "IORING_OP_SEND_ZC", "6.0"); v.Answer != feature.Yes {
		t.Errorf("SEND_ZC: %+v", v)
	}
	v := Probe(250, "IORING_OP_NEVER", "99.9")
	if v.Answer != feature.No || !strings.Contains(v.Reason, "IORING_OP_NEVER") || !strings.Contains(v.Fix, "99.9") {
		t.Errorf("an operation that does not exist: %+v", v)
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		errno unix.Errno
		want  feature.Answer
		say   string
	}{
		{unix.ENOSYS, feature.No, "CONFIG_IO_URING"},
		{unix.EPERM, feature.No, "io_uring"},
		{unix.EINVAL, feature.No, "6.1"},
		{unix.ENOMEM, feature.Unknown, "ulimit"},
		{unix.EMFILE, feature.Unknown, "too many open files"},
	} {
		v := Explain(fmt.Errorf("io_uring_setup: %w", c.errno))
		if v.Answer != c.want || !strings.Contains(v.Reason+v.Fix, c.say) {
			t.Errorf("%v: %+v, want %s with %q", c.errno, v, c.want, c.say)
		}
	}
}

func TestExplainDenied(t *testing.T) {
	for _, c := range []struct {
		sysctl string
		err    error
		say    string
	}{
		{"2", nil, "for everybody"},
		{"1", nil, "unprivileged"},
		{"0", nil, "seccomp"},
		{"", fs.ErrNotExist, "seccomp"},
		{"", errors.New("any"), "seccomp"},
	} {
		if v := explainDenied(c.sysctl, c.err); v.Answer != feature.No || !strings.Contains(v.Reason, c.say) || v.Fix == "" {
			t.Errorf("sysctl %q, %v: %+v, want %q", c.sysctl, c.err, v, c.say)
		}
	}
}

// TestAccepted: a flag that no kernel knows is told from a request that is fine
// but for its file.
func TestAccepted(t *testing.T) {
	newRing(t, Config{Entries: 1}) // or skip
	for _, c := range []struct {
		flags uint16
		want  feature.Answer
	}{{0, feature.Yes}, {1 << 15, feature.No}} {
		v := accepted("no such flag", "99.9", func(s *SQE, m *Message) {
			s.SendZC(0, m.mem[:1])
			s.IOPrio &^= abi.IORING_SEND_ZC_REPORT_USAGE // Linux 6.2
			s.IOPrio |= c.flags
		})
		if v.Answer != c.want {
			t.Errorf("flags %#x: %+v, want %s", c.flags, v, c.want)
		}
	}
}

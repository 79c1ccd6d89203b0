package ringcfg

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
	"zcbench/internal/genl"
)

// A refusal names what was refused, by whom, and what is known of why.
func TestExplain(t *testing.T) {
	h := &host{iface: "eth1", driver: "mlx5_core"}
	f, _, err := familyOf("pause.autoneg")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  error
		want string
		kind fault.Kind
	}{
		{&genl.Error{Op: "ethtool pause-set", Errno: unix.EINVAL}, "ethtool pause-set: invalid argument: driver mlx5_core refuses " +
			"pause.autoneg and does not say why (dmesg may)", fault.Failed},
		{&genl.Error{Op: "ethtool pause-set", Errno: unix.EINVAL, Message: "no"}, "ethtool pause-set: invalid argument: no", fault.Failed},
		{&genl.Error{Op: "ethtool pause-set", Errno: unix.EOPNOTSUPP}, "shows its pause settings, and does not let this be changed",
			fault.Unsupported},
		{&genl.Error{Op: "ethtool pause-set", Errno: unix.EPERM}, "(it needs CAP_NET_ADMIN in the user namespace that owns it)",
			fault.Unsupported},
	} {
		got := h.explain(f, Settings{"pause.autoneg": "on"}, c.err)
		if !strings.HasSuffix(got.Error(), c.want) || fault.Of(got) != c.kind {
			t.Errorf("%v: %v, want %s", c.err, got, c.want)
		}
	}
	if err := h.explain(f, nil, nil); err != nil {
		t.Errorf("of no error: %v", err)
	}
}

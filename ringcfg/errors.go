package ringcfg

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/internal/fault"
	"zcbench/internal/genl"
)

// unsupported: this kernel, driver or user cannot do what is wanted, and the text says
// what is missing. Nothing was changed.
func unsupported(format string, args ...any) error {
	return fault.Errorf(fault.Unsupported, format, args...)
}

// usage: the want itself makes no sense.
func usage(format string, args ...any) error { return fault.Errorf(fault.Usage, format, args...) }

// busy is an error of what another process holds.
type busy struct{ error }

func isBusy(err error) bool {
	_, is := errors.AsType[busy](err)
	return is
}

// explain says what a refused write of settings of a family needs.
func (h *host) explain(f family, set Settings, err error) error {
	var refusal *genl.Error
	switch {
	case f.group == device && errors.As(err, &refusal) && refusal.Errno == unix.EOPNOTSUPP && refusal.Message == "" && h.driver != "":
		// What a driver shows it need not let anybody change.
		return unsupported("%w: driver %s of %s shows its %s settings, and does not let this be changed", err, h.driver, h.iface, f.name)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return unsupported("%w (it needs %s in the user namespace that owns it)", err, capabilities[f.right])
	case errors.Is(err, unix.EOPNOTSUPP):
		return fault.Wrap(fault.Unsupported, err)
	case f.group == device && refusal != nil && refusal.Message == "" && h.driver != "":
		return fmt.Errorf("%w: driver %s refuses %s and does not say why (dmesg may)", err, h.driver, strings.Join(set.names(), ", "))
	}
	return err
}

// checkRights reports every setting that this process has no right to change,
// with the right.
func checkRights(set map[string]Settings, steering bool) error {
	have, err := effective()
	if err != nil {
		return err
	}
	var refused []string
	for _, f := range families {
		if have&(1<<f.right) == 0 && len(set[f.name]) > 0 {
			refused = append(refused, fmt.Sprintf("%s needs %s", strings.Join(set[f.name].names(), ", "), capabilities[f.right]))
		}
	}
	if steering && have&(1<<unix.CAP_NET_ADMIN) == 0 {
		refused = append(refused, "steering flows to queues of their own needs CAP_NET_ADMIN")
	}
	if len(refused) == 0 {
		return nil
	}
	return unsupported("%s (run it as root)", strings.Join(slices.Compact(refused), "; "))
}

// refusal gives what Apply fails with before it changes anything, as far as rights,
// files and limits tell it, and the reason for each optional setting that it will skip.
func (h *host) refusal(r resolved, steering bool) (skipped Settings, err error) {
	if err := checkRights(r.set, steering); err != nil {
		return nil, err
	}
	skipped = Settings{}
	var refused []string
	for _, f := range families {
		if f.refuse == nil {
			continue
		}
		byReason := map[string][]string{}
		for _, name := range r.set[f.name].names() {
			switch err := f.refuse(h, name, r.set[f.name][name]); {
			case err == nil:
			case fault.Of(err) != fault.Unsupported:
				return nil, fmt.Errorf("%s: %w", name, err)
			case r.optional[name]:
				skipped[name] = err.Error()
			default:
				byReason[err.Error()] = append(byReason[err.Error()], name)
			}
		}
		for _, why := range slices.Sorted(maps.Keys(byReason)) {
			refused = append(refused, strings.Join(byReason[why], ", ")+": "+why)
		}
	}
	if len(refused) > 0 {
		return skipped, unsupported("%s", strings.Join(refused, "; "))
	}
	return skipped, nil
}

// effective gives the capabilities of this thread, as capget(2) does.
func effective() (uint64, error) {
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return 0, fmt.Errorf("read this process's capabilities: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(v), 16, 64)
		}
	}
	return 0, errors.New("/proc/thread-self/status has no CapEff")
}

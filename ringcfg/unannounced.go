package ringcfg

import (
	"errors"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// unannounced are the families of an interface's settings of whose change the kernel
// tells nobody, as it does of the others by ethtool's notices and rtnetlink.
var unannounced = []string{"flow", "napi", "queue", "irq"}

// Unannounced reads those settings of an interface in the network namespace of the
// calling thread, and of the namespace the sysctls of IP that may be set, so that a later
// reading tells what was changed in between.
func Unannounced(iface string) (Settings, error) {
	h, err := here(iface)
	if err != nil {
		return nil, err
	}
	defer h.close()
	s := Settings{}
	for _, name := range unannounced {
		f, _, err := familyOf(name + ".")
		if err == nil {
			err = f.read(h, s)
		}
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EPERM) {
			return nil, err
		}
	}
	return s, within(h.ns, func() error {
		const ip = "net.ipv4."
		for _, pattern := range settable {
			if !strings.HasPrefix(pattern, ip) {
				continue // the whole host's: another end on it may set them and put them back
			}
			for _, file := range glob(sysctlFile(pattern)) {
				if key := ip + filepath.Base(file); isOwn(key) {
					addFile(s, "sysctl."+key, file)
				}
			}
		}
		return nil
	})
}

// Changed lists what is not in another reading as it is in this one.
func (s Settings) Changed(later Settings) (all []Change) {
	for _, name := range differing(s, later) {
		all = append(all, Change{name, s[name], later[name]})
	}
	return all
}

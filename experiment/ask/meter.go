package ask

import (
	"strings"

	"zcbench/endpoint"
	"zcbench/power"
)

// Meter is one --meter [rx=|tx=]KIND:ADDRESS[@HOST].
type Meter struct {
	End  endpoint.Role // "": not said
	Spec string        // KIND:ADDRESS
	Host string        // whose meter it is, reached by ssh; "": this host or the network
	Kind power.Kind
}

func (r *Run) checkMeters() error {
	for _, text := range r.Meters {
		if _, err := ParseMeter(text); err != nil {
			return err
		}
	}
	return nil
}

// ParseMeter reads a --meter. HOST is what follows the last @, unless that can
// be no host's name; an address that ends so is followed by one more @.
func ParseMeter(text string) (Meter, error) {
	var v Meter
	v.Spec = text
	for _, role := range []endpoint.Role{endpoint.RX, endpoint.TX} {
		if rest, ok := strings.CutPrefix(text, string(role)+"="); ok {
			v.End, v.Spec = role, rest
		}
	}
	if i := strings.LastIndexByte(v.Spec, '@'); i >= 0 && !strings.ContainsAny(v.Spec[i+1:], "/?&= \t'\"") {
		v.Spec, v.Host = v.Spec[:i], v.Spec[i+1:]
	}
	if strings.HasPrefix(v.Host, "-") {
		return v, bad("--meter %s: %q is no host", text, v.Host)
	}
	var err error
	if v.Kind, err = power.Describe(v.Spec); err != nil {
		// The rest of the text may be a secret that does not belong there.
		name, _, _ := strings.Cut(text, ":")
		return v, bad("--meter %s: %w", name, err)
	}
	return v, nil
}

package wire

import (
	"strings"

	"zcbench/internal/bounded"
	"zcbench/internal/fault"
)

// ReadToken reads the secret that both ends of a control connection hold.
func ReadToken(path string) ([]byte, error) {
	b, err := bounded.ReadSecret(path)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "read the token: %w", err)
	}
	t := strings.TrimSpace(string(b))
	if len(t) < 16 {
		return nil, fault.Errorf(fault.Usage, "the token in %s is shorter than 16 characters; make one: head -c 32 /dev/urandom | base64", path)
	}
	return []byte(t), nil
}

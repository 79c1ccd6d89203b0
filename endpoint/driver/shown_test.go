package driver

import (
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/agent"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
	"zcbench/internal/testutil/tier"
	"zcbench/results"
)

// secrets are facts of a host and words of its user that are none of a stranger's
// business.
var secretFacts = results.Facts{
	"kernel":      map[string]any{"release": "6.12", "cmdline": "root=/dev/secret1"},
	"process":     map[string]any{"command": "zcbench rx --token-file /home/secret2", "memlock_bytes": 1},
	"machine":     map[string]any{"hostname": "secret3", "product": "secret4", "arch": "amd64"},
	"mitigations": map[string]any{"meltdown": "secret5"},
	"nic":         map[string]any{"mtu": 1500, "bus": "secret6"},
	"weather":     map[string]any{"sky": "secret7"}, // of a version to come
	"missing":     map[string]any{"nic.iommu": "no /sys"},
}

// A driver without a token learns what the figures depend on, and nothing else of
// the host; one with a token learns all.
func TestStrangersLearnLittle(t *testing.T) {
	tier.Long(t)
	t.Parallel() // it waits
	meter := t.TempDir() + "/secret8.csv"
	if err := os.WriteFile(meter, []byte("time,watts\n0,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string][]byte{"with a token": endpointtest.Token, "without one": nil} {
		t.Run(name, func(t *testing.T) {
			addr := server(t, &agent.Agent{
				Token: token, Limits: wire.Limits{Time: time.Minute}, Facts: func(string) results.Facts { return secretFacts },
				Power: []string{"replay:" + meter, "exec:/opt/secret9 --password secret10"},
			})
			conn, err := net.Dial("tcp4", addr)
			if err != nil {
				t.Fatal(err)
			}
			heard := &heardConn{Conn: conn}
			c, err := NewClient("receiver", heard, token, "test")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.watch(t.Context(), wire.Watch{Quiet: time.Second}); err != nil {
				t.Fatal(err)
			}
			p := wire.Prepare{Role: endpoint.RX, Engine: "plain", Flows: 1, Length: 1000,
				Pattern: endpoint.Pattern{Period: 1000}, Time: time.Second, Scope: wire.ScopeThread}
			pr, err := c.prepare(t.Context(), &p)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.tell(t.Context(), 0, wire.Monotonic(), 0, 2); err != nil {
				t.Fatal(err)
			}
			c.Close()
			if told := strings.Contains(heard.all.String(), "secret"); told != (token != nil) {
				t.Errorf("secrets are told: %v; all that was heard: %s", told, heard.all.String())
			}
			for _, fact := range []string{`"release":"6.12"`, `"memlock_bytes":1`, `"mtu":1500`, `"arch":"amd64"`, "no /sys"} {
				if b, err := json.Marshal(pr.Facts); err != nil || !strings.Contains(string(b), fact) {
					t.Errorf("%s is not told (%v): %s", fact, err, b)
				}
			}
			if lacks, _ := pr.Facts["missing"].(map[string]any); token == nil && lacks["kernel.cmdline"] != "the receiver does not tell it "+
				"without a token" {
				t.Errorf("that a fact is kept back is not told: %v", lacks)
			}
		})
	}
}

// heardConn remembers what came.
type heardConn struct {
	net.Conn
	all strings.Builder
}

func (h *heardConn) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.all.Write(b[:n])
	return n, err
}

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
)

func TestOtherBuildsOfDrivers(t *testing.T) {
	for n, words := range endpointtest.OtherBuilds(t, "driver") {
		ours, theirs := net.Pipe()
		a := &Agent{Version: "test", Token: endpointtest.Token, RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}}
		ended := make(chan error, 1)
		go func() { ended <- a.Serve(context.Background(), theirs) }()
		_ = ours.SetDeadline(time.Now().Add(10 * time.Second))
		go func() { _, _ = ours.Write(words) }()
		said, err := io.ReadAll(ours)
		if err != nil {
			t.Errorf("protocol %d: the agent does not hang up: %v", n, err)
		}
		// What any build reads: a hello with these three, and an error with a text.
		lines := bytes.Split(bytes.TrimSpace(said), []byte("\n"))
		var hi struct {
			Hello struct {
				Magic    string
				Protocol int
				Version  string
			}
		}
		var why struct{ Error struct{ Text string } }
		if len(lines) != 2 || json.Unmarshal(lines[0], &hi) != nil || json.Unmarshal(lines[1], &why) != nil || hi.Hello.Magic != wire.Magic ||
			hi.Hello.Protocol != wire.Protocol || hi.Hello.Version != "test" {
			t.Errorf("protocol %d is answered with %q", n, said)
		}
		for _, text := range endpointtest.SaysBoth(n) {
			if !strings.Contains(why.Error.Text, text) {
				t.Errorf("protocol %d is told %q, without %s", n, why.Error.Text, text)
			}
		}
		if err := <-ended; err == nil || !strings.Contains(err.Error(), endpointtest.SaysBoth(n)[0]) {
			t.Errorf("protocol %d: the agent's own user is told %v", n, err)
		}
	}
}

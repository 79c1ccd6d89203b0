package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// Peers of other builds as they speak: older ones as they were recorded, when each
// met a peer of protocol 3, and one that is still to come, whose words have more in
// them than this build knows.
func otherBuilds(t *testing.T, end string) map[int][]byte {
	t.Helper()
	newer := map[string]string{
		"agent":  `{"hello":{"magic":"zcbench","protocol":99,"version":"9.9","nonce":"","token":true,"shape":{"new":[1,2]}},"since":1}` + "\n",
		"driver": `{"hello":{"magic":"zcbench","protocol":99,"version":"9.9","nonce":"AAAA","shape":"new"},"trace":"x"}` + "\n" + `{"auth":{"proof":"z"}}` + "\n",
	}
	all := map[int][]byte{99: []byte(newer[end])}
	for n := 1; n < 3; n++ {
		b, err := os.ReadFile(fmt.Sprintf("testdata/protocol%d.%s", n, end))
		if err != nil {
			t.Fatal(err)
		}
		all[n] = b
	}
	return all
}

// both are the versions and the protocols of the two ends.
func both(protocolOfPeer int) []string {
	theirs := `"0.1.0"`
	if protocolOfPeer == 99 {
		theirs = `"9.9"`
	}
	return []string{theirs, fmt.Sprintf("protocol %d,", protocolOfPeer), `"test"`, fmt.Sprintf("with %d:", Protocol), "same zcbench on both ends"}
}

func TestOtherBuildsOfAgents(t *testing.T) {
	for n, words := range otherBuilds(t, "agent") {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = theirs.Read(make([]byte, 4096))
			_, _ = theirs.Write(words)
			_, _ = io.Copy(io.Discard, theirs) // it does not hang up by itself
		}()
		_, err := NewClient("receiver", ours, []byte("0123456789abcdef"), "test")
		theirs.Close()
		for _, text := range both(n) {
			if err == nil || KindOf(err) != Failed || !strings.Contains(err.Error(), text) {
				t.Errorf("protocol %d: %v does not say %s", n, err, text)
			}
		}
	}
}

func TestOtherBuildsOfDrivers(t *testing.T) {
	for n, words := range otherBuilds(t, "driver") {
		ours, theirs := net.Pipe()
		a := &Agent{Version: "test", Token: strangeToken, RX: []Engine{plain{role: RX}}}
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
		if len(lines) != 2 || json.Unmarshal(lines[0], &hi) != nil || json.Unmarshal(lines[1], &why) != nil || hi.Hello.Magic != magic || hi.Hello.Protocol != Protocol || hi.Hello.Version != "test" {
			t.Errorf("protocol %d is answered with %q", n, said)
		}
		for _, text := range both(n) {
			if !strings.Contains(why.Error.Text, text) {
				t.Errorf("protocol %d is told %q, without %s", n, why.Error.Text, text)
			}
		}
		if err := <-ended; err == nil || !strings.Contains(err.Error(), both(n)[0]) {
			t.Errorf("protocol %d: the agent's own user is told %v", n, err)
		}
	}
}

package driver

import (
	"io"
	"net"
	"strings"
	"testing"

	"zcbench/endpoint/endpointtest"
	"zcbench/internal/fault"
)

func TestOtherBuildsOfAgents(t *testing.T) {
	for n, words := range endpointtest.OtherBuilds(t, "agent") {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = theirs.Read(make([]byte, 4096))
			_, _ = theirs.Write(words)
			_, _ = io.Copy(io.Discard, theirs) // it does not hang up by itself
		}()
		_, err := NewClient("receiver", ours, []byte("0123456789abcdef"), "test")
		theirs.Close()
		for _, text := range endpointtest.SaysBoth(n) {
			if err == nil || fault.Of(err) != fault.Failed || !strings.Contains(err.Error(), text) {
				t.Errorf("protocol %d: %v does not say %s", n, err, text)
			}
		}
	}
}

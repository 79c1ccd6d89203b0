package agent

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/endpoint/endpointtest"
	"zcbench/endpoint/wire"
)

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"clock":{"now":1}}`))
	f.Add([]byte(`{"prepare":{"role":"rx","engine":"plain","flows":1,"length":1,"pattern":{"seed":1,"period":1},"time":1,"omit":0,"interval":0,"scope":"host"}}`))
	f.Add([]byte(`{"start":{"at":1}}{"start":{"at":1}}`))
	f.Add([]byte(`null`))
	a := &Agent{RX: []endpoint.Engine{endpointtest.Plain{Role: endpoint.RX}}, DataPort: 5302, Limits: wire.Limits{Time: time.Hour, Flows: 128,
		Memory: 1 << 30}}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := read(line)
		if err != nil {
			if !errors.Is(err, wire.ErrGarbage) && !errors.Is(err, io.EOF) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		if m.Prepare == nil {
			return
		}
		if _, err := a.admit(m.Prepare, false); err == nil {
			p := m.Prepare
			if p.Flows < 1 || p.Flows > 128 || p.Time+p.Omit > time.Hour || p.Time <= 0 || p.Host != "" || p.Congestion != "" || p.Raw ||
				int64(p.Flows)*int64(p.Length) > 1<<30 || p.DataPort != 5302 {
				t.Errorf("admitted %+v", p)
			}
		}
	})
}

// oneLine is a link on which a line comes.
type oneLine struct{ io.Reader }

func (oneLine) Write(b []byte) (int, error) { return len(b), nil }
func (oneLine) Close() error                { return nil }

// read is what an agent takes a line for.
func read(line []byte) (wire.Message, error) {
	return wire.NewLink(oneLine{bytes.NewReader(append(line[:len(line):len(line)], '\n'))}, wire.MaxReply).Receive()
}

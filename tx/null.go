package tx

import (
	"zcbench/endpoint"
	"zcbench/internal/feature"
)

// Null sends nothing: it runs the loop of a sender, one iteration for each
// piece it would send, to show what the tool itself costs. The loop never
// waits, so it takes a whole CPU for each flow.
func Null() endpoint.Engine { return null{} }

type null struct{}

func (null) Name() string { return "null" }

// nullIterations is the element of Counters.Extra.
const nullIterations = 0

func (null) Layout() endpoint.Layout {
	return endpoint.Layout{Extra: []string{"iterations"}, NoPayload: true}
}

func (null) Options() []endpoint.Option { return nil }

func (null) Probe(string) feature.Verdict { return feature.Possible() }

func (null) Memory(endpoint.Params) (int64, error) { return 0, nil }

func (e null) Open(p endpoint.Params) (endpoint.Session, error) {
	if _, err := endpoint.ParseOptions(e.Options(), p.Options); err != nil {
		return nil, err
	}
	return endpoint.PerFlow(p.Flows, func(int) (endpoint.Worker, error) { return nullWorker{}, nil }), nil
}

type nullWorker struct{}

func (nullWorker) Run(conns []endpoint.Conn, stop *endpoint.Stop) error {
	c := conns[0]
	var pacer endpoint.Pacer
	for !stop.Requested() {
		c.Counters.Extra[nullIterations].Add(1)
		pacer.Tick()
	}
	return nil
}

func (nullWorker) Close() error { return nil }

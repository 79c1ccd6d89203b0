package endpoint

// PerFlow is the Session of an engine whose flows share nothing: each has a
// worker of its own, which owns all there is to close.
func PerFlow(flows int, worker func(i int) (Worker, error)) Session {
	return perFlow{flows, worker}
}

type perFlow struct {
	flows  int
	worker func(i int) (Worker, error)
}

func (s perFlow) Workers() int                 { return s.flows }
func (s perFlow) Worker(i int) (Worker, error) { return s.worker(i) }
func (perFlow) Close() error                   { return nil }

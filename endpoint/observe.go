package endpoint

// Observer is a Session that measures more than its connections count: its
// queues, a page pool, extremes. It is called from one goroutine, which is no
// worker.
type Observer interface {
	// Begin is called when the window opens.
	Begin() error
	// End is called when it closes. It gives counters of the window, by
	// names as in Layout.Extra, and what a reader of the result must know.
	End() (counters map[string]float64, warnings []string, err error)
}

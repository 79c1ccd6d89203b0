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

// Doubt is payload that was counted as zero-copied, of which nobody can tell
// after all.
type Doubt struct {
	Bytes  uint64 // of the window, at most; All is all
	Copied bool   // all was copied, that is certain
	Why    string // and what to do, to follow a colon
}

// All is a Doubt's Bytes where it is of everything.
const All = ^uint64(0)

// Doubter is an Observer that learns only at the window's end what of it is
// proven. Doubt is called after End; without Bytes there is none.
type Doubter interface {
	Observer
	Doubt() Doubt
}

//go:build !giouring

package ring

import "zcbench/internal/uring"

// Version is what the version of a build tells of its rings.
const Version = ""

// What the engines use.
type (
	Ring    = uring.Ring
	SQE     = uring.SQE
	BufRing = uring.BufRing
)

// New makes a ring for the calling thread.
func New(c uring.Config) (*Ring, error) { return uring.New(c) }

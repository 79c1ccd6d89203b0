//go:build giouring

package ring

import (
	"zcbench/internal/uring"
	"zcbench/internal/uring/giouring"
)

// Version is what the version of a build tells of its rings.
const Version = "+giouring"

// What the engines use.
type (
	Ring    = giouring.Ring
	SQE     = giouring.SQE
	BufRing = giouring.BufRing
)

// New makes a ring for the calling thread.
func New(c uring.Config) (*Ring, error) { return giouring.New(c) }

// Package ring is the io_uring under the engines that either of two libraries
// can carry: internal/uring, or with the build tag giouring the library of that
// name. zcrx needs what only the first has.
package ring

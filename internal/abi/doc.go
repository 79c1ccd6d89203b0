// Package abi is the kernel's user interface as zcbench uses it: constants
// and structures that golang.org/x/sys/unix lacks, one file for each uapi
// header, and the thin calls on memory and sockets that need unsafe.
//
// Names are the header's own, with the header and the kernel version that
// added them. Calls on a hot path neither allocate nor retry and return the
// errno as it is.
package abi

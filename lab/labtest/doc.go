// Package labtest holds the tests of the software NIC, and of what depends on
// the kernel it runs on. They need the lab's VM, and skip anywhere else.
package labtest

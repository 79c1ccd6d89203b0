package main

import (
	"fmt"
	"slices"
	"strings"
)

// model is a NIC that QEMU has and whose driver others wrote.
type model struct {
	name    string // as the user says it
	device  string // as QEMU says it
	driver  string // its module in the guest
	drivers bool   // only the kernel with all drivers has that
}

var models = []model{
	{"igb", "igb", "igb", true},
	{"e1000e", "e1000e", "e1000e", true},
	{"vmxnet3", "vmxnet3", "vmxnet3", false},
	{"virtio", "virtio-net-pci", "virtio_net", false},
}

func modelNames() string {
	var names []string
	for _, m := range models {
		names = append(names, m.name)
	}
	return strings.Join(names, ", ")
}

func (m *model) String() string { return m.name }

func (m *model) Set(s string) error {
	i := slices.IndexFunc(models, func(m model) bool { return m.name == s })
	if i < 0 {
		return fmt.Errorf("the lab has no NIC %q; it has %s", s, modelNames())
	}
	*m = models[i]
	return nil
}

package ask

import (
	"maps"
	"testing"

	"zcbench/endpoint"
	"zcbench/internal/fault"
	"zcbench/rx"
)

func TestMemoryFlag(t *testing.T) {
	for _, c := range []struct {
		flag string
		want map[string]string // nil: refused
	}{
		{"udmabuf", map[string]string{"mem": "udmabuf"}},
		{"udmabuf:1M", map[string]string{"mem": "udmabuf", "mem-size": "1M"}},
		{"hugepages:64M", map[string]string{"mem": "hugepages", "mem-size": "64M"}},
		{"heap:system", map[string]string{"mem": "heap", "mem-heap": "system"}},
		{"heap:system:32M", map[string]string{"mem": "heap", "mem-heap": "system", "mem-size": "32M"}},
		{"fd:7", map[string]string{"mem": "fd", "mem-fd": "7", "mem-size": "0"}},
		{"", nil}, {"udmabuf:lots", nil}, {"heap", nil}, {"heap:../etc", nil}, {"fd", nil}, {"fd:-1", nil}, {"cuda:0", nil},
	} {
		var m memory
		err := m.Set(c.flag)
		if c.want == nil {
			if fault.Of(err) != fault.Usage {
				t.Errorf("%q: %v, want a usage error", c.flag, err)
			}
			continue
		}
		if err != nil || !maps.Equal(m.options, c.want) {
			t.Errorf("%q: %v, %v, want %v", c.flag, m.options, err, c.want)
		}
		if _, err := endpoint.ParseOptions(rx.Devmem().Options(), m.options); err != nil {
			t.Errorf("%q: the engine refuses it: %v", c.flag, err)
		}
	}
}

// TestGiveMemory: --mem reaches engines that take a dma-buf, and only them.
func TestGiveMemory(t *testing.T) {
	for _, c := range []struct {
		rx, tx string
		roles  []endpoint.Role
		rxWant map[string]string
		txWant map[string]string
		fails  bool
	}{
		{"devmem", "devmem", []endpoint.Role{endpoint.RX, endpoint.TX}, map[string]string{"mem": "udmabuf", "mem-size": "2M"},
			map[string]string{"mem": "udmabuf", "mem-size": "1M"}, false},
		{"devmem", "baseline", []endpoint.Role{endpoint.RX, endpoint.TX}, map[string]string{"mem": "udmabuf", "mem-size": "2M"}, nil, false},
		{"devmem", "devmem", []endpoint.Role{endpoint.TX}, map[string]string{"mem-size": "2M"}, map[string]string{"mem": "udmabuf",
			"mem-size": "1M"}, false},
		{"baseline", "baseline", []endpoint.Role{endpoint.RX, endpoint.TX}, nil, nil, true},
		{"devmem", "baseline", []endpoint.Role{endpoint.TX}, nil, nil, true},
	} {
		r := Run{RX: c.rx, TX: c.tx, RXOptions: map[string]string{"mem-size": "2M"}}
		if err := r.memory.Set("udmabuf:1M"); err != nil {
			t.Fatal(err)
		}
		err := known.GiveMemory(&r, c.roles...)
		if c.fails {
			if fault.Of(err) != fault.Usage {
				t.Errorf("%s/%s: %v, want a usage error", c.rx, c.tx, err)
			}
			continue
		}
		if err != nil || !maps.Equal(r.RXOptions, c.rxWant) || !maps.Equal(r.TXOptions, c.txWant) {
			t.Errorf("%s/%s for %v: %v, receiver %v, sender %v", c.rx, c.tx, c.roles, err, r.RXOptions, r.TXOptions)
		}
	}
}

package ringcfg

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"zcbench/internal/genl/ethtool"
	"zcbench/internal/genl/netdev"
)

// nic has receive queues and one transmit queue; some are taken.
func nic(rx int, taken map[uint32]netdev.Queue) []netdev.Queue {
	var all []netdev.Queue
	for id := range uint32(rx) {
		q := taken[id]
		q.ID = id
		all = append(all, q)
	}
	return append(all, netdev.Queue{Direction: netdev.TX})
}

func flow(port, source uint16) ethtool.Match {
	return ethtool.Match{Dst: netip.MustParseAddr("198.18.0.2"), DstPort: port, SrcPort: source}
}

func TestPickQueues(t *testing.T) {
	for _, c := range []struct {
		name   string
		n      int
		queues []netdev.Queue
		now    Settings
		want   []uint32
		err    string
	}{
		{"the last", 1, nic(4, nil), nil, []uint32{3}, ""},
		{"the last two", 2, nic(4, nil), nil, []uint32{2, 3}, ""},
		{"one with a dma-buf is left alone", 1, nic(4, map[uint32]netdev.Queue{3: {DMABuf: 7}}), nil, []uint32{2}, ""},
		{"so is one in somebody's rule or context", 1, nic(4, nil),
			Settings{"flow.tcp4 dst-ip 10.0.0.1": "queue 3 at 9", "rss.context-1": "2 2"}, []uint32{1}, ""},
		{"but not in a rule of ours", 1, nic(4, nil), Settings{"flow.tcp4 dst-ip 198.18.0.2 dst-port 5302": "queue 3 at 9"}, []uint32{3}, ""},
		{"never queue 0", 2, nic(2, nil), nil, nil, "1 of its 2 receive queues can be had, 2 are needed: queue 0 is for other traffic"},
		{"all taken", 1, nic(3, map[uint32]netdev.Queue{1: {IOUring: true}, 2: {DMABuf: 7}}), nil, nil,
			"queue 2 has dma-buf binding 7; queue 1 has io_uring zcrx; queue 0 is for other traffic"},
		{"an interface that is down", 1, nil, nil, nil, "set the interface up"},
	} {
		got, err := pickQueues(c.n, c.queues, c.now, []ethtool.Match{flow(5302, 0)})
		if !slices.Equal(got, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, %v; want %v, %q", c.name, got, err, c.want, c.err)
		}
	}
}

func TestSteering(t *testing.T) {
	const rule = "flow.tcp4 dst-ip 198.18.0.2"
	for _, c := range []struct {
		name  string
		own   []uint32
		now   Settings
		flows []ethtool.Match
		want  steered
	}{
		{"one queue", []uint32{3}, Settings{"rss.table": "0 1 2 3 0 1 2 3"}, []ethtool.Match{flow(5302, 0)},
			steered{rss: Settings{"rss.table": "0 1 2 0 0 1 2 1"}, flows: Settings{rule + " dst-port 5302": "queue 3"}}},
		{"a table that is away already", []uint32{3}, Settings{"rss.table": "0 0 0 0"}, nil,
			steered{rss: Settings{"rss.table": "0 0 0 0"}, flows: Settings{}}},
		{"three flows on two queues", []uint32{2, 3}, Settings{"rss.table": "0 1 2 3"}, []ethtool.Match{flow(5302, 1), flow(5302, 2),
			flow(5302, 3)},
			steered{rss: Settings{"rss.table": "0 1 0 1"}, flows: Settings{rule + " src-port 1 dst-port 5302": "queue 2",
				rule + " src-port 2 dst-port 5302": "queue 3", rule + " src-port 3 dst-port 5302": "queue 2"}}},
		{"one flow on two queues", []uint32{2, 3}, Settings{"rss.table": "0 1 2 3", "rss.context-1": "0 0 0 0"}, []ethtool.Match{flow(5302, 0)},
			steered{context: 2, rss: Settings{"rss.table": "0 1 0 1", "rss.context-2": "2 3 2 3"},
				flows: Settings{rule + " dst-port 5302": "context 2"}}},
	} {
		got, err := steering(c.own, nic(4, nil), c.now, c.flows)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v\nwant %+v", c.name, got, err, c.want)
		}
	}
	if _, err := steering([]uint32{3}, nic(4, nil), Settings{}, nil); err == nil {
		t.Error("no RSS table: no error")
	}
}

func TestParseRule(t *testing.T) {
	for _, c := range []struct{ name, value, err string }{
		{"flow.tcp4 dst-ip 198.18.0.2 dst-port 5302", "queue 3", ""},
		{"flow.tcp4 dst-ip 198.18.0.2 dst-port 5302", "queue 3 at 1023", ""},
		{"flow.tcp6 src-ip 2001:2::1 dst-ip 2001:2::2 src-port 1 dst-port 2", "context 1", ""},
		{"flow.tcp4 dst-ip 198.18.0.2", "", ""},
		{"flow.tcp4 dst-ip 2001:2::2", "queue 1", "is not an address of tcp4"},
		{"flow.tcp4 dst-port 5302 dst-ip 198.18.0.2", "queue 1", "write it as flow.tcp4 dst-ip 198.18.0.2 dst-port 5302"},
		{"flow.tcp4 dst-ip 198.18.0.2 dst-port 70000", "queue 1", "70000 is not a port"},
		{"flow.tcp4 dst-ip 198.18.0.2 proto 5", "queue 1", "proto is not"},
		{"flow.udp4 dst-ip 198.18.0.2", "queue 1", "not a TCP match"},
		{"flow.tcp4 dst-ip", "queue 1", "not a TCP match"},
		{"flow.tcp4 dst-ip 198.18.0.2", "queue", "want queue N"},
		{"flow.tcp4 dst-ip 198.18.0.2", "context 0", "0 is not a number of one"},
		{"flow.tcp4 dst-ip 198.18.0.2", "queue 1 at x", "x is not a place"},
	} {
		_, err := parseRule(c.name, c.value)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s = %s: %v, want %q", c.name, c.value, err, c.err)
		}
	}
}

func TestParseRSS(t *testing.T) {
	for _, c := range []struct{ name, value, want, err string }{
		{"rss.table", "equal 2", "0 1 0 1 0 1", ""},
		{"rss.table", "equal 4", "0 1 2 3 0 1", ""},
		{"rss.table", "equal 9", "0 1 2 3 4 5", ""},
		{"rss.context-1", "4 5", "4 5 4 5 4 5", ""},
		{"rss.table", "0 1 2 3 4 5", "0 1 2 3 4 5", ""},
		{"rss.context-1", "", "", ""},
		{"rss.key", "00FF", "00ff", ""},
		{"rss.key", "00:ff", "00ff", ""},
		{"rss.key", "00", "", "rss.key of zc1 is 2 bytes in hexadecimal (4 digits), not \"00\""},
		{"rss.key", "zz00", "", "is 2 bytes"},
		{"rss.key", "", "", "is 2 bytes"},
		{"rss.table", "0 1 2 3", "", "4 queues do not fill the driver's table of 6 evenly"},
		{"rss.table", "equal 0", "", `"0" is not a number of queues`},
		{"rss.table", "a b", "", `"a" is not a queue`},
	} {
		got, err := parseRSS(&host{iface: "zc1"}, Settings{"rss.table": "0 0 0 0 0 0", "rss.key": "abcd"}, c.name, c.value)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s = %s: %q, %v; want %q, %q", c.name, c.value, got, err, c.want, c.err)
		}
	}
}

func TestMask(t *testing.T) {
	for _, c := range []struct{ list, like, want string }{
		{"0", "0", "1"}, {"0-1", "0", "3"}, {"1,3-4", "00", "1a"}, {"0,32", "00000000,00000000", "00000001,00000001"}, {"33", "f,ffffffff",
			"2,00000000"},
	} {
		cpus, err := parseList(c.list)
		if got := mask(cpus, c.like); err != nil || got != c.want {
			t.Errorf("CPUs %s as %s: %s, %v; want %s", c.list, c.like, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "a", "3-1", "1,,2", "1-", "99999"} {
		if _, err := parseList(bad); err == nil {
			t.Errorf("list %q: no error", bad)
		}
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"begin":{"pid":1,"time":"2026-01-01T00:00:00Z","boot":"b","namespace":1}}
{"change":{"family":"link","set":{"link.mtu":"1"},"before":{"link.mtu":"2"}}}
{"done":{"link.mtu":"1"}}
{"undo":0}
{"undone":0}
{"kept":true}
{"chan`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var b book
		good, err := b.parse(text)
		if err != nil {
			return
		}
		if good > len(text) || good > 0 && text[good-1] != '\n' {
			t.Fatalf("%d of %d bytes are whole lines", good, len(text))
		}
		var again book
		if n, err := again.parse(text[:good]); err != nil || n != good || len(again.open()) != len(b.open()) {
			t.Errorf("without the torn line: %d of %d, %v", n, good, err)
		}
	})
}

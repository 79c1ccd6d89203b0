package results

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"zcbench/internal/testutil/tier"
)

// secret is a record of two hosts that must not be told.
const secret = `{"schema":"zcbench/1","id":"c0ffee","cell":"abc","repeat":0,"status":"failed",
 "reason":"receiver db7.prod.example.org: connect from 10.20.30.40:5301 to [2001:db8::7]:5302: /home/alice/zcbench/bin: no such file, see https://example.org/x",
 "rx":{"engine":"devmem","bytes":12345678901234567,"meter_note":"x","power":{"meter":"snmp:pdu9.prod.example.org/apc/3","watts":100.50},"verify":{"mac":"02:00:5e:10:00:01"}},
 "tx":{"engine":"devmem","power":{"meter":"rapl:psys"}},
 "facts":{"rx":{"machine":{"hostname":"db7.prod.example.org","model":"ProLiant DL385 Gen11","serial":"CZ2D1A0B9C","uuid":"31373844-3036-5a43-3231-34343830a0b1"},
   "nic":{"name":"eth1","driver":"mlx5_core","driver_version":"24.10.1.2","firmware":"28.41.1000 (MT_0000000838)","address":"b8:ce:f6:00:11:22","speed_mbps":200000,"busaddr":"0000:3b:00.0"},
   "kernel":{"release":"6.18.44-fc","cmdline":"root=/dev/sda1 ip=10.20.30.40 secret=1"},"missing":{"thermal":"no /sys/class/hwmon"},"process":{"command":"/home/alice/bin/zcbench agent --stdio"}},
  "tx":{"machine":{"hostname":"web1"},"kernel":{"cmdline":"quiet"}}},
 "settings":{"flows":4,"length":131072,"mtu":"4148","bind":"10.20.30.40"},
 "command":"/home/alice/bin/zcbench tx db7 -t 30 -P 4 --mode devmem --set mtu=4148 --token-file /etc/zc/alice.token -B 10.20.30.40 --meter rx=snmp:pdu9.prod.example.org/apc/3 --meter tx=exec:ssh bob@pdu9",
 "pair":"db7-web1","experiment":"spring",
 "samples":[{"end":"rx","start":0,"seconds":1.000000001,"bytes":9007199254740993}],
 "warnings":["web1: 50% of a CPU and/or more, at 12:30:45 [cpu-foreign]","rx, meter snmp:pdu9.prod.example.org/apc/3: no value","db7 lost fe80::1%eth1 and 127.0.0.1"]}`

func TestRedact(t *testing.T) {
	var r Redactor
	out := string(r.Line([]byte(secret)))
	for _, gone := range []string{"db7", "web1", "prod", "example", "alice", "bob", "10.20", "2001:", "fe80", "pdu9", "apc", "CZ2D",
		"31373844", "b8:ce", "02:00:5e", "secret", "quiet", "/home", "token\"", "alice.token"} {
		if strings.Contains(out, gone) {
			t.Errorf("%q is still there", gone)
		}
	}
	for _, kept := range []string{
		"ProLiant DL385 Gen11", "mlx5_core", "24.10.1.2", "28.41.1000 (MT_0000000838)", "0000:3b:00.0", "200000", "6.18.44-fc",
		"no /sys/class/hwmon", `"meter":"rapl:psys"`,
		"zcbench tx host-1 -t 30 -P 4 --mode devmem --set mtu=4148 --token-file", "50% of a CPU and/or more, at 12:30:45", "127.0.0.1",
		"12345678901234567", "100.50", "1.000000001", "9007199254740993",
		"eth1", `"experiment":"spring"`, "snmp:meter-1",
	} {
		if !strings.Contains(out, kept) {
			t.Errorf("%q has gone", kept)
		}
	}
	if strings.Count(out, "host-1") < 4 || !strings.Contains(out, `"hostname":"host-1"`) || !strings.Contains(out, "host-1 lost") ||
		!strings.Contains(out, "receiver host-1: connect from address-1:5301 to [address-2]:5302: path-") {
		t.Errorf("one name has several stand-ins")
	}
	var rec Record
	if err := json.Unmarshal([]byte(out), &rec); err != nil {
		t.Fatal(err)
	}
	// The same again, from another record.
	if again := string(r.Line([]byte(secret))); again != out {
		t.Errorf("%s\nis not\n%s", again, out)
	}
	const lookup = `{"command":"zcbench tx db9.lab -C bbr","reason":"dial tcp: lookup db9.lab: no such host"}`
	if got := string(new(Redactor).Line([]byte(lookup))); got != `{"command":"zcbench tx host-1 -C bbr","reason":"dial tcp: lookup host-1: no such host"}` {
		t.Error(got)
	}
	for _, bad := range []string{"", "{", `{"a":"\ud800"}`, "[]", `"x"`, "1", `{"":""}`, strings.Repeat("[", 20000)} {
		r.Line([]byte(bad))
	}
	if t.Failed() {
		t.Log(out)
	}
}

// Names in other letters, forms and places are names too.
func TestRedactForms(t *testing.T) {
	const text = `{"facts":{"rx":{"machine":{"hostname":"acmebox2.corp.acme.example","chassisSerial":"SN12345"},"nic":{"name":"enx021122334455"}}},"warnings":[` +
		`"rx: ACMEBOX2 and acmebox2-tx said so","02-11-22-33-44-56","/dev/disk/by-id/nvme-SN777 /run/user/jane/x /etc/acme/secret /dev/udmabuf /proc/sys/net","about 3.0% of a CPU went to programs; most to jane backup (pid 12, 3.0%): end them"]}`
	out := string(new(Redactor).Line([]byte(text)))
	for _, gone := range []string{"acmebox2", "ACMEBOX2", "SN12345", "021122334455", "02-11", "SN777", "jane", "acme/secret"} {
		if strings.Contains(out, gone) {
			t.Errorf("%q is still there: %s", gone, out)
		}
	}
	for _, kept := range []string{"/dev/udmabuf", "/proc/sys/net", "most to program-1 (pid 12, 3.0%)", "rx: host-1 and host-1-tx said so"} {
		if !strings.Contains(out, kept) {
			t.Errorf("%q has gone: %s", kept, out)
		}
	}
}

// Wherever in a record a secret stands, as a value or as the key of a map, and however
// it is written, nothing of it is left.
func TestRedactEverywhere(t *testing.T) {
	tier.Long(t)
	const known = `"known":{"hostname":"zz8.lab7.example.net","mac":"02:00:5e:aa:00:01","token_file":"/srv/my tokens/alice key"}`
	secrets := map[string][]string{ // by what of it may not be left
		"zz8":     {"zz8", "ZZ8", "zz8.lab7.example.net", "eth-zz8", "at zz8:"},
		"lab7":    {"zz8.lab7.example.net"},
		"20.30":   {"10.20.30.40", "ip10.20.30.40", "v10.20.30.40", "x_10.20.30.40_y", "10.20.30.40/24", "010.020.030.040", "10.20.30.40eth0"},
		"2001":    {"[2001:db8::7]:5302", "2001:db8::7", "peer:2001:db8::7.", "x2001:db8::7", "[2001:DB8:0:0:0:0:0:7]"},
		"fe80":    {"[fe80::1%eth1]", "Address:fe80::1"},
		"020.030": {"010.020.030.040"},
		"5eaa":    {"02005eaa0001", "0200.5eaa.0001", "enx02005eaa0001", "0200.5EAA.0001"},
		"5e-aa":   {"02-00-5e-aa-00-01", "02-00-5E-AA-00-01"},
		"5e:": {"02:00:5e:aa:00:01", "mac_02:00:5E:AA:00:01", "2:0:5e:bb:0:2",
			"80:00:00:48:fe:80:00:00:00:00:00:00:02:00:5e:ff:fe:aa:00:01"},
		"5ecc": {"0200.5ecc.0001", "02005ecc0001"},
		"alice": {"/home/alice", "open /home/bob/alice secrets: no such file", "read \"/home/x/alice secrets\" failed", "/home/my qqq/alice",
			"alice@zz8", "/srv/my tokens/alice key", "~/alice"},
		"secrets":   {"open /home/bob/alice secrets: no such file", "'/home/x/alice secrets'"},
		"qqq":       {"at /home/my qqq/alice it is"},
		"31373844-": {"31373844-3036-5a43-3231-34343830a0b1", "id_31373844-3036-5a43-3231-34343830a0b1"},
	}
	full := secret[:len(secret)-1] + `,"tuned":{"rx":["mtu"]},"axes":{"a":"b"},"notes":["x"],"flows":[{"x":"y"}],` + known + `}`
	var record any
	if err := json.Unmarshal([]byte(full), &record); err != nil {
		t.Fatal(err)
	}
	places := 0
	try := func(at string, put func(string), back func()) {
		places++
		for gone, texts := range secrets {
			for _, text := range texts {
				put(text)
				line, err := json.Marshal(record)
				if err != nil {
					t.Fatal(err)
				}
				back()
				if out := string(new(Redactor).Line(line)); strings.Contains(strings.ToLower(out), gone) {
					i := strings.Index(strings.ToLower(out), gone)
					t.Errorf("%s: %q leaves %q: %s", at, text, gone, out[max(0, i-60):min(len(out), i+60)])
				}
			}
		}
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				was := v[key]
				if text, ok := was.(string); ok && !plain(key, text) {
					try(at+"."+key, func(s string) { v[key] = s }, func() { v[key] = was })
				} else {
					walk(at+"."+key, was)
				}
			}
			last := ""
			try(at+".KEY", func(s string) { v[s], last = "value", s }, func() { delete(v, last) })
		case []any:
			for i, was := range v {
				if _, ok := was.(string); ok {
					try(fmt.Sprintf("%s[%d]", at, i), func(s string) { v[i] = s }, func() { v[i] = was })
				} else {
					walk(fmt.Sprintf("%s[%d]", at, i), was)
				}
			}
		}
	}
	walk("", record)
	if places < 50 {
		t.Errorf("only %d places", places)
	}
	// And what is none stays.
	const others = `{"cell":"7874d49a83a6","schema":"zcbench/1","warnings":["cell 7874d49a83a6 at 12:30:45 std::add 0000:3b:00.0 123456789012 1.3.6.1.4.1 IF-MIB::ifDescr 50% and/or more 5.4.2 ::1 127.0.0.1 queue.rx-0"],` +
		`"settings":{"queue.rx-0.rps-cpus":"1"},"rx":{"counters":{"rx_queue_0_csum_complete":1}}}`
	if out := string(new(Redactor).Line([]byte(others))); out != others {
		t.Errorf("%s\nis not\n%s", out, others)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add(secret)
	f.Add(`{"a":[{"b":"10.0.0.1"},null,true,-1e9],"hostname":"é\u202e"}`)
	f.Fuzz(func(t *testing.T, text string) {
		out := new(Redactor).Line([]byte(text))
		if json.Valid([]byte(text)) && !json.Valid(out) {
			t.Errorf("%q became %q", text, out)
		}
	})
}

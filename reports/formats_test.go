package reports

import (
	"bytes"
	"fmt"
	stdhtml "html"
	"io"
	"strings"
	"testing"

	"zcbench/analysis"
	"zcbench/analysis/analysistest"
	"zcbench/results"
)

// A record that is odd where most reports do not look is told by all, and left out.
func TestOddSamples(t *testing.T) {
	good := analysistest.Lines(t, "pair")
	odd := strings.Replace(good[1], `"samples":[]`, `"samples":[{"gbps":"x"}]`, 1)
	if odd == good[1] {
		t.Fatal("the record has no samples")
	}
	path := analysistest.Store(t, t.TempDir(), "a.jsonl", good[0], odd, good[2])
	s, err := analysis.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(s.Problems, "\n"); s.Empty() || !strings.Contains(all, "samples.gbps is a string, and should be a number") ||
		!strings.Contains(all, path) || !strings.Contains(all, "line 2") {
		t.Errorf("%q", all)
	}
	r, err := s.Report(analysis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := write(&out, r, "records"); err != nil || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("%v: %.300s", err, out.String())
	}
}

// Reading from a file and records at hand must come to the same report.
func TestLoadAgreesWithRecordsAtHand(t *testing.T) {
	for _, name := range analysistest.Fixtures {
		s, err := analysis.Load(analysistest.File(t, name))
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Report(analysis.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range formats() {
			var a, b bytes.Buffer
			if err := write(&a, r, format); err != nil {
				t.Fatal(err)
			}
			if err := write(&b, analysis.FirstLook(analysistest.Fixture(t, name)), format); err != nil {
				t.Fatal(err)
			}
			if a.String() != b.String() {
				t.Errorf("%s differs as %s", name, format)
			}
		}
	}
}

// What is of another kind does not stand beside a published figure; of the
// same kind, what differs stands beside it.
func TestReferencesOfAnotherKind(t *testing.T) {
	nic := func(r *results.Record, name string, value any) {
		for _, f := range []results.Facts{r.Facts.RX, r.Facts.TX} {
			f["nic"].(map[string]any)[name] = value
		}
	}
	make := func(f func(*results.Record)) []results.Record {
		records := analysistest.Matrix()
		for i := range records {
			r := &records[i]
			r.Axes["cpus"] = "2"
			analysistest.AsTheMode(r)
			for _, to := range []*results.Facts{&r.Facts.RX, &r.Facts.TX} {
				*to = results.Facts{"nic": map[string]any{"name": "eth1", "kind": "device", "driver": "idpf", "speed_mbps": 200000,
					"mtu": 4148},
					"offload": map[string]any{"rx-gro": "on", "rx-gro-hw": map[string]string{"hw": "on", "sw": "off"}[r.Axes["gro"]]}}
			}
			f(r)
		}
		return records
	}
	for _, c := range []struct {
		name  string
		f     func(*results.Record)
		shown int // of the six
		text  string
		not   string
	}{
		{"as published", func(*results.Record) {}, 6, "", "Not as published|Left out|netdev-0x19; here"},
		{"another NIC and MTU", func(r *results.Record) { nic(r, "driver", "mlx5_core"); nic(r, "mtu", 1500) }, 6,
			"Not as published here: NIC mlx5_core at 200000 Mbit/s, MTU 1500.", "Left out"},
		{"a slower one", func(r *results.Record) { nic(r, "speed_mbps", 100000) }, 6, "Not as published here: NIC idpf at 100000 Mbit/s.",
			"Left out"},
		{"several flows", func(r *results.Record) { r.Settings["flows"] = 4 }, 6, "Not as published here: 4 flows.", "NIC idpf"},
		{"over veth", func(r *results.Record) { nic(r, "kind", "veth"); nic(r, "driver", "veth") }, 0,
			"baseline, 2 CPUs, sw GRO went over veth, published is nic", "Not as published"},
		{"over loopback", func(r *results.Record) { nic(r, "name", "lo") }, 0, "went over loopback, published is nic", "Not as published"},
		{"in a virtual machine", func(r *results.Record) { nic(r, "driver", "virtio_net") }, 0, "went over virtio_net, published is nic",
			"Not as published"},
		{"on the lab's NIC, whatever it calls its driver", func(r *results.Record) { nic(r, "bus", "zcnic.0") }, 0,
			"went over zcnic, published is nic", "Not as published"},
		{"other engines under the names of modes", func(r *results.Record) {
			if r.Axes["mode"] == "devmem" {
				r.TX.Engine = "msgzc"
			}
		}, 4, "devmem, 2 CPUs, sw GRO is msgzc → devmem, published is devmem → devmem", "Not as published"},
		{"one run of another engine", func(r *results.Record) {
			if r.Axes["mode"] == "devmem" && r.Axes["gro"] == "sw" && r.Repeat == 7 {
				r.RX.Engine = "baseline"
			}
		}, 5, "is devmem → baseline", ""},
		{"HW GRO in name alone", func(r *results.Record) {
			r.Facts.RX["offload"].(map[string]any)["rx-gro-hw"] = "off"
		}, 3, "had GRO sw, published is hw", ""},
		{"no GRO", func(r *results.Record) {
			r.Facts.RX["offload"] = map[string]any{"rx-gro": "off", "rx-gro-hw": "off"}
		}, 0, "had GRO off, published is", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := analysis.Of(make(c.f)).Report(analysis.Options{References: []string{"netdev-0x19"}})
			if err != nil {
				t.Fatal(err)
			}
			shown := 0
			for _, b := range r.References[0].Points {
				if b.Cell != nil {
					shown++
				}
			}
			if shown != c.shown {
				t.Errorf("%d figures beside published ones, want %d", shown, c.shown)
			}
			for _, format := range []string{"table", "markdown", "html"} {
				var b bytes.Buffer
				if err := write(&b, r, format); err != nil {
					t.Fatal(err)
				}
				text := strings.ReplaceAll(strings.Join(strings.Fields(stdhtml.UnescapeString(b.String())), " "), `\_`, "_")
				if !strings.Contains(text, c.text) {
					t.Errorf("%s: no %q", format, c.text)
				}
				for _, not := range strings.Split(c.not, "|") {
					if not != "" && strings.Contains(text, not) {
						t.Errorf("%s: %q", format, not)
					}
				}
				if format == "html" {
					if n := strings.Count(text, `<path class="mark" d="M0 -6`); n != c.shown {
						t.Errorf("%d marks in the charts, want %d", n, c.shown)
					}
				}
			}
		})
	}
}

func TestTableOfNamedMetrics(t *testing.T) {
	records := analysistest.Matrix()
	for i := range records {
		records[i].RX.Counters = map[string]float64{"tcp_rtt_us": 12}
	}
	r, err := analysis.Of(records).Report(analysis.Options{Metrics: []string{"rx.counters"}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Table(&b, r); err != nil || !strings.Contains(b.String(), "rx.counters.tcp_rtt_us") {
		t.Errorf("%v\n%s", err, &b)
	}
}

func TestTableOfReferences(t *testing.T) {
	records := analysistest.Matrix()
	for i := range records {
		records[i].Axes["cpus"] = "2"
		analysistest.AsTheMode(&records[i])
	}
	r, err := analysis.Of(records).Report(analysis.Options{References: []string{"netdev-0x19"}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Table(&b, r); err != nil {
		t.Fatal(err)
	}
	analysistest.Golden(t, "reference.table", b.Bytes())
}

func TestManyHostsAreTold(t *testing.T) {
	records := analysistest.Matrix()
	for i := range records {
		records[i].Facts.RX = results.Facts{"machine": map[string]any{"hostname": fmt.Sprint("rx", i%3)}}
		records[i].Facts.TX = results.Facts{"machine": map[string]any{"hostname": "tx0"}}
	}
	var b bytes.Buffer
	if err := Table(&b, analysis.FirstLook(records)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "Sender: tx0\nReceiver: rx0; and 2 other hosts\n") ||
		!strings.Contains(b.String(), "machine.hostname rx0, then rx1, then rx2") {
		t.Errorf("got\n%s", &b)
	}
	if err := write(broken{}, analysis.FirstLook(records), "json"); err == nil {
		t.Error("a failed write went unnoticed")
	}
}

// Figures beyond all reason must end in a report, whatever it says.
func TestExtremes(t *testing.T) {
	for _, speeds := range [][]float64{{1e308, 1e308, 1e308}, {1e-320, 1e-320}, {5e-324}, {-1, -5}, {1e308, -1e308}, {0, 0, 0, 0},
		{1e300, 1e-300, 1, 1, 1, 1, 1}} {
		var records []results.Record
		for i, v := range speeds {
			r := analysistest.OK("a", v, 1e-300, 1e300)
			r.ID = fmt.Sprint(i)
			records = append(records, r)
		}
		for _, format := range formats() {
			if err := write(io.Discard, analysis.FirstLook(records), format); err != nil {
				t.Errorf("%v as %s: %v", speeds, format, err)
			}
		}
		c, err := analysis.Compare(analysis.Of(records), analysis.Of(records), analysis.CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range CompareFormats() {
			if err := WriteComparison(io.Discard, c, format); err != nil {
				t.Errorf("%v against itself as %s: %v", speeds, format, err)
			}
		}
		if l := c.Losses(); len(l) > 0 {
			t.Errorf("%v against itself: %q", speeds, l)
		}
	}
}

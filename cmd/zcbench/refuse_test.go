package main

import (
	"bytes"
	"context"
	"encoding/json"

	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/pflag"

	"zcbench/endpoint"
	"zcbench/experiment"
	"zcbench/experiment/ask"
	"zcbench/internal/fault"
	"zcbench/results"
)

// flagCase is what becomes of a flag in a command. One of:
//
//	asked    it changes what the ends are asked for
//	output   it changes what the command prints or leaves, beside the same without it
//	refused  one line, exit code 2, with this in it
//	tested   a test of that name sees what it does
type flagCase struct {
	args    string // the flag with a value; with others that it needs
	asked   bool
	output  bool
	refused string
	tested  string
}

// runCases are the flags of tx and local, which have a say in all of it.
var runCases = map[string]flagCase{
	"mode":           {args: "--mode msgzc", asked: true},
	"rx":             {args: "--rx trunc", asked: true},
	"tx":             {args: "--tx msgzc", asked: true},
	"rx-opt":         {args: "--rx mmap --rx-opt chunk=1M", asked: true},
	"tx-opt":         {args: "--tx msgzc --tx-opt batch=4", asked: true},
	"zcrx-area":      {args: "--rx zcrx --tx baseline --zcrx-area huge", asked: true},
	"rx-buf-len":     {args: "--rx zcrx --tx baseline --rx-buf-len 8K", asked: true},
	"rq-entries":     {args: "--rx zcrx --tx baseline --rq-entries 64", asked: true},
	"cq-entries":     {args: "--rx zcrx --tx baseline --cq-entries 64", asked: true},
	"wait-nr":        {args: "--rx zcrx --tx baseline --wait-nr 4", asked: true},
	"min-wait-us":    {args: "--rx zcrx --tx baseline --min-wait-us 4", asked: true},
	"busy-poll":      {args: "--rx zcrx --tx baseline --busy-poll 4", asked: true},
	"mem":            {args: "--mode devmem --mem udmabuf:16M", asked: true},
	"time":           {args: "-t 3", asked: true},
	"omit":           {args: "-O 3", asked: true},
	"interval":       {args: "-i 3", asked: true},
	"parallel":       {args: "-P 3", asked: true},
	"length":         {args: "-l 4K", asked: true},
	"window":         {args: "-w 4K", asked: true},
	"set-mss":        {args: "-M 1000", asked: true},
	"port":           {args: "-p 6000", tested: "TestStoryTwoTerminals"},
	"cport":          {args: "--cport 6000", asked: true},
	"version4":       {args: "-4", asked: true},
	"version6":       {args: "-6", asked: true},
	"affinity":       {args: "-A 0,0", tested: "TestStoryBind"},
	"softirq-cpus":   {args: "--softirq-cpus 0", refused: "--softirq-cpus"},
	"congestion":     {args: "-C reno", asked: true},
	"no-delay":       {args: "-N", asked: true},
	"bind":           {args: "-B 127.0.0.1", tested: "TestStoryBind"},
	"iface":          {args: "--iface lo", tested: "TestStoryBind"},
	"json":           {args: "-J", tested: "TestStoryTwoTerminals"},
	"json-stream":    {args: "--json-stream", tested: "TestStoryJSONStream"},
	"validate":       {args: "--validate", asked: true},
	"raw":            {args: "--raw", asked: true},
	"no-tune":        {args: "--no-tune", asked: true},
	"verify":         {args: "--verify", asked: true},
	"counters":       {args: "--counters tcp", asked: true},
	"profile":        {args: "--profile", asked: true},
	"syscalls":       {args: "--syscalls", asked: true},
	"token-file":     {args: "--token-file FILE", tested: "TestStoryTwoTerminals"},
	"meter":          {args: "--meter exec:true", tested: "TestStoryPower"},
	"baseline-power": {args: "--baseline-power 1", refused: "there is no meter to read"},
	"seed":           {args: "--seed 5", asked: true},
}

// but gives cases that differ from others in some flags.
func but(all map[string]flagCase, others map[string]flagCase) map[string]flagCase {
	m := map[string]flagCase{}
	for _, from := range []map[string]flagCase{all, others} {
		for name, c := range from {
			m[name] = c
		}
	}
	return m
}

// sendersOnly refuses flags with the same words.
func refusing(text string, names ...string) map[string]flagCase {
	m := map[string]flagCase{}
	for _, name := range names {
		c := runCases[name]
		m[name] = flagCase{args: c.args, refused: "--" + name + ": " + text}
	}
	return m
}

// inRXAs are the flags of which rx says that.
func inRXAs(uses ...ask.Use) (names []string) {
	for _, f := range ask.Fields() {
		if slices.Contains(uses, f.InRX) && f.Name != "softirq-cpus" { // of which it says something else
			names = append(names, f.Name)
		}
	}
	return names
}

// Every flag of every subcommand does something, or is refused.
func TestEveryFlag(t *testing.T) {
	dir := t.TempDir()
	study(t, dir, 0.9)
	other := t.TempDir()
	study(t, other, 1)
	facts := filepath.Join(dir, "facts.json")
	{
		spec, err := loadSpec(t.Context(), []string{"quick"}, "plan")
		if err != nil {
			t.Fatal(err)
		}
		at := map[string]results.Pair[experiment.Survey]{}
		for _, p := range spec.Pairs {
			at[p.Name] = twoCPUs()
		}
		if err := writeFacts(facts, at); err != nil {
			t.Fatal(err)
		}
	}
	rxServes := but(runCases, refusing("the sender decides it", inRXAs(ask.RawOnly, ask.Refused)...))
	for name, c := range rxServes {
		if c.asked { // of the agent's own settings
			c.asked, c.tested = false, "TestReceiverServes"
			rxServes[name] = c
		}
	}
	rxServes["raw"] = flagCase{args: "--raw", tested: "TestStoryRaw"}
	rxServes["one-off"] = flagCase{args: "-1", tested: "TestStoryTwoTerminals"}
	for _, name := range []string{"max-time", "max-flows", "max-memory"} {
		rxServes[name] = flagCase{args: "--" + name + " 5", tested: "TestReceiverServes"}
	}
	rxServes["affinity"] = flagCase{args: "-A 0,1", refused: "--affinity: what follows the comma"}
	rxRaw := but(runCases, refusing("it is the sender's", inRXAs(ask.Refused)...))
	rxRaw["raw"] = flagCase{args: "", tested: "TestStoryRaw"}
	rxRaw["tx"] = flagCase{args: "--tx msgzc", refused: "leave out --tx"}
	rxRaw["seed"] = flagCase{args: "--seed 5", refused: "--seed: it is of the payload"}
	rxRaw["token-file"] = flagCase{args: "--token-file FILE", refused: "--raw has no control connection"}
	rxRaw["affinity"] = flagCase{args: "-A 0,1", refused: "--affinity: what follows the comma"}
	rxRaw["verify"] = flagCase{args: "-O 1 --verify", asked: true}
	for _, name := range []string{"one-off", "max-time", "max-flows", "max-memory"} {
		rxRaw[name] = flagCase{args: rxServes[name].args, refused: "--" + name + ": with --raw one run"}
	}
	txRaw := but(runCases, map[string]flagCase{
		"raw": {tested: "TestStoryRaw"}, "mode": {args: "--mode msgzc", refused: "leave out --rx and --mode"}, "rx": {args: "--rx trunc",
			refused: "leave out --rx and --mode"},
		"rx-opt":   {args: "--rx-opt chunk=1M", refused: "--rx-opt: with --raw the receiver"},
		"validate": {args: "--validate", refused: "--validate: nobody compares"}, "token-file": {args: "--token-file FILE",
			refused: "--raw has no control connection"},
		"mem":      {args: "--tx devmem --mem udmabuf:16M", asked: true},
		"affinity": {args: "-A 0,1", refused: "--affinity: what follows the comma"},
		"verify":   {args: "-O 1 --verify", asked: true},
	})
	for _, name := range []string{"zcrx-area", "rx-buf-len", "rq-entries", "cq-entries", "wait-nr", "min-wait-us", "busy-poll"} {
		txRaw[name] = flagCase{args: "--" + name + " 4", refused: "name the receive engine"}
	}
	local := but(runCases, map[string]flagCase{
		"bind": {args: "-B 127.0.0.1", refused: "--bind is for rx and tx"}, "iface": {args: "--iface lo", refused: "--iface is for rx and tx"},
		"token-file": {args: "--token-file FILE", refused: "--token-file is for rx and tx"}, "raw": {args: "--raw",
			refused: "--raw belongs to rx and tx"},
		"softirq-cpus": {args: "--softirq-cpus 0", tested: "TestStoryVethNote"},
		"link":         {args: "--link a,b", tested: "TestLabDevmemRecord"},
		"set":          {args: "--set mtu=4000", tested: "TestStorySettings"}, "rx-set": {args: "--rx-set mtu=4000",
			tested: "TestStorySettings"}, "tx-set": {args: "--tx-set mtu=4000", tested: "TestStorySettings"},
		"tune-profile": {args: "--tune-profile bigtcp", tested: "TestNetdev0x19"},
		"port":         {args: "-p 6000", tested: "TestStoryBadInput"},
	})
	report := map[string]flagCase{
		"format": {args: "--format csv", output: true}, "output": {args: "-o OUT", output: true}, "group-by": {args: "--group-by rx",
			output: true},
		"filter": {args: "--filter mode=msgzc", output: true}, "metric": {args: "--metric gbps", output: true},
		"reference": {args: "--reference netdev-0x19", output: true}, "explain": {args: "--explain cellmsgzc", output: true},
		"redact": {tested: "TestStoryRedacted"},
	}
	explained := map[string]flagCase{
		"format": {args: "--format csv", refused: "--format: --explain is text"}, "output": {args: "-o OUT",
			output: true}, "group-by": {args: "--group-by rx", refused: "there are no id ("},
		"filter": {args: "--filter repeat=1", output: true}, "metric": {args: "--metric gbps", refused: "--metric: --explain"},
		"reference": {args: "--reference netdev-0x19", refused: "--reference: --explain"}, "explain": {tested: "TestReportStory"},
		"redact": {tested: "TestStoryRedacted"},
	}
	reported := func(format string, idle ...string) map[string]flagCase {
		m := but(report, nil)
		m["format"] = flagCase{tested: "TestReportStory"}
		m["explain"] = flagCase{args: "--explain cellmsgzc", refused: "--format: --explain"}
		for _, name := range idle {
			m[name] = flagCase{args: m[name].args, refused: "--" + name + ": --format " + format}
		}
		return m
	}
	compare := map[string]flagCase{
		"format": {args: "--format csv", output: true}, "output": {args: "-o OUT", output: true}, "group-by": {args: "--group-by rx",
			output: true},
		"filter": {args: "--filter repeat=1|2|3|4|5|6|7", output: true}, "metric": {args: "--metric gbps",
			output: true}, "threshold": {args: "--threshold 90", tested: "TestReportStory"},
	}
	plan := map[string]flagCase{
		"only": {args: "--only length=1M", output: true}, "repeats": {args: "--repeats 2",
			output: true}, "shuffle-seed": {args: "--shuffle-seed 9", output: true},
		"shard": {args: "--shard 1/2", output: true}, "shards": {args: "--shards 2", output: true}, "facts": {tested: "TestStoryPlanFacts"},
		"save-facts": {args: "--save-facts OUT", tested: "TestStoryPlanFacts"}, "json": {args: "-J", output: true},
	}
	for _, tc := range []struct {
		command, base string
		role          endpoint.Role // of the only end that is ours
		cases         map[string]flagCase
	}{
		{"rx", "", "", rxServes},
		{"rx", "--raw", endpoint.RX, rxRaw},
		{"tx", "127.0.0.1 -p 1", "", runCases},
		{"tx", "127.0.0.1 -p 1 --raw", endpoint.TX, txRaw},
		{"local", "", "", local},
		{"report", dir, "", report},
		{"report", dir + " --explain cellbaseline", "", explained},
		{"report", dir + " --format markdown", "", reported("markdown")},
		{"report", dir + " --format html", "", reported("html")},
		{"report", dir + " --format json", "", reported("json")},
		{"report", dir + " --format csv", "", reported("csv")},
		{"report", dir + " --format runs", "", reported("runs", "reference", "group-by")},
		{"report", dir + " --format benchfmt", "", reported("benchfmt", "reference")},
		{"compare", dir + " " + other, "", compare},
		{"plan", "quick --facts " + facts, "", plan},
		{"run", "quick --nix", "", map[string]flagCase{
			"only": {tested: "TestStoryExperimentParts"}, "repeats": {args: "--repeats 0",
				refused: "nix"}, "shuffle-seed": {args: "--shuffle-seed 0", refused: "nix"},
			"shard": {tested: "TestStoryExperimentParts"}, "output": {tested: "TestStoryExperiment"},
			"resume":       {tested: "TestStoryExperimentKilled"},
			"skip-missing": {tested: "TestStoryExperimentMissing"}, "json": {tested: "TestStoryExperiment"},
		}},
		{"run", "quick", "", map[string]flagCase{
			"only": {tested: "TestStoryExperimentParts"}, "repeats": {args: "--repeats 0",
				refused: "--repeats: it is a number above zero"}, "shuffle-seed": {args: "--shuffle-seed 0", refused: "--shuffle-seed: it is a " +
				"number above zero"},
			"shard": {tested: "TestStoryExperimentParts"}, "output": {tested: "TestStoryExperiment"},
			"resume":       {tested: "TestStoryExperimentKilled"},
			"skip-missing": {tested: "TestStoryExperimentMissing"}, "json": {tested: "TestStoryExperiment"},
		}},
		{"demo", "", "", map[string]flagCase{
			"output": {args: "", tested: "TestEveryFlag"}, "repeats": {args: "--repeats 0", refused: "repeats"}, "time": {args: "-t 0",
				refused: "time"}, "omit": {args: "-O x", refused: "omit"},
		}},
		{"probe", "", "", map[string]flagCase{"iface": {args: "-i nope0", refused: "nope0"}, "json": {args: "-J", output: true},
			"options": {args: "--options", output: true}, "fix": {args: "--fix", refused: "-i IFACE"}, "apply": {args: "--apply",
				refused: "give both"}, "capture": {args: "--capture OUT", refused: "--capture needs the interface"}}},
		{"tune show", "", "", map[string]flagCase{"iface": {args: "-i lo", output: true}, "json": {args: "-J", output: true}}},
		{"tune apply", "-i lo --set gro=on --dry-run", "", map[string]flagCase{
			"iface": {tested: "TestTune"}, "profile": {args: "--profile nix", refused: "nix"}, "set": {args: "--set gro=off",
				output: true}, "dry-run": {tested: "TestTune"}, "wait": {args: "--wait 1", refused: "--wait: a dry run"},
		}},
		{"tune journal", "", "", map[string]flagCase{"forget": {tested: "TestTune"}}},
		{"tune restore", "", "", map[string]flagCase{"iface": {tested: "TestTune"}, "wait": {args: "--wait 1", refused: "--wait: without -i"}}},
		{"tune verify", "-i nope0", "", map[string]flagCase{"iface": {args: "", refused: "nope0"}, "time": {args: "-t 0", refused: "--time"},
			"json": {tested: "TestStoryVerify"}}},
		{"power list", "", "", map[string]flagCase{"json": {args: "-J", output: true}}},
		{"power read", "--meter exec:true -J", "", map[string]flagCase{"meter": {tested: "TestStoryPowerRead"},
			"time": {tested: "TestStoryPowerRead"}, "json": {tested: "TestStoryPowerRead"}, "interval": {args: "-i 2",
				tested: "TestStoryPowerRead"}}},
		{"agent", "--stdio", "", map[string]flagCase{
			"stdio": {tested: "TestStoryAgentAbandoned"}, "listen": {args: "--listen :1",
				refused: "--stdio or --listen"}, "token-file": {args: "--token-file FILE", refused: "go with --listen"}, "key": {args: "--key FILE", refused: "go with --listen"},
			"meter": {args: "--meter nix:1", refused: "nix"},
		}},
	} {
		t.Run(tc.command+" "+strings.ReplaceAll(strings.ReplaceAll(tc.base, dir, "DIR"), other, "OTHER"), func(t *testing.T) {
			known := flagsOf(t, tc.command)
			for _, name := range known {
				if _, ok := tc.cases[name]; !ok {
					t.Errorf("--%s: nothing says what becomes of it", name)
				}
			}
			for name, c := range tc.cases {
				if !slices.Contains(known, name) {
					t.Errorf("--%s is no flag", name)
				}
				check(t, tc.command, tc.base, tc.role, name, c)
			}
		})
	}
}

func check(t *testing.T, command, base string, role endpoint.Role, name string, c flagCase) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	fields := func(text string) []string {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "OUT", out), "FILE", "/dev/null")
		return append(strings.Fields(command), strings.Fields(text)...)
	}
	switch {
	case c.tested != "":
		names, err := testNames()
		if err != nil {
			t.Fatal(err)
		}
		if !names[c.tested] {
			t.Errorf("--%s: there is no test %s", name, c.tested)
		}
	case c.refused != "":
		_, err := spoken(fields(base + " " + c.args)...)
		if err == nil || fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), c.refused) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %s: %v, want %q", base, c.args, err, c.refused)
		}
	case c.asked:
		with, without := asked(t, base+" "+c.args, name, true, role), asked(t, base+" "+c.args, name, false, role)
		if with == without {
			t.Errorf("%s: --%s changes nothing of what is asked: %s", base, name, with)
		}
	case c.output:
		a, _ := spoken(fields(base)...)
		b, err := spoken(fields(base + " " + c.args)...)
		if err != nil && fault.Of(err) == fault.Usage {
			t.Errorf("%s %s: %v", base, c.args, err)
		}
		if a == b {
			t.Errorf("%s: %s changes nothing: %.200s", base, c.args, a)
		}
	default:
		t.Errorf("--%s: neither obeyed nor refused", name)
	}
}

// spoken runs a command in this process.
func spoken(args ...string) (string, error) {
	var out, errs bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := dispatch(ctx, &cli{stdout: &out, stderr: &errs}, args)
	return out.String(), err
}

var flagName = regexp.MustCompile(`(?m)^ +(?:-., )?--([a-z0-9-]+)`)

// flagsOf reads the names of a command's flags from its help.
func flagsOf(t *testing.T, command string) (names []string) {
	t.Helper()
	help, err := spoken(append(strings.Fields(command), "--help")...)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range flagName.FindAllStringSubmatch(help, -1) {
		names = append(names, m[1])
	}
	return names
}

// asked is what the ends of a run are asked for, with the flag or as if it were not
// among the arguments.
func asked(t *testing.T, args, name string, given bool, role endpoint.Role) string {
	t.Helper()
	f := pflag.NewFlagSet("local", pflag.ContinueOnError)
	r := newRunFlags(f, inLocal)
	usual := f.Lookup(name).Value.String()
	if err := f.Parse(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	if !given {
		f = pflag.NewFlagSet("local", pflag.ContinueOnError)
		r = newRunFlags(f, inLocal)
		var rest []string
		flag := f.Lookup(name)
		words := strings.Fields(args)
		for i := 0; i < len(words); i++ {
			if words[i] == "--"+name || flag.Shorthand != "" && words[i] == "-"+flag.Shorthand {
				if flag.NoOptDefVal == "" {
					i++
				}
				continue
			}
			rest = append(rest, words[i])
		}
		if err := f.Parse(rest); err != nil {
			t.Fatal(err)
		}
		if v := f.Lookup(name).Value.String(); v != usual {
			t.Fatalf("--%s is %s without it, %s usually", name, v, usual)
		}
	}
	if err := r.check(); err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	roles := []endpoint.Role{endpoint.RX, endpoint.TX}
	if role != "" {
		roles = []endpoint.Role{role}
	}
	if err := known().GiveMemory(r.Run, roles...); err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	var all []any
	for _, role := range roles {
		all = append(all, r.Prepare(role))
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// testNames are those of this package's tests.
var testNames = sync.OnceValues(func() (map[string]bool, error) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
	}
	return names, nil
})

package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"zcbench/endpoint"
	"zcbench/internal/fault"
)

// What a receiver takes for a run stays below its --max-memory as seen from
// outside, and a run that would take more is refused before it takes anything.
func TestStoryMaxMemory(t *testing.T) {
	t.Parallel() // it judges no rate
	const limit = 64 << 20
	for name, tc := range map[string]struct {
		own, most, more []string
		cure            string
	}{
		"baseline":        {nil, []string{"-P", "4", "-l", "2M"}, []string{"-P", "16", "-l", "4M"}, "fewer flows or a shorter length"},
		"uring":           {nil, []string{"-P", "4", "-l", "1M"}, []string{"-P", "4", "-l", "4M"}, "--rx-opt buffers="},
		"mmap":            {[]string{"--rx-opt", "map=16M"}, []string{"-P", "2", "-l", "1M"}, []string{"-P", "8", "-l", "64K"}, "--rx-opt map="},
		"zcrx":            {[]string{"--rx-opt", "mem-size=128M"}, nil, []string{"-P", "1"}, "--rx-opt mem-size=SIZE, or the SIZE of --mem"},
		"zcrx that grows": {[]string{"--rx-opt", "mem-size=8M,grow=128M"}, nil, []string{"-P", "1"}, "--rx-opt grow=SIZE"},
		"devmem":          {[]string{"--mem", "udmabuf:64M"}, nil, []string{"-P", "1"}, "--rx-opt mem-size=SIZE, or the SIZE of --mem"},
	} {
		t.Run(name, func(t *testing.T) {
			engine, _, _ := strings.Cut(name, " ")
			rx, port, out := service(t, append([]string{"--max-memory", "64M", "--rx", engine}, tc.own...)...)
			idle := resident(t, rx.Process.Pid)
			tx := func(args ...string) (string, int) {
				_, errs, code := run(t, append([]string{"tx", "127.0.0.1", "-p", port, "-t", "0.5", "-O", "0"}, args...)...)
				return errs, code
			}
			done, most := make(chan struct{}), make(chan int)
			go func() {
				all := 0
				for {
					select {
					case <-done:
						most <- all
						return
					case <-time.After(5 * time.Millisecond):
						all = max(all, resident(t, rx.Process.Pid))
					}
				}
			}()
			errs, code := tx(tc.more...)
			if code != exitFailed || !strings.Contains(errs, "MiB of buffers are asked for") || !strings.Contains(errs, "--max-memory") ||
				!strings.Contains(errs, tc.cure) {
				t.Errorf("a run of more: exit %d: %s", code, errs)
			}
			if tc.most == nil {
				close(done)
				<-most
				return
			}
			errs, code = tx(tc.most...)
			if code == exitUnsupported {
				t.Skip(errs)
			}
			if code != 0 {
				t.Errorf("a run that fits: exit %d: %s\n%s", code, errs, out)
			}
			close(done)
			if took := <-most - idle; took > limit {
				t.Errorf("it took %d MiB", took>>20)
			} else {
				t.Logf("it took %d MiB beside the %d of a receiver that waits", took>>20, idle>>20)
			}
		})
	}
}

// resident is what a process holds and what is pinned for it, in bytes.
func resident(t *testing.T, pid int) (bytes int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		if name == "VmRSS" || name == "VmPin" {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			if err != nil {
				t.Error(err)
			}
			bytes += kib << 10
		}
	}
	return bytes
}

// Every engine knows what it takes, whatever a peer asks for.
func TestEnginesKnowTheirMemory(t *testing.T) {
	for _, e := range append(rxEngines(), txEngines()...) {
		p := endpoint.Params{Flows: 3, Length: 1 << 20, Pattern: endpoint.Pattern{Period: 2 << 20}}
		few, err := e.Memory(p)
		if err != nil {
			t.Errorf("%s: %v", e.Name(), err)
		}
		p.Flows = 1024
		many, err := e.Memory(p)
		if err != nil || many < few {
			t.Errorf("%s: %d bytes for 3 flows, %d for 1024 (%v)", e.Name(), few, many, err)
		}
		p.Length, p.Pattern.Period, p.Options = 1<<30, 1<<30, map[string]string{}
		for _, o := range e.Options() {
			if len(o.Words) == 0 && o.With == "" {
				p.Options[o.Name] = strconv.Itoa(o.Max)
			}
		}
		if all, err := e.Memory(p); err != nil || all < many || all > math.MaxInt64/4 {
			t.Errorf("%s: %d bytes for the most there can be (%v)", e.Name(), all, err)
		}
		if p.Options["nonesuch"] = "1"; len(e.Options()) > 0 {
			if _, err := e.Memory(p); fault.Of(err) != fault.Usage {
				t.Errorf("%s with a bad option: %v", e.Name(), err)
			}
		}
	}
}

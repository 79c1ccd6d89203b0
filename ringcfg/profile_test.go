package ringcfg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zcbench/internal/fault"
)

func TestProfiles(t *testing.T) {
	if len(Profiles()) < 3 {
		t.Errorf("profiles %v", Profiles())
	}
	for _, name := range Profiles() {
		p, err := LoadProfile(name)
		if err != nil || p.About == "" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	p, err := LoadProfile("netdev-0x19")
	if commented, err := parseProfile([]byte("settings:\n  mtu: 4148 # a page\n")); err != nil || commented.Settings["mtu"] != "4148" {
		t.Errorf("with a comment: %+v, %v", commented, err)
	}
	if err != nil || p.Settings["mtu"] != "4148" || p.Settings["gro"] != "on" ||
		p.Settings["sysctl.net.ipv4.tcp_rmem"] != "4096 87380 536870912" {
		t.Errorf("netdev-0x19: %+v, %v", p, err)
	}
	for _, c := range []struct{ text, err string }{
		{"settings:\n  mtu: 4148\n", ""},
		{"settings:\n  mtu: '4148'\n  gro: \"on\"\n", ""},
		{"# mine\nsettings:\n  mtu: 4148 # a page\n", ""},
		{"setings:\n  mtu: 4148\n", "unknown field"},
		{"settings:\n  mtu: 1\n  mtu: 2\n", "already defined"},
		{"settings:\n  speed: 1\n", `no setting is called "speed"`},
		{"settings:\n  mtu: [1, 2]\n", "one value"},
		{"settings:\n  mtu:\n    a: 1\n", "one value"},
		{"about: nothing\n", "no settings"},
		{"settings: " + strings.Repeat("{mtu: ", 100_000), "more than"},
		{"settings:\n  mtu: &a 1\n  tso: *a\n", "line 3: aliases are not read"},
		{"settings:\n  mtu: &a " + strings.Repeat("[", 1000), "more than 32 levels"},
		{"", "EOF"},
	} {
		path := filepath.Join(t.TempDir(), "mine.yaml")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadProfile(path)
		if (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || fault.Of(err) != fault.Usage) {
			t.Errorf("%q: %v, want %q", c.text, err, c.err)
		}
	}
	if _, err := LoadProfile("none"); err == nil || !strings.Contains(err.Error(), "bigtcp, latency-safe, netdev-0x19") {
		t.Errorf("no such profile: %v", err)
	}
	w, err := LoadProfiles([]string{"netdev-0x19"})
	if err != nil {
		t.Fatal(err)
	}
	more, err := ParseSets([]string{"mtu=9000", "gro-hw?=on", "rx-ring=64", "tcp-data-split?=off", "tcp-data-split=on"})
	if err != nil {
		t.Fatal(err)
	}
	w.Override(more)
	for name, want := range map[string]string{"link.mtu": "9000", "feature.rx-gro": "on", "ring.rx": "64", "ring.tcp-data-split": "on"} {
		if _, too := w.Optional[name]; w.Settings[name] != want || too {
			t.Errorf("%s is %q (%q if there is one), want %q", name, w.Settings[name], w.Optional[name], want)
		}
	}
	if w.Optional["feature.rx-gro-hw"] != "on" {
		t.Errorf("settings where there are some: %v", w.Optional)
	}
	path := filepath.Join(t.TempDir(), "twice.yaml")
	text := "settings: {mtu: 1440, link.mtu: 1420, gro: on}\nif-supported: {link.mtu: 1410, feature.rx-gro: off}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		w, err := LoadProfiles([]string{path})
		if err != nil || w.Settings["link.mtu"] != "1420" || w.Settings["feature.rx-gro"] != "on" || len(w.Optional) > 0 {
			t.Fatalf("settings that are there twice: %v, where there are some %v, %v", w.Settings, w.Optional, err)
		}
	}
	for _, bad := range []string{"mtu", "=4", "?=4", "mtu=big", "speed=1"} {
		if _, err := ParseSets([]string{bad}); fault.Of(err) != fault.Usage {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzProfile(f *testing.F) {
	f.Add([]byte("about: x\nsettings:\n  mtu: 4148\nif-supported:\n  tso: on\n"))
	f.Fuzz(func(t *testing.T, b []byte) { parseProfile(b) })
}

package likefile

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"zcbench/internal/answers"
	"zcbench/internal/testutil/captures"
)

func TestOf(t *testing.T) {
	for name, want := range map[string]string{
		"zcnic-like-mlx5": "like=mlx5 as_driver=mlx5_core as_ring=1024,0,0,1024,0 as_ring_max=8192,0,8192 as_split=0 as_hds=0,0 " +
			"as_features=0,7,0 as_channels=0 queues=8 ",
		"zcnic-like-gve": "like=gve as_driver=gve as_version=1.0.0 as_ring=1024,0,0,1024,2048 as_ring_max=4096,0,4096 as_split=1 as_hds=0 " +
			"as_features=1,4,0 as_channels=2 queues=8 ",
		"zcnic-like-fbnic": "like=fbnic as_driver=fbnic as_ring=1024,256,256,1024,0 as_ring_max=65536,256,65536 as_split=2 as_hds=1536,3584 " +
			"as_features=0,0,4 as_channels=1 queues=8 ",
		"zcnic": "as_driver=zcnic ",
	} {
		params, left, err := Of(captures.Load(t, name))
		if err != nil || !strings.HasPrefix(params, want) {
			t.Errorf("%s: %q, %v\nwant %q", name, params, err, want)
		}
		if len(left) != 1 || !strings.HasPrefix(left[0], "features other than") {
			t.Errorf("%s: left %q", name, left)
		}
	}
	for name, want := range map[string]string{
		"zcnic-like-mlx5": "as_coalesce=12584499,8,128,0,0,8,128,0,0,0,1,1,0,0,0,0,0,0,0,0,0,0,0,0,1 as_pause=0,1,1 " +
			"as_flags=-rx_cqe_compress,+rx_cqe_moder,-rx_no_csum_complete,+rx_striding_rq,+skb_tx_mpwqe,-tx_cqe_moder,-tx_port_ts,+xdp_tx_mpwqe " +
			"as_rss=40,256 as_rules=1024,0",
		"zcnic-like-bnxt": "as_pause=1,1,1 as_rss=40,512 as_rules=0,1",
		"zcnic-like-ice":  "as_rss=52,512 as_rules=1024,0 as_no_queue_ops=1",
	} {
		if params, _, err := Of(captures.Load(t, name)); err != nil || !strings.HasSuffix(params, want) {
			t.Errorf("%s: %q, %v\nwant %q", name, params, err, want)
		}
	}
}

// driverOf is a capture whose driver has another name and version.
func driverOf(t *testing.T, name, version string) *answers.Source {
	t.Helper()
	from := captures.Load(t, "zcnic-like-gve")
	for _, a := range from.Answers() {
		if a.Ask == "ioctl ETHTOOL_GDRVINFO" {
			d := a.Messages[0][4:] // struct ethtool_drvinfo: name and version have 32 bytes each
			clear(d[:64])
			copy(d[:31], name)
			copy(d[32:63], version)
		}
	}
	return from
}

// What a capture says ends up in one parameter each, whatever it is.
func TestOfWords(t *testing.T) {
	for _, name := range []string{"gve like=mlx5", "gve\tqueues=1", "gve\"x", "gve\u00a0queues=1", "gve,x", "gve\x1b[2J", ""} {
		params, _, err := Of(driverOf(t, name, ""))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("%q: %q, %v", name, params, err)
		}
		params, left, err := Of(driverOf(t, "gve", "1"+name+"1"))
		if name != "" && (err != nil || strings.Contains(params, "as_version") || !slices.Contains(left, fmt.Sprintf("the driver's version %q",
			"1"+name+"1"))) {
			t.Errorf("version %q: %q, left %q, %v", name, params, left, err)
		}
	}
	if params, _, err := Of(driverOf(t, "a=b-c.d", "1=2")); err != nil || !strings.HasPrefix(params,
		"as_driver=a=b-c.d as_version=1=2 as_ring=") {
		t.Errorf("%q, %v", params, err)
	}
}

// parameter is one that the kernel takes as one, whose value may have any sign but those
// that part.
var parameter = regexp.MustCompile(`^(like|queues|as_[a-z_]+)=[!#-~]+$`)

func FuzzOf(f *testing.F) {
	names := captures.Names(f)
	for i := range names {
		for answer := range uint(48) {
			f.Add(uint(i), answer, uint(0), uint(24), []byte{0xff, 0xff, 0xff, 0xff})
		}
	}
	f.Add(uint(slices.Index(names, "zcnic-like-mlx5")), uint(8), uint(0), uint(4), []byte("gve like="))
	f.Fuzz(func(t *testing.T, nic, answer, message, at uint, put []byte) {
		params, _, err := Of(captures.Spoilt(t, names[nic%uint(len(names))], answer, message, at, put))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for p := range strings.SplitSeq(params, " ") {
			name, _, _ := strings.Cut(p, "=")
			if !parameter.MatchString(p) || seen[name] {
				t.Errorf("%q in %q", p, params)
			}
			seen[name] = true
		}
	})
}

func TestParams(t *testing.T) {
	if params, left, err := Params("mlx5"); params != "like=mlx5" || left != nil || err != nil {
		t.Errorf("a personality: %q, %q, %v", params, left, err)
	}
	path := filepath.Join(t.TempDir(), "c.jsonl")
	if err := os.WriteFile(path, []byte(captures.Text(t, "zcnic-like-gve")), 0o600); err != nil {
		t.Fatal(err)
	}
	if params, _, err := Params(path); !strings.HasPrefix(params, "like=gve as_driver=gve ") || err != nil {
		t.Errorf("a capture: %q, %v", params, err)
	}
	if _, _, err := Params(path + "x"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: %v", err)
	}
}

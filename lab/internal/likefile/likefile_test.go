package likefile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zcbench/internal/testutil/captures"
)

func TestOf(t *testing.T) {
	for name, want := range map[string]string{
		"zcnic-like-mlx5":  "like=mlx5 as_driver=mlx5_core as_ring=1024,0,0,1024,0 as_ring_max=8192,0,8192 as_split=0 as_hds=0,0 as_features=0,7,0 as_channels=0 queues=8 ",
		"zcnic-like-gve":   "like=gve as_driver=gve as_version=1.0.0 as_ring=1024,0,0,1024,2048 as_ring_max=4096,0,4096 as_split=1 as_hds=0 as_features=1,4,0 as_channels=2 queues=8 ",
		"zcnic-like-fbnic": "like=fbnic as_driver=fbnic as_ring=1024,256,256,1024,0 as_ring_max=65536,256,65536 as_split=2 as_hds=1536,3584 as_features=0,0,4 as_channels=1 queues=8 ",
		"zcnic":            "as_driver=zcnic ",
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
		"zcnic-like-mlx5": "as_coalesce=12584499,8,128,0,0,8,128,0,0,0,1,1,0,0,0,0,0,0,0,0,0,0,0,0,1 as_pause=0,1,1 as_flags=-rx_cqe_compress,+rx_cqe_moder,-rx_no_csum_complete,+rx_striding_rq,+skb_tx_mpwqe,-tx_cqe_moder,-tx_port_ts,+xdp_tx_mpwqe as_rss=40,256 as_rules=1024,0",
		"zcnic-like-bnxt": "as_pause=1,1,1 as_rss=40,512 as_rules=0,1",
		"zcnic-like-ice":  "as_rss=52,512 as_rules=1024,0 as_no_queue_ops=1",
	} {
		if params, _, err := Of(captures.Load(t, name)); err != nil || !strings.HasSuffix(params, want) {
			t.Errorf("%s: %q, %v\nwant %q", name, params, err, want)
		}
	}
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

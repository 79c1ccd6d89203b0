package ethtool

import (
	"os"
	"slices"
	"testing"

	"zcbench/internal/abi"
	"zcbench/internal/netpair"
)

// TestLabOldRSS writes the RSS table and key as kernels before 6.17 need it,
// by ioctl, and reads them by netlink.
func TestLabOldRSS(t *testing.T) {
	if os.Getenv("ZCBENCH_LAB") != "1" {
		t.Skip("needs the software NIC of the lab VM")
	}
	e, err := netpair.Locate("zc1")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	err = e.Do(func() error {
		c, err := Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		before, err := c.RSS("zc1", 0)
		if err != nil {
			return err
		}
		table := slices.Repeat([]uint32{1, 0}, len(before.Indir)/2)
		key := slices.Repeat([]byte{0x5a}, len(before.Key))
		for _, want := range []RSS{{Indir: table, Key: key}, before} {
			if err := c.rssIoctl("zc1", abi.EthtoolRxfh{IndirSize: uint32(len(want.Indir)), InputXfrm: abi.RXH_XFRM_NO_CHANGE}, want.Indir,
				nil); err != nil {
				return err
			}
			if err := c.rssIoctl("zc1", abi.EthtoolRxfh{IndirSize: abi.ETH_RXFH_INDIR_NO_CHANGE, KeySize: uint32(len(want.Key)),
				InputXfrm: abi.RXH_XFRM_NO_CHANGE}, nil, want.Key); err != nil {
				return err
			}
			if got, err := c.RSS("zc1", 0); err != nil || !slices.Equal(got.Indir, want.Indir) || !slices.Equal(got.Key, want.Key) {
				t.Errorf("got %v, %v; want %v", got, err, want)
			}
		}
		// An empty table is the default again.
		if err := c.rssIoctl("zc1", abi.EthtoolRxfh{InputXfrm: abi.RXH_XFRM_NO_CHANGE}, nil, nil); err != nil {
			return err
		}
		if got, err := c.RSS("zc1", 0); err != nil || got.Indir[0] != 0 || got.Indir[1] != 1 {
			t.Errorf("reset: %v, %v", got.Indir, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

package power

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/command/dcmi"
	"github.com/bougou/go-ipmi/pkg/hal/mock"
	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/server"
	"github.com/bougou/go-ipmi/pkg/transport/udp"
	"github.com/bougou/go-ipmi/pkg/types"

	"zcbench/internal/fault"
	"zcbench/internal/testutil/tier"
)

// systemGUID is of the server with the UUID
// 00112233-4455-6677-8899-aabbccddeeff, its bytes from the last to the first.
var systemGUID = []byte{0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00}

// dcmiServer answers Get Power Reading.
type dcmiServer struct {
	mu     sync.Mutex
	watts  uint16
	active bool
	code   types.CompletionCode
}

func (d *dcmiServer) set(watts uint16, active bool, code types.CompletionCode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watts, d.active, d.code = watts, active, code
}

func (d *dcmiServer) handle(_ context.Context, _ *handlers.HandlerContext, request []byte) ([]byte, types.CompletionCode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.code != types.CodeOK || len(request) < 1 || request[0] != types.GroupExtensionDCMI {
		return nil, d.code, nil
	}
	answer := []byte{types.GroupExtensionDCMI}
	for _, w := range []uint16{d.watts, 100, 400, 250} {
		answer = binary.LittleEndian.AppendUint16(answer, w)
	}
	answer = binary.LittleEndian.AppendUint32(answer, 1763716800)
	answer = binary.LittleEndian.AppendUint32(answer, 1000)
	state := byte(0)
	if d.active {
		state = 1 << 6
	}
	return append(answer, state), types.CodeOK, nil
}

// start runs the library's controller on a port; the function ends it.
func (d *dcmiServer) start(t *testing.T, address string) (where string, stop func()) {
	t.Helper()
	b := bmc.New(bmc.DeviceInfo{DeviceID: 32, IPMIVersion: 0x20}, [16]byte{1}, mock.New())
	for i, level := range []bmc.PrivilegeLevel{bmc.PrivilegeLevelUser, bmc.PrivilegeLevelAdministrator} {
		user, err := b.Users.Add(uint8(2+i), []string{"reader", "root"}[i])
		if err != nil {
			t.Fatal(err)
		}
		user.SetPassword([]byte("hunter2"))
		user.Enabled = true
		user.ChannelAccess[1] = bmc.UserChannelAccess{MaxPrivilege: level, Enabled: true}
	}
	conn, err := udp.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	registry := handlers.NewRegistry()
	handlers.RegisterAllHandlers(registry)
	registry.RegisterFunc(types.CommandGetDCMIPowerReading, d.handle)
	registry.RegisterFunc(types.CommandGetSystemGUID, func(context.Context, *handlers.HandlerContext, []byte) ([]byte, types.CompletionCode,
		error) {
		return systemGUID, types.CodeOK, nil
	})
	s := server.NewServer(b, conn, server.WithHandlerRegistry(registry))
	var running sync.WaitGroup
	running.Go(func() { s.Serve(t.Context()) })
	var once sync.Once
	stop = func() {
		once.Do(func() {
			s.Close()
			conn.Close()
			running.Wait()
		})
	}
	t.Cleanup(stop)
	return conn.LocalAddr().String(), stop
}

func TestIPMI(t *testing.T) {
	tier.Long(t)
	t.Parallel()
	d := &dcmiServer{watts: 287, active: true}
	host, stop := d.start(t, "127.0.0.1:0")
	auth := "?auth=" + secretFile(t, "user=reader", "password=hunter2")
	m := open(t, "ipmi:"+host+auth)
	reads(t, m, 287, none)
	if i := m.Info(); i.Name != "ipmi:"+host || i.Resolution != 1 || i.Scope != Wall {
		t.Errorf("it is %+v", i)
	}
	reads(t, open(t, "ipmi:"+host+"?privilege=administrator&cipher=17&auth="+secretFile(t, "user=root", "password=hunter2")), 287, none)

	if tool, err := exec.LookPath("ipmitool"); err == nil {
		_, port, _ := net.SplitHostPort(host)
		c := exec.Command(tool, "-I", "lanplus", "-H", "127.0.0.1", "-p", port, "-U", "reader", "-E", "-L", "USER", "-N", "1", "-R", "1", "dcmi",
			"power", "reading")
		c.Env = append(os.Environ(), "IPMI_PASSWORD=hunter2")
		out, err := c.CombinedOutput()
		if err != nil || !regexp.MustCompile(`Instantaneous power reading: +287 Watts`).Match(out) {
			t.Errorf("ipmitool reads otherwise: %v\n%s", err, out)
		}
	} else {
		t.Log("without ipmitool, which would be a second opinion (on Debian: apt-get install ipmitool)")
	}

	for _, c := range []struct {
		watts  uint16
		active bool
		code   types.CompletionCode
		want   error
	}{
		{0, true, types.CodeOK, errNoValue},
		{65535, true, types.CodeOK, errNoValue},
		{287, false, types.CodeOK, errNoValue},
		{287, true, types.CodeNodeBusy, errNoValue},
		{287, true, types.CodeInvalidCommand, noMeter("")},
		{287, true, types.CodeInsufficientPrivilege, noMeter("")},
	} {
		d.set(c.watts, c.active, c.code)
		if _, err := m.Read(t.Context()); !isLike(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	d.set(290, true, types.CodeOK)
	reads(t, m, 290, none)

	// The controller restarts, and knows the session no more.
	stop()
	d.start(t, host)
	reads(t, m, 290, none)

	for says, address := range map[string]string{
		"right?":           "?auth=" + secretFile(t, "user=reader", "password=hunter3"),
		"takes a user":     "?auth=" + secretFile(t, ""),
		"at most":          "?auth=" + secretFile(t, "user=reader", "password=hunter2hunter2hunter2"),
		"option privilege": "?privilege=god&auth=" + secretFile(t, "user=reader", "password=hunter2"),
		"number from 0 to": "?cipher=99&auth=" + secretFile(t, "user=reader", "password=hunter2"),
	} {
		if _, err := Open(t.Context(), "ipmi:"+host+address); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(),
			"hunter") {
			t.Errorf("%s: %v", says, err)
		}
	}
}

// OpenIPMI's simulator is a controller of other people's that does no DCMI: a
// session with it works, and it says so.
func TestIPMISim(t *testing.T) {
	t.Parallel()
	sim := program(t, "ipmi_sim", "openipmi")
	dir := t.TempDir()
	port := freePort(t, "udp")
	conf := filepath.Join(dir, "lan.conf")
	if err := os.WriteFile(conf, []byte(`name "zcbench"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 `+port+`
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  user 1 true  ""        "test" user     10 none md2 md5 straight
  user 2 true  "reader"  "hunter2" admin 10 none md2 md5 straight
`), 0o600); err != nil {
		t.Fatal(err)
	}
	emu := filepath.Join(dir, "emu")
	if err := os.WriteFile(emu, []byte("mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nsel_enable "+
		"0x20 1000 0x0a\nmc_enable 0x20\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	background(t, nil, sim, "-c", conf, "-f", emu, "-s", dir, "-n")
	auth := secretFile(t, "user=reader", "password=hunter2")
	eventually(t, func() error {
		_, err := Open(t.Context(), "ipmi:127.0.0.1:"+port+"?privilege=administrator&cipher=3&auth="+auth)
		if err == nil || fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), "0xc1") {
			return errors.New("it should say that it does no DCMI: " + errorText(err))
		}
		return nil
	})
}

func errorText(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

func TestIPMIDevice(t *testing.T) {
	dir := t.TempDir()
	if _, err := findIPMIDevices(dir); err == nil || !strings.Contains(err.Error(), "modprobe") {
		t.Errorf("none: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ipmi1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := findIPMIDevices(dir); err != nil || len(found) != 1 || found[0].Meter != "ipmidev:1" {
		t.Errorf("one: %v, %v", found, err)
	}
	if _, err := Open(t.Context(), "ipmidev:250"); fault.Of(err) != fault.Unsupported {
		t.Errorf("a device that is not there: %v", err)
	}
	for _, address := range []string{"x", "-1", "999"} {
		if _, err := Open(t.Context(), "ipmidev:"+address); fault.Of(err) != fault.Usage {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func FuzzDCMI(f *testing.F) {
	f.Add([]byte{0xdc, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64})
	f.Fuzz(func(t *testing.T, answer []byte) {
		var r dcmi.GetDCMIPowerReadingResponse
		if r.Unpack(answer) != nil {
			return
		}
		w, err := dcmiWatts(&r)
		sane(t, Reading{Watts: w}, err)
	})
}

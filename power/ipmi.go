package power

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/command/dcmi"
	"github.com/bougou/go-ipmi/pkg/types"
)

// Management controllers tell a server's input power by the DCMI command Get
// Power Reading (DCMI 1.5, 6.6.1), over the network or to the host itself.

func ipmiKind() kind {
	return kind{
		name:    "ipmi",
		address: "HOST[:PORT][?privilege=user|operator|administrator][&cipher=N]",
		about:   "a server's management controller over IPMI 2.0 (DCMI power reading); cipher is the suite, as ipmitool -C has it",
		open:    openIPMI,
	}
}

func ipmidevKind() kind {
	return kind{
		name:    "ipmidev",
		address: "[N]",
		about:   "this server's own management controller, /dev/ipmiN (DCMI power reading)",
		local:   true,
		open:    openIPMIDevice,
		find:    func() ([]Found, error) { return findIPMIDevices("/dev") },
	}
}

// ipmi is a controller that can be asked.
type ipmi struct {
	about   Info
	where   string
	connect func(context.Context) (*client.Client, error)
	client  *client.Client // nil: to be connected
}

// ipmiPatience bounds the making of a session: some ten packets, each of which
// a slow controller may take a second for.
const ipmiPatience = 4 * patience

func openIPMI(ctx context.Context, address string) (Meter, error) {
	t, err := parseTarget("ipmi", address, "623", "privilege", "cipher")
	if err != nil {
		return nil, err
	}
	port, _ := strconv.Atoi(t.port) // parseTarget has seen it
	// What the password of an RMCP+ session can be at most (IPMI 2.0, 13.28).
	user, password := t.secrets["user"], t.secrets["password"]
	if len(user) > 16 || len(password) > 20 {
		return nil, noMeter("IPMI's users have at most 16 characters and its passwords 20")
	}
	if user == "" {
		return nil, noMeter("IPMI takes a user and a password: %s", secretCure)
	}
	// DCMI lets any user read power, and those that may do more ask for no more here.
	level, ok := map[string]types.PrivilegeLevel{"": types.PrivilegeLevelUser, "user": types.PrivilegeLevelUser,
		"operator": types.PrivilegeLevelOperator, "administrator": types.PrivilegeLevelAdministrator}[t.options["privilege"]]
	if !ok {
		return nil, noMeter("option privilege is user, operator or administrator")
	}
	cipher, err := t.number("cipher", 0, 19, uint64(types.CipherSuiteIDReserved))
	if err != nil {
		return nil, err
	}
	if t.path != "" {
		return nil, noMeter("what follows the host's slash means nothing to IPMI")
	}
	m := &ipmi{where: t.address()}
	places := t.places(ctx, "623")
	m.connect = func(ctx context.Context) (*client.Client, error) {
		c, err := client.NewClient(t.host, port, user, password)
		if err != nil {
			return nil, err
		}
		c.WithMaxPrivilegeLevel(level).WithRetry(2) // a second each
		if cipher != uint64(types.CipherSuiteIDReserved) {
			c.WithCipherSuiteID(types.CipherSuiteID(cipher))
		}
		ctx, cancel := context.WithTimeout(ctx, ipmiPatience)
		defer cancel()
		if err := c.Connect(ctx); err != nil {
			hangUp(c)
			var network net.Error
			if errors.As(err, &network) {
				return nil, noAnswer("%w", err)
			}
			// A line for each cipher suite that was tried, with one cause.
			return nil, fmt.Errorf("%s opens no session: are user, password, privilege and cipher right? %s", m.where,
				strings.Join(strings.Fields(err.Error()), " "))
		}
		return c, nil
	}
	return m.start(ctx, t, places)
}

func openIPMIDevice(ctx context.Context, address string) (Meter, error) {
	n, err := strconv.ParseUint("0"+address, 10, 8)
	if err != nil {
		return nil, noMeter("the device's number is 0, 1, …")
	}
	device := fmt.Sprintf("/dev/ipmi%d", n)
	m := &ipmi{where: device}
	m.connect = func(ctx context.Context) (*client.Client, error) {
		if err := openable(device); err != nil {
			return nil, err
		}
		c, err := client.NewOpenClient()
		if err != nil {
			return nil, err
		}
		c.WithTimeout(patience)
		return c, c.ConnectOpen(ctx, int32(n))
	}
	return m.start(ctx, &target{name: fmt.Sprintf("ipmidev:%d", n)}, []string{thisHost()})
}

func (m *ipmi) start(ctx context.Context, t *target, places []string) (Meter, error) {
	var err error
	if m.about, err = t.info(Info{Resolution: 1, Of: places, Whole: true, Source: "DCMI's power reading"}); err != nil {
		return nil, err
	}
	if _, err := m.Read(ctx); err != nil && !errors.Is(err, errNoValue) {
		m.Close()
		return nil, err
	}
	// Not every controller knows its server's UUID.
	if m.client != nil {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if g, err := m.client.GetSystemGUID(ctx); err == nil {
			m.about.Of = append(serverUUID(hex.EncodeToString(g.GUID[:])), m.about.Of...)
		}
	}
	return m, nil
}

const ipmiCure = "modprobe ipmi_si ipmi_devintf, on a server with a management controller"

// openable says why a device of the kernel's IPMI driver cannot be used.
func openable(device string) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrNotExist):
		return lacking("there is no %s: %s", device, ipmiCure)
	case errors.Is(err, fs.ErrPermission):
		return lacking("%w: run as root, or give your user the device", err)
	}
	return err
}

func findIPMIDevices(dev string) ([]Found, error) {
	devices, err := filepath.Glob(filepath.Join(dev, "ipmi[0-9]*"))
	if err != nil {
		return nil, err
	}
	var found []Found
	for _, d := range devices {
		n := strings.TrimPrefix(filepath.Base(d), "ipmi")
		if err := openable(d); err != nil {
			return found, err
		}
		found = append(found, Found{"ipmidev:" + n, Wall, "the management controller, if it does DCMI"})
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no %s: %s", filepath.Join(dev, "ipmi0"), ipmiCure)
	}
	return found, nil
}

func (m *ipmi) Info() Info { return m.about }

func (m *ipmi) Read(ctx context.Context) (Reading, error) {
	fresh := m.client == nil
	r, err := m.read(ctx)
	if err != nil && m.client == nil && !fresh && ctx.Err() == nil {
		r, err = m.read(ctx) // the session had run out
	}
	return r, err
}

func (m *ipmi) read(ctx context.Context) (r Reading, err error) {
	if m.client == nil {
		if m.client, err = m.connect(ctx); err != nil {
			m.client = nil
			return r, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	start := time.Now()
	answer, err := m.client.GetDCMIPowerReading(ctx)
	r.At = midway(start)
	if refused, ok := types.IsResponseError(err); ok {
		switch code := refused.CompletionCode(); code {
		case types.CodeInvalidCommand, types.CodeInvalidCommandForLUN:
			return r, noMeter("%s does not measure power by DCMI (code %#02x): redfish may do", m.where, uint8(code))
		case types.CodeInsufficientPrivilege:
			return r, noMeter("%s lets only users of more privilege read power: give privilege=operator", m.where)
		default:
			return r, fmt.Errorf("%s: %w: %w", m.where, errNoValue, err)
		}
	}
	if err != nil {
		m.Close()
		return r, noAnswer("%s: %w", m.where, err)
	}
	if r.Watts, err = dcmiWatts(answer); err != nil {
		return r, fmt.Errorf("%s: %w", m.where, err)
	}
	return r, nil
}

// dcmiWatts is the present power of a reading. Controllers that cannot see the
// supplies say 0 or the largest number.
func dcmiWatts(r *dcmi.GetDCMIPowerReadingResponse) (*float64, error) {
	switch {
	case !r.PowerMeasurementActive:
		return nil, noValue("its power measurement is not active")
	case r.CurrentPower == 0, r.CurrentPower == 1<<16-1:
		return nil, noValue("it says %d W", r.CurrentPower)
	}
	return consumed(float64(r.CurrentPower))
}

func (m *ipmi) Close() error {
	if m.client == nil {
		return nil
	}
	c := m.client
	m.client = nil
	return hangUp(c)
}

// hangUp ends the session. A controller that has gone does not hold us up.
func hangUp(c *client.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience/3)
	defer cancel()
	return c.WithRetry(0).Close(ctx)
}

package power

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"zcbench/internal/fault"
	"zcbench/internal/testutil/tier"
)

// broker is mosquitto with the user reader; it publishes what the test says.
type broker struct {
	host, tls string // with their ports
	ca, pin   string
	start     func() (stop func())
	publisher mqtt.Client
}

func mosquitto(t *testing.T) *broker {
	t.Helper()
	path := program(t, "mosquitto", "mosquitto")
	dir := t.TempDir()
	b := &broker{host: "127.0.0.1:" + freePort(t, "tcp"), tls: "127.0.0.1:" + freePort(t, "tcp")}
	// A key and its certificate, as net/http/httptest makes them.
	s := httptest.NewTLSServer(nil)
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	b.ca, b.pin = certificateOf(t, s)
	s.Close()
	passwords := filepath.Join(dir, "passwords")
	for name, text := range map[string]string{"passwords": "reader:hunter2\n",
		"key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("mosquitto_passwd", "-U", passwords).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v: %s", err, out)
	}
	port := func(host string) string { _, p, _ := net.SplitHostPort(host); return p }
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, []byte(strings.Join([]string{
		"user root", "allow_anonymous false", "password_file " + passwords, "persistence false",
		"listener " + port(b.host) + " 127.0.0.1",
		"listener " + port(b.tls) + " 127.0.0.1", "certfile " + b.ca, "keyfile " + filepath.Join(dir, "key"),
	}, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start = func() func() {
		stop := background(t, nil, path, "-c", conf)
		eventually(t, func() error {
			c, err := net.Dial("tcp", b.tls)
			if err == nil {
				c.Close()
			}
			return err
		})
		return stop
	}
	return b
}

// publish sends a message by a client of its own.
func (b *broker) publish(t *testing.T, topic, payload string, retained bool) {
	t.Helper()
	if b.publisher == nil {
		b.publisher = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" +
			b.host).SetUsername("reader").SetPassword("hunter2").SetMaxReconnectInterval(100 * time.Millisecond))
		if token := b.publisher.Connect(); token.Wait() && token.Error() != nil {
			t.Fatal(token.Error())
		}
		t.Cleanup(func() { b.publisher.Disconnect(10) })
	}
	if token := b.publisher.Publish(topic, 1, retained, payload); token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
}

func TestMQTT(t *testing.T) {
	tier.Long(t)
	b := mosquitto(t)
	stop := b.start()
	t.Setenv("ZCBENCH_METER_USER", "reader")
	t.Setenv("ZCBENCH_METER_PASSWORD", "hunter2")
	const kWh = 3.6e6
	for _, c := range []struct {
		topic, options, payload string
		watts, joules           float64
	}{
		{"tele/plug/SENSOR", "", `{"Time":"2026-11-21T09:30:00","ENERGY":{"Total":3.185,"Power":103.5}}`, 103.5, 3.185 * kWh},
		{"tele/plug/SENSOR", "?power=ENERGY.Power", `{"ENERGY":{"Total":3.185,"Power":103}}`, 103, none},
		{"tele/plug/SENSOR", "?power=ENERGY.Power&energy=ENERGY.Total&energy-unit=kWh", `{"ENERGY":{"Total":3.185,"Power":103}}`, 103,
			3.185 * kWh},
		{"shelly/status/switch:0", "", `{"id":0,"apower":8.9,"aenergy":{"total":6.5}}`, 8.9, 6.5 * 3600},
		{"shelly/status/switch:0", "?energy=aenergy.total&energy-unit=Wh", `{"id":0,"apower":8.9,"aenergy":{"total":6.5}}`, none, 6.5 * 3600},
		{"zigbee2mqtt/rack%201", "", `{"energy":1.25,"linkquality":120,"power":42,"state":"ON"}`, 42, 1.25 * kWh},
		{"shellies/plug/relay/0/power", "", "17.25", 17.25, none},
		{"shellies/plug/relay/0/energy", "?energy=.&energy-unit=Wmin", "120", none, 7200},
		{"meter", "?power=phases.1.p&power-unit=kW", `{"phases":[{"p":9},{"p":"0.5"}]}`, 500, none},
	} {
		m := open(t, "mqtt:"+b.host+"/"+c.topic+c.options)
		topic := strings.ReplaceAll(c.topic, "%20", " ")
		b.publish(t, topic, `{"state":"OFF"}`, false) // of no use, and no error
		b.publish(t, topic, c.payload, false)
		reads(t, m, c.watts, c.joules)
	}

	m := open(t, "mqtt:"+b.host+"/z")
	for _, payload := range []string{`{"power":null}`, `{"power":"NaN"}`, `{"power":-1}`, "-5"} {
		b.publish(t, "z", payload, false)
		if _, err := m.Read(t.Context()); !errors.Is(err, errNoValue) {
			t.Errorf("%s: %v", payload, err)
		}
	}
	// What the broker kept from before is of no known time.
	b.publish(t, "kept", `{"power":5}`, true)
	m = open(t, "mqtt:"+b.host+"/kept")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if r, err := m.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a kept message: %+v, %v", r, err)
	}
	b.publish(t, "kept", `{"power":6}`, true)
	reads(t, m, 6, none)
	if i := m.Info(); !i.Pushed || i.Name != "mqtt:"+b.host+"/kept" {
		t.Errorf("it is %+v", i)
	}

	reads2 := func(m Meter) {
		t.Helper()
		b.publish(t, "tls", "7", false)
		reads(t, m, 7, none)
	}
	reads2(open(t, "mqtt:"+b.tls+"/tls?tls=true&ca="+b.ca))
	reads2(open(t, "mqtt:"+b.tls+"/tls?tls=true&pin="+b.pin))
	for address, want := range map[string]error{
		b.tls + "/t?tls=true":         noAnswer(""), // nobody signed its certificate
		b.host + "/t?insecure=true":   noMeter(""),
		b.host:                        noMeter(""),
		b.host + "/tele/%2B/SENSOR":   noMeter(""),
		b.host + "/t?energy-unit=kWh": noMeter(""),
		"127.0.0.1:1/t":               noAnswer(""),
		b.host + "/t?auth=" + secretFile(t, "user=reader", "password=hunter3"): errDenied,
	} {
		if _, err := Open(t.Context(), "mqtt:"+address); !isLike(err, want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v, want %v", address, err, want)
		}
	}

	// The broker restarts: an error, and then figures again.
	stop()
	if _, err := m.Read(t.Context()); fault.Of(err) != fault.Unreachable {
		t.Errorf("without a broker: %v", err)
	}
	b.start()
	for end := time.Now().Add(20 * time.Second); ; {
		b.publish(t, "kept", `{"power":8}`, false)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		r, err := m.Read(ctx)
		cancel()
		if err == nil {
			check(t, r, 8, none)
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it does not come back: %v", err)
		}
	}
}

func FuzzMQTT(f *testing.F) {
	f.Add([]byte(`{"ENERGY":{"Power":1,"Total":2}}`), "ENERGY.Power", "ENERGY.Total")
	f.Add([]byte(`[1,{"a":null}]`), "1.a", "0")
	f.Add([]byte("5"), ".", "")
	f.Fuzz(func(t *testing.T, payload []byte, power, energy string) {
		m := &published{shapes: append([]shape{{power, energy, 1, 1}}, shapes()...)}
		if power == "" && energy == "" {
			m.shapes = shapes()
		}
		r, err := m.read(payload)
		if err != nil && !errors.Is(err, errNoValue) && !errors.Is(err, errNotThere) {
			t.Error(err)
		}
		sane(t, r, err)
	})
}

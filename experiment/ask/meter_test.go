package ask

import (
	"testing"

	"zcbench/endpoint"
	"zcbench/power"
)

func TestParseMeter(t *testing.T) {
	for text, want := range map[string]Meter{
		"rapl:":                              {Spec: "rapl:"},
		"rx=rapl:psys":                       {End: endpoint.RX, Spec: "rapl:psys"},
		"tx=rapl:@pdu-host":                  {End: endpoint.TX, Spec: "rapl:", Host: "pdu-host"},
		"rx=hwmon+2s:amdgpu@root@10.0.0.1":   {End: endpoint.RX, Spec: "hwmon+2s:amdgpu@root", Host: "10.0.0.1"},
		"exec:read-meter user@pdu --all":     {Spec: "exec:read-meter user@pdu --all"},
		"exec:read-meter user@pdu@":          {Spec: "exec:read-meter user@pdu"},
		"replay:/var/log/me@home/meter.csv":  {Spec: "replay:/var/log/me@home/meter.csv"},
		"rx=exec:while echo 5; do :; done@b": {End: endpoint.RX, Spec: "exec:while echo 5; do :; done", Host: "b"},
	} {
		got, err := ParseMeter(text)
		got.Kind = power.Kind{}
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

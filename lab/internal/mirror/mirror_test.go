package mirror

import (
	"reflect"
	"testing"
)

func TestParseTargets(t *testing.T) {
	out := `main http://one.example/debian/
main http://one.example/debian/
non-free http://one.example/debian/
main http://two.example/debian-security/
contrib http://three.example/

garbage
`
	want := []string{"http://one.example/debian/", "http://two.example/debian-security/"}
	if got := parseTargets(out); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseURIs(t *testing.T) {
	out := `Reading package lists...
'http://one.example/pool/main/g/gcc-14/gcc-14_14.2.0-19_amd64.deb' gcc-14_14.2.0-19_amd64.deb 540000 SHA256:abc
'http://one.example/pool/main/b/b.deb' b_1%3a2_all.deb 100
'torn
E: something else
`
	names, size := parseURIs(out)
	if want := []string{"gcc-14_14.2.0-19_amd64.deb", "b_1%3a2_all.deb"}; !reflect.DeepEqual(names, want) || size != 540100 {
		t.Errorf("got %v of %d bytes, want %v of 540100", names, size, want)
	}
}

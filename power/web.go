package power

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"zcbench/internal/bounded"
)

// web asks a meter that answers in JSON over HTTP.
type web struct {
	client *http.Client
	base   string              // scheme and host
	sign   func(*http.Request) // adds credentials; nil: none
	offer  func(*http.Request) // what sign becomes when the meter asks for credentials
}

// webLimit is the largest answer taken; a chassis of many supplies has some tens of KiB.
const webLimit = 4 << 20

var (
	errNotThere = errors.New("not there")
	errDenied   = errors.New("it wants credentials that it knows: " + secretCure)
)

// newWeb makes a client that keeps its connection, follows no redirect to
// another host, where its credentials would go too, and uses no proxy: meters
// are near.
func newWeb(t *target, scheme string, verify *tls.Config) *web {
	w := &web{base: scheme + "://" + t.address()}
	w.client = &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{TLSClientConfig: verify, MaxIdleConnsPerHost: 1},
		CheckRedirect: func(next *http.Request, so []*http.Request) error {
			if next.URL.Host != so[0].URL.Host || next.URL.Scheme != so[0].URL.Scheme || len(so) > 3 {
				return errors.New("it redirects to another place")
			}
			return nil
		},
	}
	return w
}

// do sends a request and reads the JSON of the answer into it.
func (w *web) do(ctx context.Context, method, path string, body io.Reader, into any) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, w.base+path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if w.sign != nil {
		w.sign(r)
	}
	answer, err := w.client.Do(r)
	if err != nil {
		return nil, noAnswer("%w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, webLimit))
	switch {
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		return answer, fmt.Errorf("%s%s: %w", w.base, path, errDenied)
	case answer.StatusCode == http.StatusNotFound:
		return answer, fmt.Errorf("%s%s: %w", w.base, path, errNotThere)
	case answer.StatusCode >= 300:
		return answer, fmt.Errorf("%s%s: the meter answers %s", w.base, path, answer.Status)
	case err != nil:
		return answer, fmt.Errorf("%s%s: %w", w.base, path, err)
	case into == nil:
		return answer, nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return answer, fmt.Errorf("%s%s: %w", w.base, path, err)
	}
	return answer, nil
}

// get asks without credentials first where they are only offered: the same ones
// may be for another meter, and this one may not even have a password.
func (w *web) get(ctx context.Context, path string, into any) error {
	_, err := w.do(ctx, http.MethodGet, path, nil, into)
	if errors.Is(err, errDenied) && w.asked() {
		_, err = w.do(ctx, http.MethodGet, path, nil, into)
	}
	return err
}

// asked takes up the offer; false: there is none left.
func (w *web) asked() bool {
	if w.offer == nil {
		return false
	}
	w.sign, w.offer = w.offer, nil
	return true
}

func (w *web) close() error {
	w.client.CloseIdleConnections()
	return nil
}

// tlsOptions are those of verification.
var tlsOptions = []string{"ca", "pin", "insecure"}

// verification says whom to believe: an authority that this host knows, that of
// ca=FILE, the one certificate with the SHA-256 of pin=HEX, or, asked for in so
// many words, anybody.
func (t *target) verification() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.host, MinVersion: tls.VersionTLS12}
	insecure, err := t.flag("insecure")
	if err != nil {
		return nil, err
	}
	ca, pin := t.options["ca"], t.options["pin"]
	if ca != "" && pin != "" || insecure && ca+pin != "" {
		return nil, noMeter("only one of ca, pin and insecure")
	}
	switch {
	case insecure:
		c.InsecureSkipVerify = true
	case ca != "":
		pem, err := bounded.ReadFile(ca, bounded.Small)
		if err != nil {
			return nil, noMeter("option ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, noMeter("option ca: %s has no certificate in PEM", ca)
		}
	case pin != "":
		want, err := hex.DecodeString(strings.ReplaceAll(pin, ":", ""))
		if err != nil || len(want) != sha256.Size {
			return nil, noMeter("option pin is the SHA-256 fingerprint of the certificate, 64 hexadecimal digits")
		}
		c.InsecureSkipVerify = true // for the one certificate below
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if got := sha256.Sum256(s.PeerCertificates[0].Raw); [sha256.Size]byte(want) != got {
				return fmt.Errorf("its certificate is not the pinned one but has the SHA-256 %x", got)
			}
			return nil
		}
	}
	return c, nil
}

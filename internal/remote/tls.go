package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"zcbench/internal/bounded"
)

// pinPrefix says what the rest of a pin is: a hash of the agent's public key,
// as in RFC 7469.
const pinPrefix = "sha256:"

// Listen makes a listener speak TLS with the key in a file, which it makes if
// it is not there, and gives the pin that tells the key to a controller.
func Listen(l net.Listener, keyFile string) (_ net.Listener, pin string, err error) {
	key, err := loadKey(keyFile)
	if err != nil {
		return nil, "", err
	}
	// The certificate is a wrapping that TLS wants: its key is what counts.
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "zcbench agent"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return nil, "", fmt.Errorf("make a certificate: %w", err)
	}
	parsed, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, "", fmt.Errorf("make a certificate: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}
	return tls.NewListener(l, config), pinOf(parsed), nil
}

func pinOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return pinPrefix + hex.EncodeToString(sum[:])
}

const pemType = "PRIVATE KEY"

func loadKey(path string) (ed25519.PrivateKey, error) {
	b, err := bounded.ReadSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the agent's key: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != pemType {
		return nil, fmt.Errorf("%s holds no private key", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the agent's key in %s: %w", path, err)
	}
	k, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key in %s is not of the kind ed25519; remove it, and the agent makes one", path)
	}
	return k, nil
}

func makeKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the agent's key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the agent's key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("keep the agent's key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep the agent's key: %w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: pemType, Bytes: der})
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("keep the agent's key: %w", err)
	}
	return key, nil
}

// CheckPin tells a pin from what can be none.
func CheckPin(pin string) error {
	h, ok := strings.CutPrefix(pin, pinPrefix)
	b, err := hex.DecodeString(h)
	if !ok || err != nil || len(b) != sha256.Size {
		return fmt.Errorf("%q is not a pin; zcbench agent --listen prints its own: %sFOLLOWED BY 64 HEX DIGITS", pin, pinPrefix)
	}
	return nil
}

// ErrPin is an agent that has not the key it should have.
var ErrPin = errors.New("the agent there has another key than the pinned one")

// Dial connects to an agent that listens. It speaks to none but the one whose
// key is pinned.
func Dial(ctx context.Context, address, pin string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // names and authorities: VerifyConnection does better
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || pinOf(s.PeerCertificates[0]) != pin {
				return ErrPin
			}
			return nil
		},
	}}
	return d.DialContext(ctx, "tcp", address)
}

// Package identity is who a device is to its fleet: a key made on the device,
// which never leaves it, and a short-lived certificate that the fleet gave it
// for a one-time token and renews.
//
// No decision about the fleet's server rests on the device's clock, which may
// stand in 1970 or 2036: see checkServer.
package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// Errors that callers tell apart. They come wrapped.
var (
	ErrNotEnrolled = errors.New("this device isn't enrolled in a fleet")
	ErrEnrolled    = errors.New("this device is enrolled already")
	ErrWrongFleet  = errors.New("this isn't the fleet that made the token")
	ErrRefused     = errors.New("the fleet refused") // for good: asking again as before won't help
	ErrBusy        = errors.New("another process is at it")
)

// FolderName is where the identity is kept in the device's data directory.
const FolderName = "identity"

// Files of an identity.
const (
	deviceFile = "device.pem" // key and certificate in one, so that one rename changes both; 0600
	caFile     = "ca.pem"
	aboutFile  = "fleet.json"
	rootFile   = "root.json" // of trust for updates, as it was told with the first certificate; absent if there was none
)

// about is fleet.json.
type about struct {
	Fleet  string    `json:"fleet"` // https://host[:port]
	Device string    `json:"device"`
	Group  string    `json:"group"`
	MQTT   string    `json:"mqtt"`   // as the fleet said it, its host may be empty
	Issued time.Time `json:"issued"` // of the certificate, by the fleet's clock
}

// Identity is the device's. It is safe for concurrent use.
type Identity struct {
	folder folder
	ca     *x509.Certificate
	root   []byte

	renewing sync.Mutex // one renewal at a time

	mu     sync.Mutex // protects what follows
	about  about
	cert   tls.Certificate // Leaf is set
	ahead  time.Duration   // the fleet's clock less this device's, as the newest renewal told
	spread float64         // 0 to 1, moves this certificate's renewal
	stats  Stats
}

// Open reads the identity from the device's data directory. Without one the
// error wraps ErrNotEnrolled.
func Open(dir string) (*Identity, error) {
	path := filepath.Join(dir, FolderName)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open the identity in %s: %w: enrol it with a token that the fleet made", path, ErrNotEnrolled)
	}
	id, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open the identity in %s: %w", path, err)
	}
	return id, nil
}

func open(path string) (*Identity, error) {
	damaged := func(err error) (*Identity, error) {
		return nil, fmt.Errorf("%w: it can't be used; to enrol anew, remove the folder %s", err, path)
	}
	id := &Identity{folder: folder{path: path}, spread: spread()}
	text, err := id.folder.readSecret(deviceFile)
	if errors.Is(err, os.ErrNotExist) {
		return damaged(err)
	} else if err != nil {
		return nil, err
	}
	if id.cert, err = parsePair(text); err != nil {
		return damaged(fmt.Errorf("read %s: %w", deviceFile, err))
	}
	if text, err = os.ReadFile(filepath.Join(path, caFile)); err != nil {
		return damaged(err)
	}
	if id.ca, err = parseCertificate(text); err != nil {
		return damaged(fmt.Errorf("read %s: %w", caFile, err))
	}
	if text, err = os.ReadFile(filepath.Join(path, aboutFile)); err != nil {
		return damaged(err)
	}
	if err := json.Unmarshal(text, &id.about); err != nil {
		return damaged(fmt.Errorf("read %s: %w", aboutFile, err))
	}
	if _, err := fleetURL(id.about.Fleet); err != nil {
		return damaged(fmt.Errorf("read %s: %w", aboutFile, err))
	}
	if err := errors.Join(checkBroker(id.about.MQTT), checkOwn(id.ca, id.cert.Leaf, id.about.Device)); err != nil {
		return damaged(err)
	}
	if id.root, err = os.ReadFile(filepath.Join(path, rootFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return id, nil
}

// Root is the root of trust for updates that the fleet told when the device
// enrolled; nil if it had none then. It is what a device pins first, and never
// changes.
func (i *Identity) Root() []byte { return i.root }

// Device is the device's id in its fleet.
func (i *Identity) Device() string { return i.read().Device }

// Group is the fleet group that the device is in.
func (i *Identity) Group() string { return i.read().Group }

// Fleet is the fleet's address, https://host[:port].
func (i *Identity) Fleet() string { return i.read().Fleet }

// MQTT is the host and port of the fleet's broker.
func (i *Identity) MQTT() string {
	a := i.read()
	host, port, err := net.SplitHostPort(a.MQTT)
	if err == nil && host == "" {
		if fleet, err := url.Parse(a.Fleet); err == nil {
			return net.JoinHostPort(fleet.Hostname(), port)
		}
	}
	return a.MQTT
}

func (i *Identity) read() about {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.about
}

// NotAfter is the end of the certificate, by the fleet's clock.
func (i *Identity) NotAfter() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cert.Leaf.NotAfter
}

// Expired reports whether the certificate has ended, by the best clock that
// the device has. It can be wrong where the device's clock is and nothing was
// heard of the fleet since the start.
func (i *Identity) Expired() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.nowLocked().After(i.cert.Leaf.NotAfter)
}

// nowLocked is the fleet's time, as far as it is known.
func (i *Identity) nowLocked() time.Time { return time.Now().Add(i.ahead) }

// TLS is how the device connects to the fleet's broker: TLS 1.3, the newest
// certificate at each handshake, the server checked against the fleet's CA and
// the broker's host, and not by this device's clock.
func (i *Identity) TLS() *tls.Config {
	broker := func() string {
		host, _, err := net.SplitHostPort(i.MQTT())
		if err != nil {
			return "" // no server goes by this name
		}
		return host
	}
	return i.client(broker)
}

// client is a client's TLS towards the host that is given at each handshake.
func (i *Identity) client(host func() string) *tls.Config {
	conf := pinned(host(), func(certs []*x509.Certificate) error { return checkServer(i.ca, certs, host()) })
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		i.mu.Lock()
		defer i.mu.Unlock()
		cert := i.cert
		return &cert, nil
	}
	return conf
}

// fleetURL checks the fleet's address and gives it without what doesn't count.
func fleetURL(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("the fleet's address: %w", err)
	}
	if u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("the fleet's address %q isn't https://host or https://host:port", u.Redacted())
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}, nil
}

func checkBroker(mqtt string) error {
	_, port, err := net.SplitHostPort(mqtt)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 {
		return fmt.Errorf("the broker's address %q isn't host:port", mqtt)
	}
	return nil
}

// parsePair reads a key and its certificate.
func parsePair(text []byte) (tls.Certificate, error) {
	key, rest, err := parseKey(text)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := parseCertificate(rest)
	if err != nil {
		return tls.Certificate{}, err
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return tls.Certificate{}, errors.New("key and certificate don't belong together")
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func parseKey(text []byte) (*ecdsa.PrivateKey, []byte, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != keyBlock {
		return nil, nil, errors.New("it doesn't begin with a key (PEM)")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, errors.New("its key is no ECDSA key")
	}
	return key, rest, nil
}

func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != certBlock || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("it isn't one certificate (PEM)")
	}
	return x509.ParseCertificate(block.Bytes)
}

const (
	keyBlock  = "PRIVATE KEY" // PKCS #8
	certBlock = "CERTIFICATE"
)

func encodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

func encodeCertificate(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: cert.Raw})
}

// checkOwn checks the device's own certificate: signed by the fleet's CA, for
// clients, and this device's. Whether it has ended is the fleet's to judge.
func checkOwn(ca, leaf *x509.Certificate, device string) error {
	if !wire.ValidDevice(device) {
		return fmt.Errorf("%q can't be a device's id", device)
	}
	if leaf.Subject.CommonName != device {
		return fmt.Errorf("the certificate is for %q, and this device is %q", leaf.Subject.CommonName, device)
	}
	return check(ca, leaf, x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

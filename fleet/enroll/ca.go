// Package enroll gives devices their identities: the fleet's own certificate
// authority, one-time enrolment tokens, and certificates that are short-lived,
// renewed, and revoked by the fleet's word.
package enroll

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/internal/whole"
)

// Files of a CA in its folder. The key is what makes a CA: it is written last.
const (
	KeyFile   = "ca.key" // PKCS #8, mode 0600
	CertFile  = "ca.pem"
	NamesFile = "names" // one name of the server a line; may be edited, read by OpenCA
)

const (
	caYears  = 20
	backdate = 24 * time.Hour // for clocks, and time zones, that are a little behind
)

// earliest is a time that has passed: a clock before it was never set.
var earliest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// CA is the fleet's certificate authority, with its key. It is safe for
// concurrent use.
type CA struct {
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	pool  *x509.CertPool
	names []string
}

// Init makes a CA in the folder, which is made if need be. The names are what
// clients call the fleet's server: DNS names and IP addresses, one at least.
// It overwrites no CA: a folder that holds a certificate or a key is an error.
func Init(dir string, names []string) (*CA, error) {
	now := time.Now()
	if now.Before(earliest) {
		return nil, fmt.Errorf("make a CA in %s: this machine's clock says %s, set it first: the CA's dates would be wrong for good",
			dir, now.UTC().Format(time.DateOnly))
	}
	return initAt(dir, names, now)
}

func initAt(dir string, names []string, now time.Time) (*CA, error) {
	fail := func(err error) (*CA, error) { return nil, fmt.Errorf("make a CA in %s: %w", dir, err) }
	names, err := CheckNames(names)
	if err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	for _, name := range []string{KeyFile, CertFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fail(fmt.Errorf("%s is there already; a CA is never overwritten, because every device trusts it and no other", name))
		} else if !errors.Is(err, os.ErrNotExist) {
			return fail(err)
		}
	}
	key, der, err := newCA(now)
	if err != nil {
		return fail(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fail(err)
	}
	// Names alone are of an Init that was cut short.
	if err := os.Remove(filepath.Join(dir, NamesFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	err = errors.Join(
		whole.Create(filepath.Join(dir, NamesFile), []byte(strings.Join(names, "\n")+"\n"), 0o644),
		whole.Create(filepath.Join(dir, CertFile), encode("CERTIFICATE", der), 0o644),
	)
	if err == nil {
		err = whole.Create(filepath.Join(dir, KeyFile), encode("PRIVATE KEY", keyDER), 0o600)
	}
	if err != nil {
		return fail(err)
	}
	return OpenCA(dir)
}

// newCA signs a new key with itself.
func newCA(now time.Time) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	number := serial()
	from := now.Add(-backdate).UTC().Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber:          number,
		Subject:               pkix.Name{Organization: []string{"Sightline"}, CommonName: fmt.Sprintf("Sightline fleet %x", number.Bytes()[:4])},
		NotBefore:             from,
		NotAfter:              from.AddDate(caYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return key, der, err
}

// OpenCA reads the CA that Init made.
func OpenCA(dir string) (*CA, error) {
	ca, err := openCA(dir)
	if err != nil {
		return nil, fmt.Errorf("open the CA in %s: %w", dir, err)
	}
	return ca, nil
}

func openCA(dir string) (*CA, error) {
	keyPath := filepath.Join(dir, KeyFile)
	info, err := os.Stat(keyPath)
	if err != nil {
		if _, half := os.Lstat(filepath.Join(dir, CertFile)); half == nil && errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s is there without its %s: restore the key from a backup, or, if making the CA was cut short, remove %s and %s and make it again",
				CertFile, KeyFile, CertFile, NamesFile)
		}
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read or write the key (mode %04o): chmod 600 %s", info.Mode().Perm(), keyPath)
	}
	keyDER, err := readPEM(keyPath, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", KeyFile, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read %s: it is no ECDSA key", KeyFile)
	}
	der, err := readPEM(filepath.Join(dir, CertFile), "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", CertFile, err)
	}
	if !cert.IsCA || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s and %s don't belong together: restore both from the same backup", KeyFile, CertFile)
	}
	text, err := os.ReadFile(filepath.Join(dir, NamesFile))
	if err != nil {
		return nil, err
	}
	names, err := CheckNames(strings.Fields(string(text)))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", NamesFile, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &CA{key: key, cert: cert, pool: pool, names: names}, nil
}

// Fingerprint is the SHA-256 of the CA's certificate (DER), by which tokens
// and devices know the fleet.
func (c *CA) Fingerprint() [sha256.Size]byte { return sha256.Sum256(c.cert.Raw) }

// PEM is the CA's certificate.
func (c *CA) PEM() []byte { return encode("CERTIFICATE", c.cert.Raw) }

// Names are the DNS names and IP addresses of the fleet's server.
func (c *CA) Names() []string { return slices.Clone(c.names) }

var dnsName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckNames is the names as a CA keeps them: each a DNS name or an IP address,
// in one form and once, at least one.
func CheckNames(names []string) ([]string, error) {
	var good []string
	for _, name := range names {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if addr, err := netip.ParseAddr(name); err == nil && addr.Zone() == "" {
			name = addr.Unmap().String()
		} else if len(name) > 253 || !dnsName.MatchString(name) {
			return nil, fmt.Errorf("the server's name %q is neither a DNS name nor an IP address", name)
		}
		if !slices.Contains(good, name) {
			good = append(good, name)
		}
	}
	if len(good) == 0 {
		return nil, errors.New("the server has no name: give the DNS names and IP addresses by which devices reach it")
	}
	return good, nil
}

// serial is a random number of 128 bits, the highest of them set so that all
// are equally long.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails: see its documentation
	b[0] |= 0x80
	return new(big.Int).SetBytes(b[:])
}

// serialText is how the store keeps a serial.
func serialText(n *big.Int) string { return hex.EncodeToString(n.Bytes()) }

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func readPEM(path, kind string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != kind || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, fmt.Errorf("read %s: it isn't one PEM block %q", filepath.Base(path), kind)
	}
	return block.Bytes, nil
}

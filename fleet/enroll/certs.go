package enroll

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// ErrPeer is that a client's certificate isn't one that this fleet lets in.
var ErrPeer = errors.New("the client's certificate isn't one of this fleet")

// ServerLife is how long a server certificate lasts that Server makes.
const ServerLife = 30 * 24 * time.Hour

// serverSpan is how long before its making a server certificate begins.
// Browsers refuse certificates that span more than 398 or 825 days.
const serverSpan = 365 * 24 * time.Hour

// serviceUnit is the OU by which a service's certificate is told from a
// device's.
const serviceUnit = "service"

var serviceName = regexp.MustCompile(`^[a-z][a-z0-9-]{2,62}$`)

// since is now by a clock that can't be before the CA's making.
func (c *CA) since(now time.Time) time.Time {
	if now.Before(c.cert.NotBefore) {
		return c.cert.NotBefore
	}
	return now
}

// issue signs a certificate that begins with the CA itself, so that a clock
// that is behind doesn't refuse it, and ends with the CA's end at the latest.
func (c *CA) issue(template *x509.Certificate, public crypto.PublicKey, now time.Time, life time.Duration) (*x509.Certificate, error) {
	now = c.since(now)
	if !now.Before(c.cert.NotAfter) {
		return nil, fmt.Errorf("issue a certificate for %q: the CA ended on %s, the fleet needs a new one",
			template.Subject.CommonName, c.cert.NotAfter.Format(time.DateOnly))
	}
	template.SerialNumber = serial()
	if template.NotBefore.Before(c.cert.NotBefore) {
		template.NotBefore = c.cert.NotBefore
	}
	template.NotAfter = now.Add(life)
	if template.NotAfter.After(c.cert.NotAfter) {
		template.NotAfter = c.cert.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, public, c.key)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %q: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// own makes a key and a certificate for it, with the CA behind it.
func (c *CA) own(template *x509.Certificate, now time.Time, life time.Duration) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	leaf, err := c.issue(template, key.Public(), now, life)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, c.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// Leaf makes a server certificate for the fleet's names, for servers that read
// it from files. It is the server's whole chain: leaf, then CA.
func (c *CA) Leaf(now time.Time, life time.Duration) (tls.Certificate, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: c.names[0]},
		NotBefore:   c.since(now).Add(-serverSpan).UTC().Truncate(time.Second),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range c.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return c.own(template, now, life)
}

// Server is the identity of the fleet's HTTPS and MQTT servers: TLS 1.3, a
// certificate that is made anew in memory when half its life is over, sent
// with the CA so that a device with a token can know it. now is the fleet's
// clock, which goes on from there and never falls behind the machine's.
//
// It asks clients for a certificate of this CA and takes any or none: the
// caller verifies, by Verify or in Renew, or raises ClientAuth to
// tls.RequireAnyClientCert; the certificate of a device that renews within the
// grace would be refused by the standard verification. NextProtos is the
// caller's.
func (c *CA) Server(now time.Time) (*tls.Config, error) {
	s := &server{ca: c, base: now, begun: time.Now()}
	if _, err := s.certificate(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate() },
		ClientAuth:             tls.RequestClientCert,
		ClientCAs:              c.pool,
		SessionTicketsDisabled: true, // each connection shows its certificate anew
	}, nil
}

// server keeps the newest server certificate.
type server struct {
	ca          *CA
	base, begun time.Time

	mu     sync.Mutex // protects what follows
	issued time.Time
	leaf   *tls.Certificate
}

// now is the later of the machine's clock and the one given at the start: a
// machine that started in 1970 may be set later, and the other way round.
func (s *server) now() time.Time {
	wall := time.Now()
	if ours := s.base.Add(wall.Sub(s.begun)); ours.After(wall) {
		return ours
	}
	return wall
}

func (s *server) certificate() (*tls.Certificate, error) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	// A clock that went back may have left a certificate that begins too late.
	if s.leaf != nil && now.Sub(s.issued) < ServerLife/2 && s.issued.Sub(now) < ServerLife/2 {
		return s.leaf, nil
	}
	leaf, err := s.ca.Leaf(now, ServerLife)
	if err != nil {
		if s.leaf != nil {
			return s.leaf, nil // devices don't ask how old it is: better than none
		}
		return nil, err
	}
	s.issued, s.leaf = now, &leaf
	return s.leaf, nil
}

// Client makes the client certificate of one of the fleet's own services, such
// as the ingester. It lasts 30 days: a program that runs longer uses ClientTLS.
func (c *CA) Client(name string, now time.Time) (tls.Certificate, error) {
	if !serviceName.MatchString(name) {
		return tls.Certificate{}, fmt.Errorf("a service can't be called %q: lower-case letters, digits and dashes will do", name)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name, OrganizationalUnit: []string{serviceUnit}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return c.own(template, now, ServerLife)
}

// ClientTLS is how one of the fleet's services connects to the fleet's
// servers: a certificate made for each connection, the server's checked
// against this CA by the clock that is given. The caller sets ServerName, or
// leaves it to the dialler.
func (c *CA) ClientTLS(name string, now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    c.pool,
		Time:       func() time.Time { return c.since(now()) },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := c.Client(name, now())
			return &cert, err
		},
	}
}

// device makes a device's certificate.
func (c *CA) device(id string, public crypto.PublicKey, now time.Time, life time.Duration) (*x509.Certificate, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: id},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return c.issue(template, public, now, life)
}

// Verify checks the certificate that a client showed: signed by this CA and no
// other, for clients, valid now. It tells whose it is, a device's or one of
// the fleet's own services'. The error wraps ErrPeer. Whether a device is
// revoked isn't in its certificate: see Service.Who.
func (c *CA) Verify(certs []*x509.Certificate, now time.Time) (name string, service bool, err error) {
	if len(certs) == 0 {
		return "", false, fmt.Errorf("verify a client: %w: it showed none", ErrPeer)
	}
	leaf := certs[0]
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots:       c.pool,
		CurrentTime: c.since(now),
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return "", false, fmt.Errorf("verify a client: %w: %w", ErrPeer, err)
	}
	name = leaf.Subject.CommonName
	service = slices.Equal(leaf.Subject.OrganizationalUnit, []string{serviceUnit})
	switch {
	case leaf.IsCA, !service && len(leaf.Subject.OrganizationalUnit) > 0,
		service && !serviceName.MatchString(name), !service && !wire.ValidDevice(name):
		return "", false, fmt.Errorf("verify a client: %w: its subject is %q", ErrPeer, leaf.Subject)
	}
	return name, service, nil
}

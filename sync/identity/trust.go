package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/sightline-edge/sightline/sync/wire"
)

// checkServer checks the fleet's server: signed by the fleet's CA, and for
// this host.
//
// It doesn't check the dates by this device's clock. A device without a
// battery starts in 1970, and one that refused the fleet until it was set
// would never come back by itself; the clock is the easier to attack of the
// two (plain NTP). The price: whoever steals the key of a server certificate
// can pose as the fleet towards devices after that certificate's end, until
// the fleet has a new CA. That key is only ever in the fleet's memory, unless
// the operator runs a broker of their own.
func checkServer(ca *x509.Certificate, certs []*x509.Certificate, host string) error {
	if len(certs) == 0 {
		return errors.New("the server showed no certificate")
	}
	if host == "" {
		return errors.New("the server has no name to be checked against") // x509 would take any
	}
	err := check(ca, certs[0], x509.VerifyOptions{
		DNSName:   host,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("the server isn't %s of the fleet whose CA is %s: %w", host, short(sha256.Sum256(ca.Raw)), err)
	}
	return nil
}

// check verifies a certificate that the CA itself signed, at a time when both
// are valid, if there is one.
func check(ca, leaf *x509.Certificate, opts x509.VerifyOptions) error {
	opts.Roots = x509.NewCertPool()
	opts.Roots.AddCert(ca)
	opts.CurrentTime = leaf.NotBefore
	if opts.CurrentTime.Before(ca.NotBefore) {
		opts.CurrentTime = ca.NotBefore
	}
	_, err := leaf.Verify(opts)
	return err
}

// findCA gives the CA that the token names out of what the server showed.
func findCA(token wire.Token, certs []*x509.Certificate) (*x509.Certificate, error) {
	var last *x509.Certificate
	for _, c := range certs {
		if sha256.Sum256(c.Raw) == token.CA && c.IsCA {
			return c, nil
		}
		last = c
	}
	switch {
	case last == nil:
		return nil, fmt.Errorf("%w: the server showed no certificate", ErrWrongFleet)
	case !last.IsCA:
		return nil, fmt.Errorf("%w: the token's CA is %s, and the server showed no CA; something that ends TLS may stand before the fleet, which can't be",
			ErrWrongFleet, short(token.CA))
	}
	return nil, fmt.Errorf("%w: the token's CA is %s, the server's is %s", ErrWrongFleet, short(token.CA), short(sha256.Sum256(last.Raw)))
}

// short is a fingerprint as people compare it.
func short(sum [sha256.Size]byte) string { return fmt.Sprintf("%x…", sum[:6]) }

// pinned is a client's TLS that has the chain checked by the function alone.
// The standard verification is off because it asks the clock, and because
// before enrolment the CA is only known by its fingerprint; VerifyConnection
// runs in every handshake before anything is sent.
func pinned(host string, verify func([]*x509.Certificate) error) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         host,
		InsecureSkipVerify: true,
		VerifyConnection:   func(cs tls.ConnectionState) error { return verify(cs.PeerCertificates) },
	}
}

// sameCA reports whether the text is the CA.
func sameCA(ca *x509.Certificate, text string) bool {
	got, err := parseCertificate([]byte(text))
	return err == nil && bytes.Equal(got.Raw, ca.Raw)
}

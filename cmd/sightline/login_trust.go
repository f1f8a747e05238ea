package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/web"
)

const dialTime = 10 * time.Second

// fleetAddress checks and tidies the address that --fleet gave.
func fleetAddress(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", cli.Usage("--fleet %q is no address of a fleet, as in: --fleet https://fleet.local:8443", text)
	}
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && web.Loopback(u.Hostname()):
	case u.Scheme == "http":
		return "", cli.Usage("--fleet %q: your password would be sent for all to read: use https", text)
	default:
		return "", cli.Usage("--fleet %q: it must begin with https://", text)
	}
	return u.Scheme + "://" + u.Host, nil
}

// trust finds the fleet's certificate authority, as PEM: from the file, by the
// fingerprint, or by asking the person whether the one seen is right. It is
// empty without TLS.
func (o *loginOptions) trust(ctx context.Context, address string, p *prompt) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "http" {
		if o.ca+o.fingerprint != "" {
			return "", cli.Usage("--ca and --fingerprint are for https, --fleet is %s", address)
		}
		return "", err
	}
	if o.ca != "" && o.fingerprint != "" {
		return "", cli.Usage("--ca and --fingerprint: one of them is enough")
	}
	if o.ca != "" {
		text, err := os.ReadFile(o.ca)
		if err != nil {
			return "", fmt.Errorf("read the certificate authority: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(text) {
			return "", fmt.Errorf("read the certificate authority: %s holds no certificate (PEM)", o.ca)
		}
		return string(text), nil
	}
	want, err := parseFingerprint(o.fingerprint)
	if err != nil {
		return "", err
	}
	seen, err := peek(ctx, u)
	if err != nil {
		return "", err
	}
	ca := seen[len(seen)-1] // a fleet presents its own certificate, then its authority's
	sum := sha256.Sum256(ca.Raw)
	if want != nil {
		if [sha256.Size]byte(want) != sum {
			return "", fmt.Errorf("log in at %s: the certificate authority there has the fingerprint %x, not the one that you gave: either the fingerprint is another fleet's, or somebody is in between", address, sum)
		}
	} else if !p.terminal {
		return "", cli.Usage("how is the fleet at %s known? Give --fingerprint, which sightline-fleet init printed, or --ca with the file of its certificate authority", address)
	} else {
		fmt.Fprintf(p.err, "The certificate authority of the fleet at %s has the SHA-256 fingerprint\n  %x\nCompare it with what sightline-fleet init printed.\n", address, sum)
		if ok, err := p.yes(ctx, "Is it the same?"); err != nil || !ok {
			return "", orElse(err, fmt.Errorf("log in at %s: the fingerprint wasn't confirmed", address))
		}
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})), nil
}

func orElse(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// parseFingerprint reads hex, with or without colons; nil for none.
func parseFingerprint(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(text))
	if err != nil || len(b) != sha256.Size {
		return nil, cli.Usage("--fingerprint: it has 64 hex digits, as sightline-fleet init printed them")
	}
	return b, nil
}

// peek looks at the certificates that the server presents. Nothing is sent to
// it: whether they can be trusted is found out after.
func peek(ctx context.Context, u *url.URL) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "443")
	}
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}}
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, explain(u.String(), err)
	}
	defer conn.Close()
	seen := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(seen) == 0 {
		return nil, fmt.Errorf("look at the certificate of %s: it has none", u)
	}
	return seen, nil
}

// explain says what a failed request means, and what to do.
func explain(fleet string, err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("reach the fleet at %s: its certificate isn't by the certificate authority that you trust: another server answers there, or the fleet was set up anew; "+
			"if you know that it was, log in again with its new --fingerprint", fleet)
	case errors.As(err, &name):
		return fmt.Errorf("reach the fleet at %s: %w: use an address that it has a certificate for", fleet, name)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("reach the fleet at %s: its certificate isn't good now: check this machine's clock, and the fleet's: %w", fleet, invalid)
	case errors.As(err, &record):
		return fmt.Errorf("reach the fleet at %s: it doesn't speak TLS there: is the port right?", fleet)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("reach the fleet at %s: interrupted", fleet)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the address once more
	}
	return fmt.Errorf("reach the fleet at %s: %w: is it running, and is this its address?", fleet, err)
}

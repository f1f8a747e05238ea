package enroll

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// maxCSR is how long a certificate request may be, in bytes of PEM.
const maxCSR = 8192

// readCSR gives the key that a request asks a certificate for, once the
// request proves that its maker has the private part. Its subject and
// extensions count for nothing. RSA is refused: no device of ours makes such
// keys, and checking a request of a stranger shouldn't cost what he likes.
func readCSR(text string) (crypto.PublicKey, error) {
	if len(text) > maxCSR {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d will do", ErrCSR, len(text), maxCSR)
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE REQUEST" || strings.TrimSpace(string(rest)) != "" {
		return nil, fmt.Errorf("%w: it isn't one PEM block CERTIFICATE REQUEST", ErrCSR)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCSR, err)
	}
	if err := checkKey(csr.PublicKey); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCSR, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCSR, err)
	}
	return csr.PublicKey, nil
}

func checkKey(public crypto.PublicKey) error {
	switch key := public.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return nil
		}
	}
	return errors.New("its key is none of ECDSA P-256, ECDSA P-384 and Ed25519")
}

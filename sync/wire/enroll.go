package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Paths of the fleet's HTTPS interface that devices use, and nobody else.
const (
	EnrollPath = "/v1/enroll"
	RenewPath  = "/v1/renew"
)

// EnrollRequest is what a device sends to EnrollPath, as JSON.
type EnrollRequest struct {
	Token        string `json:"token" maxLength:"200" doc:"one-time enrolment token"`
	CSR          string `json:"csr" maxLength:"8192" doc:"certificate signing request (PKCS #10, PEM); its subject is ignored"`
	StationLabel string `json:"station_label,omitempty" maxLength:"64" doc:"label of the device for people, such as its place"`
	Hostname     string `json:"hostname,omitempty" maxLength:"253"`
}

// RenewRequest is what a device sends to RenewPath over TLS with its present
// certificate.
type RenewRequest struct {
	CSR string `json:"csr" maxLength:"8192" doc:"certificate signing request (PKCS #10, PEM)"`
}

// EnrollAnswer is the device's identity, answered by both paths.
type EnrollAnswer struct {
	Device      string    `json:"device" doc:"id of the device"`
	Group       string    `json:"group" doc:"fleet group"`
	Certificate string    `json:"certificate" doc:"client certificate (PEM)"`
	CA          string    `json:"ca" doc:"the fleet's certificate authority (PEM)"`
	MQTT        string    `json:"mqtt" doc:"host and port of the broker; an empty host is the host of the fleet's address"`
	NotBefore   time.Time `json:"not_before" doc:"the certificate's beginning, which is the CA's own"`
	NotAfter    time.Time `json:"not_after" doc:"the certificate's end"`
	Issued      time.Time `json:"issued" doc:"when it was issued, by the fleet's clock"`
	Root        []byte    `json:"root,omitempty" doc:"the newest root of trust for updates (root.json), which the device pins when it enrols; absent when a certificate is renewed, and if there is none yet"`
}

// Token is what a one-time enrolment token holds: how to know the fleet, and
// the secret that lets one device in.
type Token struct {
	CA     [sha256.Size]byte // SHA-256 of the CA certificate's DER
	Secret [16]byte
}

const tokenPrefix = "sle1-" // Sightline enrolment, version 1

// ErrToken is ParseToken's error.
var ErrToken = errors.New("this is no enrolment token; one begins with " + tokenPrefix)

// String is the token as people carry it.
func (t Token) String() string {
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(t.CA[:], t.Secret[:]...))
}

// ParseToken reads a token. The error doesn't hold the text.
func ParseToken(text string) (Token, error) {
	var t Token
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), tokenPrefix)
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if !ok || err != nil || len(b) != len(t.CA)+len(t.Secret) {
		return Token{}, fmt.Errorf("read the token: %w", ErrToken)
	}
	copy(t.CA[:], b)
	copy(t.Secret[:], b[len(t.CA):])
	return t, nil
}

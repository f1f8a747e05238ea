package enroll

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// Errors of Service beside ErrPeer. They come wrapped, with a text that the
// device's owner may read; none holds a token.
var (
	ErrToken   = errors.New("the enrolment token isn't one of this fleet")
	ErrUsed    = errors.New("the enrolment token has been used; each lets one device in, make another")
	ErrExpired = errors.New("the enrolment token has expired; make another")
	ErrCSR     = errors.New("the certificate request can't be used")
	ErrRequest = errors.New("the request can't be used")
	ErrRevoked = errors.New("the device has been revoked; to let it in again, enrol it anew with a new token")
	ErrUnknown = errors.New("the fleet doesn't know this device; enrol it anew with a new token")
	ErrGrace   = errors.New("the certificate ended too long ago to be renewed; enrol the device anew with a new token")
)

// Defaults and bounds.
const (
	DefaultLife      = 14 * 24 * time.Hour
	DefaultGrace     = 90 * 24 * time.Hour
	DefaultMQTT      = ":8883"
	DefaultTokenLife = time.Hour
	MinTokenLife     = time.Minute
	MaxTokenLife     = 30 * 24 * time.Hour
	maxLabel         = 64
	maxHostname      = 253
)

// Config says how devices are let in. Zero values are the defaults.
type Config struct {
	Life  time.Duration // of a device's certificate
	Grace time.Duration // after its end in which it can still be renewed
	MQTT  string        // host:port of the broker as devices are told; an empty host is the fleet's own

	// Revoked is called after a device was revoked, so that its connections
	// are cut. It may be nil.
	Revoked func(device string)
	// Root is the newest root of trust for updates, which a device is told when
	// it enrols; nil if there is none yet. It may be nil.
	Root func() []byte
}

// Service lets devices in. It is safe for concurrent use.
type Service struct {
	ca    *CA
	store *store.Store
	conf  Config
}

// NewService is the service of this CA over the store, whose clock it goes by.
func NewService(ca *CA, st *store.Store, conf Config) *Service {
	if conf.Life == 0 {
		conf.Life = DefaultLife
	}
	if conf.Grace == 0 {
		conf.Grace = DefaultGrace
	}
	if conf.MQTT == "" {
		conf.MQTT = DefaultMQTT
	}
	return &Service{ca: ca, store: st, conf: conf}
}

var groupName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Token makes a token that lets one device into the group, within its life:
// MinTokenLife to MaxTokenLife, 0 for DefaultTokenLife. Only its hash is kept.
// The error wraps ErrRequest for a group or life that can't be.
func (s *Service) Token(ctx context.Context, group string, life time.Duration) (wire.Token, error) {
	if life == 0 {
		life = DefaultTokenLife
	}
	if !groupName.MatchString(group) {
		return wire.Token{}, fmt.Errorf("make a token: %w: a group can't be called %q: lower-case letters, digits and dashes will do, 63 at most", ErrRequest, group)
	}
	if life < MinTokenLife || life > MaxTokenLife {
		return wire.Token{}, fmt.Errorf("make a token: %w: it can be good for %s to %s, not %s", ErrRequest, MinTokenLife, MaxTokenLife, life)
	}
	token := wire.Token{CA: s.ca.Fingerprint()}
	_, _ = rand.Read(token.Secret[:]) // it never fails: see its documentation
	err := s.store.AddEnrolToken(ctx, store.EnrolToken{
		Key: tokenKey(token), Group: group, Expires: s.store.Now().Add(life),
	})
	if err != nil {
		return wire.Token{}, fmt.Errorf("make a token: %w", err)
	}
	return token, nil
}

// tokenKey is what the store knows a token by.
func tokenKey(t wire.Token) [sha256.Size]byte { return sha256.Sum256(t.Secret[:]) }

// Enroll lets a device in for a token. The token is used up and the device
// known in one transaction before the certificate is answered. A device whose
// answer was lost may ask again with the same key while the token lasts.
//
// Errors: ErrToken, ErrUsed, ErrExpired, ErrCSR, ErrRequest, ErrRevoked.
func (s *Service) Enroll(ctx context.Context, r wire.EnrollRequest) (*wire.EnrollAnswer, error) {
	answer, err := s.enroll(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("enrol a device: %w", err)
	}
	if s.conf.Root != nil {
		answer.Root = s.conf.Root()
	}
	return answer, nil
}

func (s *Service) enroll(ctx context.Context, r wire.EnrollRequest) (*wire.EnrollAnswer, error) {
	token, err := wire.ParseToken(r.Token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	if token.CA != s.ca.Fingerprint() {
		return nil, fmt.Errorf("%w: it was made by the fleet with the CA %x…", ErrToken, token.CA[:6])
	}
	if !printable(r.StationLabel, maxLabel) || !printable(r.Hostname, maxHostname) {
		return nil, fmt.Errorf("%w: label and host name are up to %d and %d printable characters", ErrRequest, maxLabel, maxHostname)
	}
	known, err := s.known(ctx, token)
	if err != nil {
		return nil, err
	}
	public, err := readCSR(r.CSR)
	if err != nil {
		return nil, err
	}
	id, err := deviceID(token, public)
	if err != nil {
		return nil, err
	}
	now := s.store.Now()
	leaf, err := s.ca.device(id, public, now, s.conf.Life)
	if err != nil {
		return nil, err
	}
	err = s.store.AddDevice(ctx, store.Device{
		ID: id, Label: r.StationLabel, Hostname: r.Hostname,
		CertSerial: serialText(leaf.SerialNumber), CertNotAfter: leaf.NotAfter,
	}, known.Key)
	switch {
	case errors.Is(err, store.ErrUsed), errors.Is(err, store.ErrExists):
		if err := s.again(ctx, token, id, leaf, now); err != nil {
			return nil, err
		}
	case errors.Is(err, store.ErrExpired):
		return nil, ErrExpired
	case errors.Is(err, store.ErrNotFound):
		return nil, ErrToken
	case err != nil:
		return nil, err
	}
	return s.answer(id, known.Group, leaf, now), nil
}

// Ours reports whether a token says that it is this fleet's. Whoever has none
// guesses at nothing.
func (s *Service) Ours(token string) bool {
	t, err := wire.ParseToken(token)
	return err == nil && t.CA == s.ca.Fingerprint()
}

// known is the token as the store has it.
func (s *Service) known(ctx context.Context, token wire.Token) (*store.EnrolToken, error) {
	t, err := s.store.EnrolToken(ctx, tokenKey(token))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: it is unknown, or was removed", ErrToken)
	}
	return t, err
}

// again allows the device that used the token, told by its key, to have its
// certificate once more: its answer was lost, so it can't have been heard of.
func (s *Service) again(ctx context.Context, token wire.Token, id string, leaf *x509.Certificate, now time.Time) error {
	t, err := s.known(ctx, token)
	if err != nil {
		return err
	}
	if t.UsedBy != id {
		return ErrUsed
	}
	if !now.Before(t.Expires) {
		return ErrExpired
	}
	d, err := s.store.Device(ctx, id)
	if err != nil {
		return err
	}
	if !d.Revoked.IsZero() {
		return ErrRevoked
	}
	if !d.Heard.IsZero() {
		return ErrUsed
	}
	return s.keep(ctx, id, leaf)
}

// keep notes the newest certificate, unless the device was revoked meanwhile.
func (s *Service) keep(ctx context.Context, id string, leaf *x509.Certificate) error {
	err := s.store.SetCertificate(ctx, id, serialText(leaf.SerialNumber), leaf.NotAfter)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%s: %w", id, ErrRevoked)
	}
	return err
}

// deviceID names the device that enrols with this token and this key. Nobody
// can tell it without the token, whose secret is random, so the ids are; and
// the same device asking again is known by it. 50 bits.
func deviceID(token wire.Token, public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrCSR, err)
	}
	h := hmac.New(sha256.New, token.Secret[:])
	h.Write(der)
	return "d" + strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)))[:10], nil
}

// Renew gives a device that shows its certificate another one, for a new key.
// It is enough that the certificate shown is this CA's and ended no longer ago
// than the grace: it need not be the newest, because the answer with that one
// may have been lost.
//
// Errors: ErrPeer, ErrGrace, ErrRevoked, ErrUnknown, ErrCSR.
func (s *Service) Renew(ctx context.Context, peer []*x509.Certificate, r wire.RenewRequest) (*wire.EnrollAnswer, error) {
	answer, err := s.renew(ctx, peer, r)
	if err != nil {
		return nil, fmt.Errorf("renew a certificate: %w", err)
	}
	return answer, nil
}

func (s *Service) renew(ctx context.Context, peer []*x509.Certificate, r wire.RenewRequest) (*wire.EnrollAnswer, error) {
	now := s.store.Now()
	at, late := now, time.Duration(0)
	if len(peer) > 0 && now.After(peer[0].NotAfter) {
		at, late = peer[0].NotAfter, now.Sub(peer[0].NotAfter)
	}
	id, service, err := s.ca.Verify(peer, at)
	if err != nil {
		return nil, err
	}
	if service {
		return nil, fmt.Errorf("%w: it is a service's, which isn't renewed", ErrPeer)
	}
	if late > s.conf.Grace {
		return nil, fmt.Errorf("%w: it ended on %s", ErrGrace, peer[0].NotAfter.Format(time.DateOnly))
	}
	d, err := s.alive(ctx, id)
	if err != nil {
		return nil, err
	}
	public, err := readCSR(r.CSR)
	if err != nil {
		return nil, err
	}
	leaf, err := s.ca.device(id, public, now, s.conf.Life)
	if err != nil {
		return nil, err
	}
	if err := s.keep(ctx, id, leaf); err != nil {
		return nil, err
	}
	return s.answer(id, d.Group, leaf, now), nil
}

// alive is the device, if it is known and not revoked.
func (s *Service) alive(ctx context.Context, id string) (*store.Device, error) {
	d, err := s.store.Device(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%s: %w", id, ErrUnknown)
	}
	if err != nil {
		return nil, err
	}
	if !d.Revoked.IsZero() {
		return nil, fmt.Errorf("%s: %w", id, ErrRevoked)
	}
	return d, nil
}

func (s *Service) answer(id, group string, leaf *x509.Certificate, now time.Time) *wire.EnrollAnswer {
	return &wire.EnrollAnswer{
		Device: id, Group: group,
		Certificate: string(encode("CERTIFICATE", leaf.Raw)), CA: string(s.ca.PEM()), MQTT: s.conf.MQTT,
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Issued: s.ca.since(now).UTC(),
	}
}

// Revoke ends a device's access for good and has its connections cut. The
// error wraps store.ErrNotFound for a device that the fleet doesn't know.
func (s *Service) Revoke(ctx context.Context, device string) error {
	if err := s.store.Revoke(ctx, device, s.store.Now()); err != nil {
		return fmt.Errorf("revoke %s: %w", device, err)
	}
	if s.conf.Revoked != nil {
		s.conf.Revoked(device)
	}
	return nil
}

// whoTime bounds a look into the store during a handshake, which has no
// context of its own.
const whoTime = 5 * time.Second

// Who is whose certificate a client of the broker showed, if it may come in
// now: valid, and a device that is known and not revoked, or one of the
// fleet's services.
func (s *Service) Who(certs []*x509.Certificate) (name string, service bool, err error) {
	name, service, err = s.ca.Verify(certs, s.store.Now())
	if err != nil || service {
		return name, service, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), whoTime)
	defer cancel()
	if _, err := s.alive(ctx, name); err != nil {
		return "", false, fmt.Errorf("verify a client: %w", err)
	}
	return name, false, nil
}

func printable(text string, most int) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= most &&
		strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

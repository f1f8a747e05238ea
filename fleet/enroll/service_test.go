package enroll

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// fleet is a service over a store of its own.
type fleet struct {
	*Service
	t *testing.T
}

func newFleet(t *testing.T, ca *CA, conf Config) fleet {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "fleet.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return fleet{NewService(ca, st, conf), t}
}

func (f fleet) token() wire.Token {
	f.t.Helper()
	token, err := f.Token(f.t.Context(), "line-4", 0)
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

func (f fleet) enrol(token wire.Token, key crypto.Signer) (*wire.EnrollAnswer, error) {
	f.t.Helper()
	return f.Enroll(f.t.Context(), wire.EnrollRequest{Token: token.String(), CSR: csr(f.t, key), StationLabel: "west gate", Hostname: "dev1"})
}

// device enrols a new one.
func (f fleet) device() (*wire.EnrollAnswer, []*x509.Certificate) {
	f.t.Helper()
	answer, err := f.enrol(f.token(), newKey(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	return answer, chain(f.t, answer)
}

func csr(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(encode("CERTIFICATE REQUEST", der))
}

func chain(t *testing.T, answer *wire.EnrollAnswer) []*x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(answer.Certificate))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return []*x509.Certificate{cert}
}

func TestEnroll(t *testing.T) {
	ca, _ := newTestCA(t)
	f := newFleet(t, ca, Config{})
	for name, key := range map[string]crypto.Signer{"P-256": newKey(t), "Ed25519": ed25519.NewKeyFromSeed(make([]byte, 32))} {
		before := time.Now()
		answer, err := f.enrol(f.token(), key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		who, service, err := f.Who(chain(t, answer))
		if err != nil || who != answer.Device || service {
			t.Errorf("%s: its certificate is %q's, service %v, %v", name, who, service, err)
		}
		if !wire.ValidDevice(answer.Device) || answer.Group != "line-4" || answer.MQTT != DefaultMQTT || answer.CA != string(ca.PEM()) {
			t.Errorf("%s: the answer is %+v", name, answer)
		}
		if answer.Issued.Before(before) || answer.NotAfter.Sub(answer.Issued).Round(time.Minute) != DefaultLife || !answer.NotBefore.Equal(ca.cert.NotBefore) {
			t.Errorf("%s: issued %s, from %s to %s", name, answer.Issued, answer.NotBefore, answer.NotAfter)
		}
		d, err := f.store.Device(t.Context(), answer.Device)
		if err != nil {
			t.Fatal(err)
		}
		serial := serialText(chain(t, answer)[0].SerialNumber)
		if d.Label != "west gate" || d.Hostname != "dev1" || d.Group != "line-4" || d.CertSerial != serial || !d.CertNotAfter.Equal(answer.NotAfter) {
			t.Errorf("%s: the store has %+v", name, d)
		}
	}
}

// TestCSRSaysNothingButItsKey: what a device asks to be called, or to be
// allowed, counts for nothing.
func TestCSRSaysNothingButItsKey(t *testing.T) {
	ca, _ := newTestCA(t)
	f := newFleet(t, ca, Config{})
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "dvictimaaaa", OrganizationalUnit: []string{"service"}},
		DNSNames: []string{"fleet.example"},
		ExtraExtensions: []pkix.Extension{{ // basicConstraints CA:TRUE
			Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 0x03, 0x01, 0x01, 0xff},
		}},
	}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := f.Enroll(t.Context(), wire.EnrollRequest{Token: f.token().String(), CSR: string(encode("CERTIFICATE REQUEST", der))})
	if err != nil {
		t.Fatal(err)
	}
	cert := chain(t, answer)[0]
	if cert.Subject.String() != "CN="+answer.Device || answer.Device == "dvictimaaaa" || len(cert.DNSNames) > 0 || cert.IsCA {
		t.Errorf("subject %q, names %q, CA %v", cert.Subject, cert.DNSNames, cert.IsCA)
	}
}

func TestBadCSRs(t *testing.T) {
	ca, _ := newTestCA(t)
	f := newFleet(t, ca, Config{})
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := csr(t, newKey(t))
	block, _ := pem.Decode([]byte(good))
	block.Bytes[len(block.Bytes)-1] ^= 1
	token := f.token().String()
	for name, text := range map[string]string{
		"RSA": csr(t, weak), "P-521": csr(t, p521), "empty": "", "two": good + good,
		"signed by another": string(pem.EncodeToMemory(block)),
		"a certificate":     string(ca.PEM()),
		"garbage":           string(encode("CERTIFICATE REQUEST", []byte("garbage"))),
		"huge":              good + strings.Repeat(" ", maxCSR),
	} {
		if _, err := f.Enroll(t.Context(), wire.EnrollRequest{Token: token, CSR: text}); !errors.Is(err, ErrCSR) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, r := range []wire.EnrollRequest{
		{Token: token, CSR: good, StationLabel: strings.Repeat("é", maxLabel+1)},
		{Token: token, CSR: good, StationLabel: "a\x1b[2Jb"},
		{Token: token, CSR: good, Hostname: "a\nb"},
		{Token: token, CSR: good, Hostname: "\xff"},
	} {
		if _, err := f.Enroll(t.Context(), r); !errors.Is(err, ErrRequest) {
			t.Errorf("label %q, host %q: %v", r.StationLabel, r.Hostname, err)
		}
	}
	// None of it used the token up.
	if _, err := f.Enroll(t.Context(), wire.EnrollRequest{Token: token, CSR: good, StationLabel: strings.Repeat("é", maxLabel)}); err != nil {
		t.Error(err)
	}
}

func TestTokenUsedTwice(t *testing.T) {
	ca, _ := newTestCA(t)
	f := newFleet(t, ca, Config{})
	token := f.token()
	if _, err := f.enrol(token, newKey(t)); err != nil {
		t.Fatal(err)
	}
	_, err := f.enrol(token, newKey(t))
	if !errors.Is(err, ErrUsed) {
		t.Errorf("with a used token: %v", err)
	}
	all, err := f.store.Devices(t.Context())
	if err != nil || len(all) != 1 {
		t.Errorf("%d devices, %v", len(all), err)
	}
}

// TestTokenRace: of many devices with one token one gets in.
func TestTokenRace(t *testing.T) {
	ca, _ := newTestCA(t)
	f := newFleet(t, ca, Config{})
	token := f.token()
	results := make(chan error)
	const racers = 8
	for range racers {
		request := wire.EnrollRequest{Token: token.String(), CSR: csr(t, newKey(t))}
		go func() {
			_, err := f.Enroll(context.Background(), request)
			results <- err
		}()
	}
	in := 0
	for range racers {
		if err := <-results; err == nil {
			in++
		} else if !errors.Is(err, ErrUsed) {
			t.Error(err)
		}
	}
	all, err := f.store.Devices(t.Context())
	if in != 1 || len(all) != 1 || err != nil {
		t.Errorf("%d got in, the store has %d, %v", in, len(all), err)
	}
}

// TestLostAnswer: the key that used a token gets its certificate again, until
// the device was heard of, and nobody else ever.
func TestLostAnswer(t *testing.T) {
	ca, _ := newTestCA(t)
	f := newFleet(t, ca, Config{})
	token, key := f.token(), newKey(t)
	first, err := f.enrol(token, key)
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.enrol(token, key)
	if err != nil || second.Device != first.Device || second.Group != first.Group {
		t.Fatalf("asked again: %+v, %v", second, err)
	}
	if first, second := chain(t, first)[0], chain(t, second)[0]; first.SerialNumber.Cmp(second.SerialNumber) == 0 {
		t.Error("two certificates have one serial")
	}
	if _, err := f.enrol(f.token(), key); err != nil {
		t.Errorf("the same key with another token, which is another device: %v", err)
	}
	if err := f.store.Heard(t.Context(), []store.Sign{{Device: first.Device, At: f.store.Now()}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.enrol(token, key); !errors.Is(err, ErrUsed) {
		t.Errorf("asked again after it was heard of: %v", err)
	}
}

func TestLostAnswerOfARevokedDevice(t *testing.T) {
	ca, _ := newTestCA(t)
	f := newFleet(t, ca, Config{})
	token, key := f.token(), newKey(t)
	answer, err := f.enrol(token, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Revoke(t.Context(), answer.Device); err != nil {
		t.Fatal(err)
	}
	if _, err := f.enrol(token, key); !errors.Is(err, ErrRevoked) {
		t.Errorf("asked again: %v", err)
	}
}

func TestBadTokens(t *testing.T) {
	ca, _ := newTestCA(t)
	otherCA, _ := newTestCA(t)
	f, other := newFleet(t, ca, Config{}), newFleet(t, otherCA, Config{})
	unknown := f.token()
	unknown.Secret[3] ^= 1
	moved, tampered := other.token(), f.token()
	moved.CA, tampered.CA = ca.Fingerprint(), otherCA.Fingerprint()
	for name, text := range map[string]string{
		"empty": "", "garbage": "sle1-garbage", "another fleet's": other.token().String(),
		"one bit off": unknown.String(), "another fleet's with our CA": moved.String(),
		"ours with another CA": tampered.String(),
	} {
		_, err := f.Enroll(t.Context(), wire.EnrollRequest{Token: text, CSR: csr(t, newKey(t))})
		if !errors.Is(err, ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTokensAreSecret: neither what is kept nor any error holds one.
func TestTokensAreSecret(t *testing.T) {
	ca, _ := newTestCA(t)
	f := newFleet(t, ca, Config{})
	token, key := f.token(), newKey(t)
	_, err0 := f.Enroll(t.Context(), wire.EnrollRequest{Token: token.String(), CSR: "bad"})
	_, err1 := f.enrol(token, key)
	_, err2 := f.enrol(token, newKey(t))
	if err0 == nil || err1 != nil || err2 == nil {
		t.Fatal(err0, err1, err2)
	}
	for _, err := range []error{err0, err2} {
		if text := err.Error(); strings.Contains(text, token.String()[5:]) || strings.Contains(text, hex.EncodeToString(token.Secret[:])) {
			t.Errorf("the error holds the token: %s", text)
		}
	}
	kept, err := f.store.EnrolTokens(t.Context())
	if err != nil || len(kept) != 1 || kept[0].Key != tokenKey(token) {
		t.Errorf("kept %v, %v", kept, err)
	}
}

func TestTokenBounds(t *testing.T) {
	ca, _ := newTestCA(t)
	f := newFleet(t, ca, Config{})
	for _, c := range []struct {
		group string
		life  time.Duration
		good  bool
	}{
		{"a", 0, true}, {"line-4", MinTokenLife, true}, {"line-4", MaxTokenLife, true},
		{"", 0, false}, {"Line", 0, false}, {"a/b", 0, false}, {"a\n", 0, false}, {strings.Repeat("a", 64), 0, false},
		{"a", MinTokenLife - 1, false}, {"a", MaxTokenLife + 1, false}, {"a", -time.Hour, false},
	} {
		if _, err := f.Token(t.Context(), c.group, c.life); (err == nil) != c.good || err != nil && !errors.Is(err, ErrRequest) {
			t.Errorf("group %q for %s: %v", c.group, c.life, err)
		}
	}
}

func TestExpiredToken(t *testing.T) {
	ca, _ := newTestCA(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, ca, Config{})
		used, unused, key := f.token(), f.token(), newKey(t)
		if _, err := f.enrol(used, key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(DefaultTokenLife + time.Second)
		if _, err := f.enrol(unused, key); !errors.Is(err, ErrExpired) {
			t.Errorf("an expired token: %v", err)
		}
		if _, err := f.enrol(used, key); !errors.Is(err, ErrExpired) {
			t.Errorf("a lost answer after the token's life: %v", err)
		}
	})
}

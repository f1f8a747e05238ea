package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

const (
	life       = 14 * 24 * time.Hour
	testDevice = "dabcdefghij"
	testRoot   = `{"signed":"root"}`
)

// authority is a CA as a fleet has one.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T, from time.Time) *authority {
	t.Helper()
	key := mustKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test fleet"},
		NotBefore: from, NotAfter: from.AddDate(20, 0, 0),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	a := &authority{t: t, key: key, cert: template}
	a.cert = a.sign(template, key.Public())
	return a
}

func mustKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err == nil {
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(der); err == nil {
			return cert
		}
	}
	a.t.Error(err)
	return nil
}

func (a *authority) issue(name string, public crypto.PublicKey, end time.Time, use x509.ExtKeyUsage) *x509.Certificate {
	var number [16]byte
	_, _ = rand.Read(number[:])
	return a.sign(&x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(number[:]), Subject: pkix.Name{CommonName: name},
		NotBefore: a.cert.NotBefore, NotAfter: end, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{use}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true,
	}, public)
}

// server is a server's certificate for 127.0.0.1, with the CA behind it.
func (a *authority) server(end time.Time) tls.Certificate {
	key := mustKey(a.t)
	leaf := a.issue("127.0.0.1", key.Public(), end, x509.ExtKeyUsageServerAuth)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, a.cert.Raw}, PrivateKey: key}
}

func (a *authority) token() wire.Token { return wire.Token{CA: sha256.Sum256(a.cert.Raw)} }

// fleet is a small one that lets every device in, as testDevice.
type fleet struct {
	*authority
	url string

	mu       sync.Mutex // protects what follows
	now      func() time.Time
	life     time.Duration
	spoil    func(*wire.EnrollAnswer)                 // if not nil, changes the answers
	instead  func(http.ResponseWriter, *http.Request) // if not nil, answers, before anything was done
	lose     bool                                     // connections are cut after the fleet did its part
	requests []string                                 // paths asked for
	keys     []crypto.PublicKey                       // certified
	peers    []*x509.Certificate                      // shown at renewals
	said     []wire.EnrollRequest                     // without their CSR
}

func newFleet(t *testing.T) *fleet {
	a := newAuthority(t, time.Now().Add(-24*time.Hour))
	return a.serve(a.server(time.Now().Add(life)))
}

// serve starts a fleet that shows this certificate.
func (a *authority) serve(cert tls.Certificate) *fleet {
	return a.serveTLS(&tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12})
}

func (a *authority) serveTLS(conf *tls.Config) *fleet {
	a.t.Helper()
	f := &fleet{authority: a, now: time.Now, life: life}
	f.url = serve(a.t, conf, f)
	return f
}

func serve(t *testing.T, conf *tls.Config, h http.Handler) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ErrorLog: log.New(t.Output(), "", 0)}
	ended := make(chan error)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return "https://" + l.Addr().String()
}

// set changes the fleet's behaviour.
func (f *fleet) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	instead := f.instead
	f.requests = append(f.requests, r.URL.Path)
	f.mu.Unlock()
	if instead != nil {
		instead(w, r)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var ask wire.EnrollRequest
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		f.t.Error(err)
	}
	block, _ := pem.Decode([]byte(ask.CSR))
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil {
		f.t.Errorf("the device's request: %v", err)
		return
	}
	if r.URL.Path == wire.RenewPath {
		f.peers = append(f.peers, r.TLS.PeerCertificates...)
	}
	ask.CSR = ""
	f.said, f.keys = append(f.said, ask), append(f.keys, csr.PublicKey)
	now := f.now().UTC()
	cert := f.issue(testDevice, csr.PublicKey, now.Add(f.life), x509.ExtKeyUsageClientAuth)
	answer := &wire.EnrollAnswer{Device: testDevice, Group: "line-4", Certificate: string(encodeCertificate(cert)),
		CA: string(encodeCertificate(f.cert)), MQTT: ":8883", NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Issued: now, Root: []byte(testRoot)}
	if f.spoil != nil {
		f.spoil(answer)
	}
	if f.lose {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the device may have gone
}

func (f *fleet) config(dir string) Config {
	return Config{Dir: dir, Fleet: f.url, Token: f.token().String(), StationLabel: "west gate", Hostname: "dev1"}
}

// enrolled is a device of the fleet, in a folder of its own.
func (f *fleet) enrolled() (*Identity, string) {
	f.t.Helper()
	dir := f.t.TempDir()
	id, err := Enroll(f.t.Context(), f.config(dir))
	if err != nil {
		f.t.Fatal(err)
	}
	return id, dir
}

func (f *fleet) port() string {
	u, err := url.Parse(f.url)
	if err != nil {
		f.t.Fatal(err)
	}
	return u.Port()
}

// wantError fails unless the error says all of it.
func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("the error is %q, want it to say %q", err, w)
		}
	}
}

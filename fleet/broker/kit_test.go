package broker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/sightline-edge/sightline/sync/wire"
)

const (
	deviceA = "press-1"
	deviceB = "press-2"
	service = "ingest"
	patient = 10 * time.Second // for what must come, on a busy machine
)

// authority is a small CA with what the tests ask of one.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate

	asked   atomic.Int64               // how often who was
	known   map[string]tls.Certificate // revoked by a list
	mu      sync.Mutex                 // protects what follows
	revoked []string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{}
	a.key, a.cert = certify(t, nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: "fleet"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}, NotAfter: time.Now().Add(24 * time.Hour),
	})
	return a
}

// certify makes a certificate by a, or by itself.
func certify(t testing.TB, a *authority, c *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-24 * time.Hour)
	}
	parent, signer := c, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, made
}

func pair(key *ecdsa.PrivateKey, cert *x509.Certificate) tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// client is a certificate for a device, or for a service.
func (a *authority) client(t testing.TB, name string, notAfter time.Time) tls.Certificate {
	t.Helper()
	subject := pkix.Name{CommonName: name}
	if name == service {
		subject.OrganizationalUnit = []string{"service"}
	}
	return pair(certify(t, a, &x509.Certificate{
		Subject: subject, NotAfter: notAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}))
}

func (a *authority) server(t testing.TB) tls.Certificate {
	t.Helper()
	return pair(certify(t, a, &x509.Certificate{
		Subject: pkix.Name{CommonName: "broker"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}))
}

func (a *authority) who(certs []*x509.Certificate) (string, bool, error) {
	defer a.asked.Add(1)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	leaf := certs[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return "", false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.Contains(a.revoked, leaf.Subject.CommonName) {
		return "", false, errors.New("the device was revoked")
	}
	return leaf.Subject.CommonName, slices.Contains(leaf.Subject.OrganizationalUnit, "service"), nil
}

func (a *authority) revoke(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked = append(a.revoked, name)
}

// write puts the CA and a server's certificate into dir, under the names that
// Mosquitto looks for.
func (a *authority) write(t testing.TB, dir string) {
	t.Helper()
	s := a.server(t)
	der, err := x509.MarshalPKCS8PrivateKey(s.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ca.pem":     {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		"broker.pem": {Type: "CERTIFICATE", Bytes: s.Certificate[0]},
		"broker.key": {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// list makes a revocation list of devices, with certificates that it makes for
// them.
func (a *authority) list(t testing.TB, names ...string) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	a.known = map[string]tls.Certificate{}
	for _, name := range names {
		a.known[name] = a.client(t, name, time.Now().Add(time.Hour))
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: a.known[name].Leaf.SerialNumber, RevocationTime: l.ThisUpdate,
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// subject is a running broker of either make.
type subject struct {
	*authority
	addr string
	nats *Broker // nil if it is Mosquitto
}

// eachBroker runs a test against ours and against the real Mosquitto.
func eachBroker(t *testing.T, test func(t *testing.T, s *subject)) {
	t.Run("nats", func(t *testing.T) { test(t, startNATS(t, Config{})) })
	t.Run("mosquitto", func(t *testing.T) { test(t, startMosquitto(t)) })
}

// startNATS runs a Broker; the configuration may be empty.
func startNATS(t testing.TB, cfg Config) *subject {
	t.Helper()
	s := &subject{authority: newAuthority(t)}
	cfg.TLS = &tls.Config{Certificates: []tls.Certificate{s.server(t)}}
	cfg.Who = s.who
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Log == nil {
		cfg.Log = quiet(t)
	}
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("end of the broker: %v", err)
		}
	})
	s.nats, s.addr = b, b.Addr().String()
	return s
}

// quiet is a log that shows with -v.
func quiet(t testing.TB) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return slog.New(slog.DiscardHandler)
}

// peer is an MQTT client of a test.
type peer struct {
	mqtt.Client
	got  chan mqtt.Message
	lost chan error
}

// options of a client with that certificate and id, as a device has them.
func (s *subject) options(t testing.TB, id string, cert tls.Certificate) *mqtt.ClientOptions {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.cert)
	c := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	if cert.PrivateKey != nil {
		// Whatever the server asks for, this one is shown.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	o := mqtt.NewClientOptions().AddBroker("ssl://" + s.addr).SetClientID(id).SetTLSConfig(c)
	o.SetConnectTimeout(patient).SetWriteTimeout(patient).SetAutoReconnect(false).SetCleanSession(true).SetOrderMatters(true)
	o.SetProtocolVersion(4)
	return o
}

// dial connects and fails the test if that fails.
func (s *subject) dial(t testing.TB, o *mqtt.ClientOptions) *peer {
	t.Helper()
	p, err := s.try(t, o)
	if err != nil {
		t.Fatalf("%s connects: %v", o.ClientID, err)
	}
	return p
}

func (s *subject) try(t testing.TB, o *mqtt.ClientOptions) (*peer, error) {
	t.Helper()
	p := &peer{got: make(chan mqtt.Message, 1<<12), lost: make(chan error, 16)}
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { p.got <- m })
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { p.lost <- err })
	p.Client = mqtt.NewClient(o)
	token := p.Connect()
	if !token.WaitTimeout(2 * patient) {
		return nil, fmt.Errorf("no answer for %s", 2*patient)
	}
	if err := token.Error(); err != nil {
		return nil, err
	}
	t.Cleanup(func() { p.Disconnect(0) })
	return p, nil
}

// client connects under a name with a good certificate.
func (s *subject) connect(t testing.TB, name string) *peer {
	t.Helper()
	return s.dial(t, s.options(t, name, s.client(t, name, time.Now().Add(time.Hour))))
}

// subscribe returns what the broker granted: 0x80 is a refusal.
func (p *peer) subscribe(t testing.TB, filter string, qos byte) byte {
	t.Helper()
	token := p.Subscribe(filter, qos, nil).(*mqtt.SubscribeToken)
	if !token.WaitTimeout(patient) {
		t.Fatalf("subscribe %s: no answer", filter)
	}
	for _, granted := range token.Result() { // of one filter, its $share taken off
		return granted
	}
	t.Fatalf("subscribe %s: %v", filter, token.Error())
	return 0
}

func (p *peer) publish(t testing.TB, topic string, qos byte, payload string) {
	t.Helper()
	token := p.Publish(topic, qos, false, payload)
	if !token.WaitTimeout(patient) {
		t.Fatalf("publish on %s: no answer", topic)
	}
	if err := token.Error(); err != nil {
		t.Fatalf("publish on %s: %v", topic, err)
	}
}

// expect is the next message, which must be this one.
func (p *peer) expect(t testing.TB, topic, payload string) {
	t.Helper()
	select {
	case m := <-p.got:
		if m.Topic() != topic || string(m.Payload()) != payload {
			t.Fatalf("received %q on %s, want %q on %s", m.Payload(), m.Topic(), payload, topic)
		}
	case <-time.After(patient):
		t.Fatalf("%q on %s never came", payload, topic)
	}
}

// ended waits for the broker to end the connection.
func (p *peer) ended(t testing.TB) {
	t.Helper()
	select {
	case <-p.lost:
	case <-time.After(patient):
		t.Fatal("the broker kept the connection")
	}
}

// until waits for a thing that tells nobody when it happens.
func until(t testing.TB, what string, happened func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patient); !happened(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, patient)
		}
	}
}

func up(device string, kind wire.Kind) string   { return wire.Topic(device, wire.Up, kind) }
func down(device string, kind wire.Kind) string { return wire.Topic(device, wire.Down, kind) }

// reader is the fleet's service, reading what all devices say.
func (s *subject) reader(t testing.TB) *peer {
	t.Helper()
	p := s.connect(t, service)
	for _, kind := range wire.UpKinds {
		if got := p.subscribe(t, wire.AllUp(kind), 1); got != 1 {
			t.Fatalf("the service's subscription to %s: %#x", kind, got)
		}
	}
	return p
}

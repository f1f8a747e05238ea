package uplink

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
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/sightline-edge/sightline/sync/wire"
)

func (f *modelFleet) heardLives(n int) []*wire.Life {
	f.t.Helper()
	var lives []*wire.Life
	eventually(f.t, patient, "life", func() bool {
		f.with(func() { lives = append(lives[:0], f.lives...) })
		return len(lives) >= n
	})
	return lives
}

// TestLife: the fleet is told of each connection's beginning and of its end,
// by the device or by the broker.
func TestLife(t *testing.T) {
	t.Parallel()
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	p := newProxy(t, m.addr)
	j, _ := openJournal(t, t.TempDir())
	cfg := quick(p.addr, j)
	cfg.State = func() *wire.State { return &wire.State{UptimeMs: 5} }
	changed := make(chan struct{}, 1)
	cfg.Changed = changed
	u := start(t, cfg)
	u.drained(patient)
	eventually(t, patient, "a state at once", func() (ok bool) { f.with(func() { ok = len(f.states) == 1 }); return ok })
	changed <- struct{}{}
	eventually(t, patient, "another when it changes", func() (ok bool) { f.with(func() { ok = len(f.states) == 2 }); return ok })
	p.cut("rst")
	f.heardLives(3)
	u.drained(patient)
	if took := u.stop(); took > time.Second {
		t.Errorf("it took %s to stop", took)
	}
	lives := f.heardLives(4)
	first, second := lives[0].GetConnection(), lives[3].GetConnection()
	if first == second || first == 0 || second == 0 {
		t.Errorf("connections are called %d and %d", first, second)
	}
	var ended int
	for i, l := range lives { // the will and the next life may change places
		switch {
		case i == 0 && l.GetOnline(), i == 3 && !l.GetOnline() && l.GetConnection() == second:
		case l.GetConnection() == first && !l.GetOnline():
			ended++
		case l.GetConnection() == second && l.GetOnline():
		default:
			t.Errorf("life %d: %s", i, l)
		}
	}
	if ended != 1 || f.states[0].GetConnection() != first || f.hellos[1].GetConnection() != second {
		t.Errorf("%d wills, state of %d, greeting of %d", ended, f.states[0].GetConnection(), f.hellos[1].GetConnection())
	}
}

// TestStop: it stops within a second, whatever the network does.
func TestStop(t *testing.T) {
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	j, _ := openJournal(t, t.TempDir())
	fill(t, j, 50_000)
	for _, tt := range []struct {
		name    string
		prepare func(p *proxy)
		then    func(p *proxy)
		ready   func(s Stats) bool
	}{
		{"while it drains", func(*proxy) {}, func(*proxy) {}, func(s Stats) bool { return s.Sent > 1000 }},
		{"while nothing passes", func(*proxy) {}, func(p *proxy) { p.cut("half") }, func(s Stats) bool { return s.Sent > 1000 }},
		{"while the broker doesn't answer", func(p *proxy) { p.set(true) }, func(*proxy) {}, nil},
		{"while there is no broker", func(p *proxy) { _ = p.l.Close() }, func(*proxy) {}, func(s Stats) bool { return s.LastError != "" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.setBack(j.Epoch(), 0)
			p := newProxy(t, m.addr)
			tt.prepare(p)
			u := start(t, quick(p.addr, j))
			eventually(t, patient, "it is busy", func() bool {
				if tt.ready == nil {
					return p.connections() > 0
				}
				return tt.ready(u.Stats())
			})
			tt.then(p)
			if took := u.stop(); took > time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestJournalEnds: without a journal there is nothing to do.
func TestJournalEnds(t *testing.T) {
	m := newMosquitto(t)
	newFleet(t, m.addr)
	j, stop := openJournal(t, t.TempDir())
	fill(t, j, 10)
	stop()
	if err := New(quick(m.addr, j)).Run(context.Background()); err == nil || !strings.Contains(err.Error(), "the journal is closed") {
		t.Errorf("it ended with %v", err)
	}
	cfg := quick(m.addr, j)
	cfg.Device = "Press 1"
	if err := New(cfg).Run(context.Background()); err == nil || !strings.Contains(err.Error(), "can't be a device's id") {
		t.Errorf("it ended with %v", err)
	}
}

// answering is what is no good broker.
func answering(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

func connack(c net.Conn, code byte) bool {
	if _, err := packets.ReadPacket(c); err != nil {
		return false
	}
	_, err := c.Write([]byte{0x20, 2, 0, code})
	return err == nil
}

// suback answers the next packet if it asks for topics.
func suback(c net.Conn, granted ...byte) {
	p, err := packets.ReadPacket(c)
	if s, ok := p.(*packets.SubscribePacket); err == nil && ok {
		a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
		a.MessageID, a.ReturnCodes = s.MessageID, granted
		_ = a.Write(c)
	}
}

// TestBadBrokers: none of them hurts, and people are told in words.
func TestBadBrokers(t *testing.T) {
	j, _ := openJournal(t, t.TempDir())
	fill(t, j, 3)
	for _, tt := range []struct {
		want  string
		serve func(net.Conn)
	}{
		{"isn't enrolled there, or was revoked", func(c net.Conn) { connack(c, 5) }},
		{"isn't enrolled there, or was revoked", func(c net.Conn) { connack(c, 4) }},
		{"takes nobody now", func(c net.Conn) { connack(c, 3) }},
		{"sent what is no MQTT packet", func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }},
		{"EOF", func(net.Conn) {}},
		{"doesn't let this device hear the fleet", func(c net.Conn) {
			connack(c, 0)
			suback(c, 0, 0, 0, 0x80)
			_, _ = c.Read(make([]byte, 1))
		}},
		{"sent what is no MQTT packet", func(c net.Conn) {
			connack(c, 0)
			suback(c, 0, 0, 0, 0, 0)
			_, _ = c.Read(make([]byte, 1))
		}},
	} {
		u := start(t, quick(answering(t, tt.serve), j))
		eventually(t, patient, tt.want, func() bool { return u.Stats().LastError != "" })
		eventually(t, patient, tt.want+" in "+u.Stats().LastError, func() bool { return strings.Contains(u.Stats().LastError, tt.want) })
		u.stop()
	}
}

// signed makes a certificate, by itself if there is no parent.
func signed(t *testing.T, parent *tls.Certificate, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-48*time.Hour)
	by, signer := c, any(key)
	if parent != nil {
		by, signer = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func authority(t *testing.T) *tls.Certificate {
	c := signed(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "fleet"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return &c
}

func forClient(t *testing.T, by *tls.Certificate, notAfter time.Time) *tls.Certificate {
	c := signed(t, by, &x509.Certificate{Subject: pkix.Name{CommonName: device}, NotAfter: notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return &c
}

// TestCertificates: over TLS with the real broker. A refused certificate is
// renewed, once, and what is wrong is told in words.
func TestCertificates(t *testing.T) {
	t.Parallel()
	ca, other, dir := authority(t), authority(t), t.TempDir()
	server := signed(t, ca, &x509.Certificate{NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{
		"ca": {Type: "CERTIFICATE", Bytes: ca.Leaf.Raw}, "cert": {Type: "CERTIFICATE", Bytes: server.Leaf.Raw}, "key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := newMosquitto(t, "cafile "+dir+"/ca", "certfile "+dir+"/cert", "keyfile "+dir+"/key", "require_certificate true", "tls_version tlsv1.3")
	good := forClient(t, ca, time.Now().Add(time.Hour))
	j, _ := openJournal(t, t.TempDir())
	for _, tt := range []struct {
		name   string
		first  *tls.Certificate
		roots  *x509.Certificate
		renew  error
		renews bool
		want   string // of LastError
	}{
		{"expired", forClient(t, ca, time.Now().Add(-time.Hour)), ca.Leaf, nil, true, "it has expired"},
		{"expired for good", forClient(t, ca, time.Now().Add(-time.Hour)), ca.Leaf, errors.New("the grace is over"), true, "it gets no new one: the grace is over"},
		{"another fleet's", forClient(t, other, time.Now().Add(time.Hour)), ca.Leaf, nil, true, "doesn't know the authority of this device's certificate"},
		{"none", new(tls.Certificate), ca.Leaf, nil, true, "this device has none: enrol it"},
		{"the broker is another fleet's", good, other.Leaf, nil, false, "isn't of the fleet that this device is enrolled in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var now atomic.Pointer[tls.Certificate]
			now.Store(tt.first)
			roots := x509.NewCertPool()
			roots.AddCert(tt.roots)
			cfg := quick(m.addr, j)
			cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return now.Load(), nil }}
			var renewed atomic.Int32
			cfg.Renew = func(context.Context) error {
				renewed.Add(1)
				if tt.renew == nil {
					now.Store(good)
				}
				return tt.renew
			}
			u := start(t, cfg)
			eventually(t, patient, tt.want, func() bool { return strings.Contains(u.Stats().LastError, tt.want) })
			if tt.renews {
				eventually(t, patient, "it renews", func() bool { return renewed.Load() > 0 })
			}
			if tt.renews && tt.renew == nil {
				eventually(t, patient, "the new certificate is taken", func() bool { return u.Stats().Connected })
			}
			u.stop()
			if n := renewed.Load(); n > 1 || (n == 1) != tt.renews {
				t.Errorf("renewed %d times", n)
			}
			t.Log(u.Stats().LastError)
		})
	}
}

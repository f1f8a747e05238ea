package ingest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		a.key = key
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestTLS: with its certificate, as the access list names it, the ingester
// hears and answers devices; without, the broker has nothing to do with it.
func TestTLS(t *testing.T) {
	var ca authority
	ca.issue(t, "test authority")
	server, client := ca.issue(t, "broker"), ca.issue(t, "ingest")
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	acl := filepath.Join(dir, "acl")
	if err := os.WriteFile(acl, []byte("user ingest\ntopic readwrite sightline/#\npattern readwrite sightline/v1/+/%u/#\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m := broker(t, "cafile "+write("ca.pem", "CERTIFICATE", ca.cert.Raw), "certfile "+write("broker.pem", "CERTIFICATE", server.Certificate[0]),
		"keyfile "+write("broker.key", "PRIVATE KEY", key), "require_certificate true", "use_identity_as_username true", "acl_file "+acl)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	with := func(c tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS13}
	}
	f := startTLS(t, filepath.Join(dir, "fleet.db"), m.addr, with(client), nil, "dev-a")
	d := connectTLS(t, m, "dev-a", with(ca.issue(t, "dev-a")))
	d.send(t, wire.KindEvents, batch(t, 1, 1, 3))
	if a := d.ack(t); a.GetWatermark() != 3 {
		t.Errorf("got %v", a)
	}
	f.stop()
	var other authority
	other.issue(t, "another authority")
	for _, c := range []*tls.Config{with(other.issue(t, "ingest")), {RootCAs: roots}} {
		in := New(Config{Store: f.store, Broker: m.addr, TLS: c, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := in.connection(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("with a wrong certificate: %v", err)
		}
		cancel()
	}
}

// TestDenied: a broker that denies the subscription, which paho takes for a
// success, isn't one that this ingester is connected to.
func TestDenied(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // a broker that is just that
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			for p, err := packets.ReadPacket(c); err == nil; p, err = packets.ReadPacket(c) {
				var answer packets.ControlPacket
				switch p := p.(type) {
				case *packets.ConnectPacket:
					answer = packets.NewControlPacket(packets.Connack)
				case *packets.SubscribePacket:
					suback := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
					suback.MessageID = p.MessageID
					for range p.Topics {
						suback.ReturnCodes = append(suback.ReturnCodes, 0x80)
					}
					answer = suback
				}
				if answer != nil && answer.Write(c) != nil {
					break
				}
			}
			_ = c.Close()
		}
	}()
	s, err := store.Open(filepath.Join(t.TempDir(), "fleet.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := New(Config{Store: s, Broker: l.Addr().String(), Log: slog.New(slog.DiscardHandler)})
	if err := in.connection(t.Context()); err == nil || !strings.Contains(err.Error(), "denies sightline/v1/") {
		t.Errorf("got %v", err)
	}
}

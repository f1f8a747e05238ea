package broker

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"strings"
	"testing"
	"time"
)

// TestStrangersAreRefused: who has no certificate of ours that is valid now
// gets nowhere, and the service hears nothing of it.
func TestStrangersAreRefused(t *testing.T) {
	inAnHour := time.Now().Add(time.Hour)
	eachBroker(t, func(t *testing.T, s *subject) {
		clientAuth := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		strangers := map[string]tls.Certificate{
			"another CA": newAuthority(t).client(t, deviceA, inAnHour),
			"self-signed with the right name": pair(certify(t, nil, &x509.Certificate{
				Subject: pkix.Name{CommonName: deviceA}, NotAfter: inAnHour, ExtKeyUsage: clientAuth,
			})),
			"expired": s.client(t, deviceA, time.Now().Add(-time.Minute)),
			"not yet valid": pair(certify(t, s.authority, &x509.Certificate{
				Subject: pkix.Name{CommonName: deviceA}, NotBefore: inAnHour, NotAfter: inAnHour.Add(time.Hour), ExtKeyUsage: clientAuth,
			})),
			"a server's": s.server(t),
			"none":       {},
			// The right certificate, and a key that isn't its own.
			"stolen certificate": {Certificate: s.client(t, deviceA, inAnHour).Certificate, PrivateKey: s.key},
		}
		for name, cert := range strangers {
			_, err := s.try(t, s.options(t, deviceA, cert))
			if err == nil {
				t.Errorf("%s: it was let in", name)
			} else if s.nats != nil && !strings.Contains(err.Error(), "remote error: tls:") {
				t.Errorf("%s: refused after the handshake: %v", name, err)
			}
		}
		s.connect(t, deviceA) // the right one is let in after all that
	})
}

// TestOldTLSIsRefused: nothing below TLS 1.3.
func TestOldTLSIsRefused(t *testing.T) {
	eachBroker(t, func(t *testing.T, s *subject) {
		o := s.options(t, deviceA, s.client(t, deviceA, time.Now().Add(time.Hour)))
		o.TLSConfig.MinVersion, o.TLSConfig.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		if _, err := s.try(t, o); err == nil {
			t.Error("TLS 1.2 was accepted")
		}
	})
}

// TestClientIDIsTheCertificates: nobody takes another's session. Ours refuses
// the wrong id; Mosquitto replaces it.
func TestClientIDIsTheCertificates(t *testing.T) {
	eachBroker(t, func(t *testing.T, s *subject) {
		a := s.connect(t, deviceA)
		a.subscribe(t, down(deviceA, "ack"), 0)
		cert := s.client(t, deviceB, time.Now().Add(time.Hour))
		for _, id := range []string{deviceA, "", deviceB + "-2", "x"} {
			b, err := s.try(t, s.options(t, id, cert).SetCleanSession(true))
			if (err == nil) != (s.nats == nil) {
				t.Errorf("%s connects as %q: %v", deviceB, id, err)
			}
			if b != nil {
				b.Disconnect(0)
			}
		}
		// a's connection and its subscription are as they were.
		s.reader(t).publish(t, down(deviceA, "ack"), 0, "still there")
		a.expect(t, down(deviceA, "ack"), "still there")
		if !a.IsConnectionOpen() {
			t.Error("the device lost its connection to another one")
		}
	})
}

// TestServiceIDs: a service may have several connections at ours.
func TestServiceIDs(t *testing.T) {
	s := startNATS(t, Config{})
	cert := s.client(t, service, time.Now().Add(time.Hour))
	first := s.dial(t, s.options(t, service, cert))
	second := s.dial(t, s.options(t, service+"-2", cert))
	if !first.IsConnectionOpen() || !second.IsConnectionOpen() {
		t.Error("two connections of a service don't last beside each other")
	}
	for _, id := range []string{"other", service + "2", deviceA} {
		if _, err := s.try(t, s.options(t, id, cert)); err == nil {
			t.Errorf("the service connected as %q", id)
		}
	}
}

// TestTakeOver: a device that comes again, its old connection half open, gets
// its place.
func TestTakeOver(t *testing.T) {
	eachBroker(t, func(t *testing.T, s *subject) {
		cert := s.client(t, deviceA, time.Now().Add(time.Hour))
		fleet := s.reader(t)
		first := s.dial(t, s.options(t, deviceA, cert))
		second := s.dial(t, s.options(t, deviceA, cert))
		first.ended(t)
		second.publish(t, up(deviceA, "ev"), 1, "second")
		fleet.expect(t, up(deviceA, "ev"), "second")
	})
}

// TestConnectionEndsWithItsCertificate: an open connection isn't a way around
// the certificate's end. (Mosquitto keeps it.)
func TestConnectionEndsWithItsCertificate(t *testing.T) {
	t.Parallel()
	s := startNATS(t, Config{})
	s.dial(t, s.options(t, deviceA, s.client(t, deviceA, time.Now().Add(2*time.Second)))).ended(t)
}

// TestRevokedWhileConnecting: between the handshake and CONNECT nobody slips
// through a cut that found no name to cut.
func TestRevokedWhileConnecting(t *testing.T) {
	s := startNATS(t, Config{})
	c := s.line(t, deviceA)
	// A first byte comes back once the server has finished its handshake too.
	if _, err := c.Write([]byte("\x10")); err != nil {
		t.Fatal(err)
	}
	until(t, "the server has seen the certificate", func() bool { return s.asked.Load() > 0 })
	s.revoke(deviceA)
	s.nats.Cut(deviceA)
	if _, err := c.Write([]byte("\x13\x00\x04MQTT\x04\x02\x00\x1e\x00\x07" + deviceA)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if string(answer) != "\x20\x02\x00\x05" {
		t.Errorf("the answer is %q, %v, want CONNACK that says not authorized", answer, err)
	}
}

// TestRevocationList: Mosquitto refuses whom the list names, and nobody else.
func TestRevocationList(t *testing.T) {
	s := startMosquitto(t, deviceA)
	if _, err := s.try(t, s.options(t, deviceA, s.known[deviceA])); err == nil {
		t.Error("a revoked device was let in")
	}
	s.connect(t, deviceB)
}

// TestCut: a revoked device is out within a second and doesn't come back.
func TestCut(t *testing.T) {
	s := startNATS(t, Config{})
	cert := s.client(t, deviceA, time.Now().Add(time.Hour))
	a, b := s.dial(t, s.options(t, deviceA, cert)), s.connect(t, deviceB)
	if c := s.nats.Connected(); len(c) != 2 || time.Since(c[deviceA]) > time.Minute {
		t.Fatalf("connected: %v", c)
	}
	s.revoke(deviceA)
	start := time.Now()
	s.nats.Cut(deviceA)
	a.ended(t)
	if took := time.Since(start); took > time.Second {
		t.Errorf("the cut took %s", took)
	}
	if _, err := s.try(t, s.options(t, deviceA, cert)); err == nil {
		t.Error("the revoked device came back")
	}
	if !b.IsConnectionOpen() {
		t.Error("another device lost its connection")
	}
	if _, there := s.nats.Connected()[deviceA]; there {
		t.Error("the revoked device is still listed")
	}
	s.nats.Cut("nobody")
}

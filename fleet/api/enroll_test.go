package api

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
)

// newKey is a device's key with its request for a certificate.
func newKey(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The whole way: an operator makes a token, a device comes in with it, renews
// over TLS, and an admin revokes it.
func TestFromTokenToRevocation(t *testing.T) {
	f := newFleet(t)
	w := f.ask(auth.Operator, "POST", "/v1/enroll-tokens", `{"group":"line-a","life_s":600}`)
	token := body[struct{ Token, Group string }](t, w)
	if w.Code != 200 || token.Group != "line-a" || !strings.HasPrefix(token.Token, "sle1-") {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	key, csr := newKey(t)
	w = f.ask(0, "POST", wire.EnrollPath, asJSON(t, wire.EnrollRequest{Token: token.Token, CSR: csr, StationLabel: "Hall 1"}))
	answer := body[wire.EnrollAnswer](t, w)
	if w.Code != 200 || answer.Group != "line-a" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	_, other := newKey(t)
	w = f.ask(0, "POST", wire.EnrollPath, asJSON(t, wire.EnrollRequest{Token: token.Token, CSR: other}))
	if w.Code != 403 || !strings.Contains(w.Body.String(), "has been used") {
		t.Errorf("the token once more: %d %s", w.Code, w.Body)
	}
	if d := body[Device](t, f.ask(auth.Viewer, "GET", "/v1/devices/"+answer.Device)); d.Label != "Hall 1" || d.Presence != "never" || d.Certificate.NotAfter == nil {
		t.Errorf("%+v", d)
	}

	server := httptest.NewUnstartedServer(f.Handler())
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	renew := func(certs ...tls.Certificate) (int, string) {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = certs
		client := &http.Client{Transport: transport}
		defer client.CloseIdleConnections()
		_, csr := newKey(t)
		r, err := client.Post(server.URL+wire.RenewPath, "application/json", strings.NewReader(asJSON(t, wire.RenewRequest{CSR: csr})))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(text)
	}
	block, _ := pem.Decode([]byte(answer.Certificate))
	own := tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
	if status, text := renew(own); status != 200 || !strings.Contains(text, `"device":"`+answer.Device+`"`) {
		t.Errorf("renewal: %d %s", status, text)
	}
	if status, text := renew(); status != 401 {
		t.Errorf("without a certificate: %d %s", status, text)
	}
	if status, text := renew(server.TLS.Certificates[0]); status != 403 {
		t.Errorf("with a stranger's: %d %s", status, text)
	}
	w = f.ask(auth.Admin, "POST", "/v1/devices/"+answer.Device+"/revoke", `{"reason":"stolen"}`)
	if d := body[Device](t, w); w.Code != 200 || d.Presence != "revoked" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if status, text := renew(own); status != 403 || !strings.Contains(text, "has been revoked") {
		t.Errorf("renewal after it was revoked: %d %s", status, text)
	}
}

// Guesses at tokens are held up by their address, for a few seconds, and nobody
// else is. What can't be one of this fleet's counts for nothing: a device that
// was given another fleet's token mustn't hold up the hall.
func TestGuessingTokens(t *testing.T) {
	f := newFleet(t)
	_, csr := newKey(t)
	good, err := f.enroll.Token(t.Context(), "line-a", 0)
	f.must(err)
	enrol := func(from string, token wire.Token) *httptest.ResponseRecorder {
		text := asJSON(t, wire.EnrollRequest{Token: token.String(), CSR: csr})
		r := httptest.NewRequestWithContext(context.Background(), "POST", "http://localhost"+wire.EnrollPath, bytes.NewReader([]byte(text)))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = from
		return f.serve(r)
	}
	for range 250 {
		if w := enrol("192.0.2.1:99", wire.Token{}); w.Code != 403 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	guess := wire.Token{CA: good.CA}
	for range 200 {
		if w := enrol("192.0.2.1:99", guess); w.Code != 403 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	w := enrol("192.0.2.1:100", guess)
	if wait, err := strconv.Atoi(w.Header().Get("Retry-After")); w.Code != 429 || err != nil || wait > 5 {
		t.Errorf("after many guesses: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := enrol("192.0.2.2:99", guess); w.Code != 403 {
		t.Errorf("somebody else: %d %s", w.Code, w.Body)
	}
	if w := enrol("192.0.2.3:99", good); w.Code != 200 {
		t.Errorf("a good one: %d %s", w.Code, w.Body)
	}
	_, csr = newKey(t)
	for range 250 { // it was used, so whoever sends it knew it
		if w := enrol("192.0.2.3:99", good); w.Code != 403 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}

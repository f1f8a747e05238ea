package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/sightline-edge/sightline/fleet/rollout"
	"github.com/sightline-edge/sightline/sync/wire"
)

// TestWhoMayProve: only a device that the fleet lets in, with its own key.
func TestWhoMayProve(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fleet")
	ca, _, err := Init(t.Context(), dir, []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(Config{Dir: dir, HTTPS: "127.0.0.1:0", MQTT: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // its store is closed below
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	token, err := f.enroll.Token(t.Context(), "line1", 0)
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.enroll.Enroll(t.Context(), wire.EnrollRequest{
		Token: token.String(), CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(a.Certificate))
	name, public, err := f.verify(block.Bytes)
	if err != nil || name != a.Device || !key.PublicKey.Equal(public) {
		t.Errorf("a device: %s, %v", name, err)
	}
	service, err := ca.Client(Service, f.store.Now())
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), block.Bytes...)
	flipped[len(flipped)-3] ^= 1
	for what, der := range map[string][]byte{"a service": service.Certificate[0], "the authority itself": service.Certificate[1], "nothing": nil, "a flipped bit": flipped} {
		if name, _, err := f.verify(der); err == nil || errors.Is(err, rollout.ErrLater) {
			t.Errorf("%s: %q, %v", what, name, err)
		}
	}
	if _, err := f.lookup("caps", ""); !errors.Is(err, rollout.ErrUnknown) {
		t.Errorf("a bundle that isn't there: %v", err)
	}
	if err := f.enroll.Revoke(t.Context(), a.Device); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.verify(block.Bytes); err == nil || errors.Is(err, rollout.ErrLater) {
		t.Errorf("a revoked device: %v", err)
	}
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.verify(block.Bytes); !errors.Is(err, rollout.ErrLater) {
		t.Errorf("without a store: %v", err)
	}
}

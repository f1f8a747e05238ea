package identity

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"testing"
)

func TestSignedByTheCertificatesKey(t *testing.T) {
	id, _ := newFleet(t).enrolled()
	message := []byte("sightline proof")
	sig, der, err := id.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil || cert.Subject.CommonName != id.Device() {
		t.Fatalf("certificate of %v, %v; the device is %s", cert, err, id.Device())
	}
	for text, want := range map[string]bool{string(message): true, "another": false} {
		sum := sha256.Sum256([]byte(text))
		if got := ecdsa.VerifyASN1(cert.PublicKey.(*ecdsa.PublicKey), sum[:], sig); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

package enroll

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"
	"time"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// forge signs what no CA of ours would.
func forge(t *testing.T, template, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	t.Helper()
	template.SerialNumber = serial()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func clientTemplate(ca *CA, subject pkix.Name) *x509.Certificate {
	return &x509.Certificate{
		Subject: subject, NotBefore: ca.cert.NotBefore, NotAfter: ca.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
}

const someDevice = "dabcdefghij"

func TestVerify(t *testing.T) {
	ca, _ := newTestCA(t)
	now := time.Now()
	key := newKey(t)
	device, err := ca.device(someDevice, key.Public(), now, DefaultLife)
	if err != nil {
		t.Fatal(err)
	}
	service, err := ca.Client("ingest", now)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cert    *x509.Certificate
		at      time.Time
		name    string
		service bool
	}{
		{device, now, someDevice, false},
		{device, time.Unix(0, 0), someDevice, false}, // by a clock that was never set
		{device, device.NotAfter, someDevice, false},
		{service.Leaf, now, "ingest", true},
	} {
		name, isService, err := ca.Verify([]*x509.Certificate{c.cert}, c.at)
		if err != nil || name != c.name || isService != c.service {
			t.Errorf("at %s: %q, service %v, %v", c.at, name, isService, err)
		}
	}
	if device.SerialNumber.BitLen() != 128 || device.IsCA || !device.NotBefore.Equal(ca.cert.NotBefore) {
		t.Errorf("serial of %d bits, CA %v, from %s", device.SerialNumber.BitLen(), device.IsCA, device.NotBefore)
	}
}

func TestForgedCertificates(t *testing.T) {
	ca, _ := newTestCA(t)
	now := time.Now()
	key := newKey(t)
	device, err := ca.device(someDevice, key.Public(), now, DefaultLife)
	if err != nil {
		t.Fatal(err)
	}
	twin, twinDER, err := newCA(now)
	if err != nil {
		t.Fatal(err)
	}
	twinCert, err := x509.ParseCertificate(twinDER)
	if err != nil {
		t.Fatal(err)
	}
	sameName := clientTemplate(ca, ca.cert.Subject)
	sameName.IsCA, sameName.KeyUsage, sameName.ExtKeyUsage, sameName.SubjectKeyId = true, x509.KeyUsageCertSign, nil, ca.cert.SubjectKeyId
	imposter := forge(t, sameName, sameName, twin.Public(), twin)
	between := clientTemplate(ca, pkix.Name{CommonName: "between"})
	between.IsCA, between.KeyUsage = true, x509.KeyUsageCertSign
	intermediate := forge(t, between, ca.cert, key.Public(), ca.key)
	named := func(subject pkix.Name) *x509.Certificate {
		return forge(t, clientTemplate(ca, subject), ca.cert, key.Public(), ca.key)
	}
	serverOnly := clientTemplate(ca, pkix.Name{CommonName: someDevice})
	serverOnly.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	noUsage := clientTemplate(ca, pkix.Name{CommonName: someDevice})
	noUsage.ExtKeyUsage = nil
	subCA := clientTemplate(ca, pkix.Name{CommonName: someDevice})
	subCA.IsCA, subCA.KeyUsage = true, x509.KeyUsageCertSign
	selfMade := clientTemplate(ca, pkix.Name{CommonName: someDevice})

	for _, c := range []struct {
		name  string
		certs []*x509.Certificate
		at    time.Time
	}{
		{"none", nil, now},
		{"self-made of the same name", []*x509.Certificate{forge(t, selfMade, selfMade, key.Public(), key), ca.cert}, now},
		{"another fleet's", []*x509.Certificate{forge(t, clientTemplate(ca, device.Subject), twinCert, key.Public(), twin), twinCert}, now},
		{"a CA of the same name", []*x509.Certificate{forge(t, clientTemplate(ca, device.Subject), imposter, key.Public(), twin), imposter, ca.cert}, now},
		{"signed by a device", []*x509.Certificate{forge(t, clientTemplate(ca, pkix.Name{CommonName: "dzzzzzzzzzz"}), device, twin.Public(), key), device, ca.cert}, now},
		{"by an intermediate", []*x509.Certificate{forge(t, clientTemplate(ca, device.Subject), intermediate, twin.Public(), key), intermediate, ca.cert}, now},
		{"the CA itself", []*x509.Certificate{ca.cert}, now},
		{"a CA that is called as a device", []*x509.Certificate{forge(t, subCA, ca.cert, key.Public(), ca.key)}, now},
		{"for servers only", []*x509.Certificate{forge(t, serverOnly, ca.cert, key.Public(), ca.key)}, now},
		{"ended", []*x509.Certificate{device}, device.NotAfter.Add(time.Second)},
		{"no device's name", []*x509.Certificate{named(pkix.Name{CommonName: "a/+/#"})}, now},
		{"no name", []*x509.Certificate{named(pkix.Name{})}, now},
		{"another unit", []*x509.Certificate{named(pkix.Name{CommonName: someDevice, OrganizationalUnit: []string{"admin"}})}, now},
		{"two units", []*x509.Certificate{named(pkix.Name{CommonName: someDevice, OrganizationalUnit: []string{"service", "x"}})}, now},
		{"a service of no name", []*x509.Certificate{named(pkix.Name{OrganizationalUnit: []string{"service"}})}, now},
	} {
		name, _, err := ca.Verify(c.certs, c.at)
		if !errors.Is(err, ErrPeer) || name != "" {
			t.Errorf("%s: let in as %q, %v", c.name, name, err)
		}
	}
	if _, err := ca.Client("../ingest", now); err == nil {
		t.Error("a service may be called ../ingest")
	}
}

func FuzzReadCSR(f *testing.F) {
	f.Add(csr(f, newKey(f)))
	f.Add("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		public, err := readCSR(text)
		if (public == nil) != errors.Is(err, ErrCSR) {
			t.Errorf("key %v, error %v", public, err)
		}
		if public != nil && checkKey(public) != nil {
			t.Errorf("a key of type %T got through", public)
		}
	})
}

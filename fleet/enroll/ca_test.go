package enroll

import (
	"crypto/sha256"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/internal/whole"
)

var names = []string{"fleet.example", "127.0.0.1", "::1"}

func newTestCA(t *testing.T) (*CA, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	ca, err := Init(dir, names)
	if err != nil {
		t.Fatal(err)
	}
	return ca, dir
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

func TestInit(t *testing.T) {
	ca, dir := newTestCA(t)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]os.FileMode{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		modes[e.Name()] = info.Mode()
	}
	want := map[string]os.FileMode{KeyFile: 0o600, CertFile: 0o644, NamesFile: 0o644}
	if d := cmp.Diff(want, modes); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	c := ca.cert
	if !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("IsCA %v, MaxPathLen %d %v, KeyUsage %b", c.IsCA, c.MaxPathLen, c.MaxPathLenZero, c.KeyUsage)
	}
	if c.SerialNumber.BitLen() != 128 || !c.NotAfter.Equal(c.NotBefore.AddDate(20, 0, 0)) {
		t.Errorf("serial of %d bits, from %s to %s", c.SerialNumber.BitLen(), c.NotBefore, c.NotAfter)
	}
	again, err := OpenCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Fingerprint() != sha256.Sum256(c.Raw) || !slices.Equal(again.Names(), names) || !ca.key.Equal(again.key) {
		t.Errorf("opened again it is another: %v", again.Names())
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	for _, name := range []string{KeyFile, CertFile} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Init(dir, names)
		wantError(t, err, name+" is there already", dir)
		if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
			t.Errorf("%s is now %q, %v", name, text, err)
		}
	}
	_, dir := newTestCA(t)
	if err := whole.Create(filepath.Join(dir, KeyFile), []byte("mine"), 0o600); err == nil {
		t.Error("of two that make a CA at once the second overwrote the key")
	}
}

func TestInitCutShort(t *testing.T) {
	_, dir := newTestCA(t)
	if err := os.Remove(filepath.Join(dir, KeyFile)); err != nil {
		t.Fatal(err)
	}
	_, err := OpenCA(dir)
	wantError(t, err, "ca.pem is there without its ca.key", "restore the key from a backup")
	if err := os.Remove(filepath.Join(dir, CertFile)); err != nil { // names alone are no CA
		t.Fatal(err)
	}
	if ca, err := Init(dir, []string{"other.example"}); err != nil || !slices.Equal(ca.Names(), []string{"other.example"}) {
		t.Errorf("%v", err)
	}
}

// TestInitWithAClockNeverSet: the clock of a bubble begins in 2000.
func TestInitWithAClockNeverSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := Init(t.TempDir(), names)
		wantError(t, err, "this machine's clock says 2000-01-01, set it first")
	})
}

func TestBadNames(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, "the server has no name"},
		{[]string{"*.example"}, `name "*.example" is neither`},
		{[]string{"https://fleet"}, "is neither"},
		{[]string{"fe80::1%eth0"}, "is neither"},
		{[]string{"a b"}, "is neither"},
		{[]string{"-a"}, "is neither"},
		{[]string{strings.Repeat("a", 64)}, "is neither"},
		{[]string{strings.Repeat("a.", 127) + "a"}, "is neither"},
	} {
		_, err := CheckNames(c.names)
		wantError(t, err, c.want)
	}
	got, err := CheckNames([]string{"Fleet.Example.", "::ffff:10.0.0.1", "fleet.example"})
	if err != nil || !slices.Equal(got, []string{"fleet.example", "10.0.0.1"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestDamagedCA(t *testing.T) {
	_, other := newTestCA(t)
	for _, c := range []struct {
		name   string
		damage func(dir string) error
		want   []string
	}{
		{"readable key", func(dir string) error { return os.Chmod(filepath.Join(dir, KeyFile), 0o640) },
			[]string{"others may read or write the key (mode 0640)", "chmod 600 "}},
		{"key of another", func(dir string) error {
			text, err := os.ReadFile(filepath.Join(other, KeyFile))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, KeyFile), text, 0o600)
		}, []string{"ca.key and ca.pem don't belong together"}},
		{"half a key", func(dir string) error { return os.Truncate(filepath.Join(dir, KeyFile), 100) },
			[]string{`read ca.key: it isn't one PEM block "PRIVATE KEY"`}},
		{"empty certificate", func(dir string) error { return os.Truncate(filepath.Join(dir, CertFile), 0) },
			[]string{"read ca.pem: it isn't one PEM block"}},
		{"no names", func(dir string) error { return os.Truncate(filepath.Join(dir, NamesFile), 0) },
			[]string{"read names: the server has no name"}},
		{"names gone", func(dir string) error { return os.Remove(filepath.Join(dir, NamesFile)) }, []string{"names: no such file"}},
		{"all gone", os.RemoveAll, []string{"no such file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, dir := newTestCA(t)
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			_, err := OpenCA(dir)
			wantError(t, err, append(c.want, "open the CA in "+dir)...)
		})
	}
}

// TestServerCertificate: for every name, by clocks a year behind too, with the
// CA sent along, and not so long that browsers refuse it.
func TestServerCertificate(t *testing.T) {
	ca, _ := newTestCA(t)
	now := ca.cert.NotBefore.AddDate(5, 0, 0)
	conf, err := ca.Server(now)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := conf.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(cert.Certificate) != 2 || !slices.Equal(cert.Certificate[1], ca.cert.Raw) {
		t.Error("the CA isn't sent behind the server's certificate")
	}
	leaf := cert.Leaf
	if span := leaf.NotAfter.Sub(leaf.NotBefore); span > 398*24*time.Hour {
		t.Errorf("it spans %s: browsers refuse that", span)
	}
	for _, name := range names {
		for _, at := range []time.Time{now, now.AddDate(0, -11, 0), now.Add(29 * 24 * time.Hour)} {
			opts := x509.VerifyOptions{Roots: ca.pool, DNSName: name, CurrentTime: at}
			if _, err := leaf.Verify(opts); err != nil {
				t.Errorf("%s at %s: %v", name, at, err)
			}
		}
	}
	if err := leaf.VerifyHostname("other.example"); err == nil {
		t.Error("it is good for any name")
	}
	if _, _, err := ca.Verify([]*x509.Certificate{leaf}, now); err == nil {
		t.Error("a server's certificate lets a client in")
	}
}

func TestServerCertificateIsMadeAnew(t *testing.T) {
	ca, _ := newTestCA(t)
	synctest.Test(t, func(t *testing.T) { // the machine's clock stands in 2000, the fleet's doesn't
		conf, err := ca.Server(ca.cert.NotBefore.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		serial := func() string {
			cert, err := conf.GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			if end := ca.cert.NotBefore.Add(time.Hour).Add(time.Since(begin)); !cert.Leaf.NotAfter.After(end) {
				t.Errorf("it ended on %s, and it is %s", cert.Leaf.NotAfter, end)
			}
			return serialText(cert.Leaf.SerialNumber)
		}
		first := serial()
		time.Sleep(ServerLife/2 - time.Minute)
		if serial() != first {
			t.Error("it was made anew before half its life was over")
		}
		time.Sleep(2 * time.Minute)
		got := make(chan string)
		for range 8 {
			go func() { got <- serial() }()
		}
		second := <-got
		for range 7 {
			if s := <-got; s != second || s == first {
				t.Errorf("after half its life: %s, then %s, then %s", first, second, s)
			}
		}
	})
}

// begin is when every bubble's clock begins.
var begin = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// TestServerCertificateAfterAWrongClock: one that was made while the clock was
// ten years ahead isn't kept when the clock is set.
func TestServerCertificateAfterAWrongClock(t *testing.T) {
	ca, _ := newTestCA(t)
	s := &server{ca: ca, base: time.Now(), begun: time.Now()}
	if _, err := s.certificate(); err != nil {
		t.Fatal(err)
	}
	wrong, err := ca.Leaf(time.Now().AddDate(10, 0, 0), ServerLife)
	if err != nil {
		t.Fatal(err)
	}
	s.leaf, s.issued = &wrong, time.Now().AddDate(10, 0, 0)
	cert, err := s.certificate()
	if err != nil || cert.Leaf.NotBefore.After(time.Now()) {
		t.Errorf("it begins on %s, %v", cert.Leaf.NotBefore, err)
	}
}

func TestEndedCA(t *testing.T) {
	ca, _ := newTestCA(t)
	near := ca.cert.NotAfter.Add(-time.Hour)
	leaf, err := ca.Leaf(near, ServerLife)
	if err != nil || !leaf.Leaf.NotAfter.Equal(ca.cert.NotAfter) {
		t.Errorf("an hour before the CA's end: %v, %v", leaf.Leaf, err)
	}
	_, err = ca.Leaf(ca.cert.NotAfter, ServerLife)
	wantError(t, err, "the CA ended on "+ca.cert.NotAfter.Format(time.DateOnly))
}

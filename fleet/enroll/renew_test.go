package enroll

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

func (f fleet) renewal(peer []*x509.Certificate) (*wire.EnrollAnswer, error) {
	f.t.Helper()
	return f.Renew(f.t.Context(), peer, wire.RenewRequest{CSR: csr(f.t, newKey(f.t))})
}

// TestRenew: with any of the device's certificates, not just the newest, as
// the answer with that may have been lost.
func TestRenew(t *testing.T) {
	ca, _ := newTestCA(t)
	f := newFleet(t, ca, Config{MQTT: "broker.example:8884"})
	first, old := f.device()
	for range 3 {
		answer, err := f.renewal(old)
		if err != nil || answer.Device != first.Device || answer.Group != "line-4" || answer.MQTT != "broker.example:8884" {
			t.Fatalf("answered %+v, %v", answer, err)
		}
		d, err := f.store.Device(t.Context(), first.Device)
		if serial := serialText(chain(t, answer)[0].SerialNumber); err != nil || d.CertSerial != serial {
			t.Errorf("the store has serial %s, the newest is %s, %v", d.CertSerial, serial, err)
		}
		if who, _, err := f.Who(chain(t, answer)); err != nil || who != first.Device {
			t.Errorf("the new certificate is %q's, %v", who, err)
		}
	}
}

func TestRenewAfterTheEnd(t *testing.T) {
	ca, _ := newTestCA(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, ca, Config{Grace: 7 * 24 * time.Hour})
		_, old := f.device()
		time.Sleep(old[0].NotAfter.Sub(f.store.Now()) + 7*24*time.Hour - time.Minute)
		if _, _, err := f.Who(old); !errors.Is(err, ErrPeer) {
			t.Errorf("the broker lets an ended certificate in: %v", err)
		}
		answer, err := f.renewal(old)
		if err != nil {
			t.Fatalf("within the grace: %v", err)
		}
		if _, _, err := f.Who(chain(t, answer)); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		_, err = f.renewal(old)
		if !errors.Is(err, ErrGrace) {
			t.Errorf("beyond the grace: %v", err)
		}
		wantError(t, err, "enrol the device anew with a new token: it ended on")
	})
}

// TestFleetsClock: a fleet whose clock stands before its own CA, or was ten
// years ahead when the CA was made or the device came, still lets devices in.
func TestFleetsClock(t *testing.T) {
	for name, made := range map[string]time.Time{"behind": time.Now(), "far behind": time.Now().AddDate(10, 0, 0)} {
		t.Run(name, func(t *testing.T) {
			ca, err := initAt(t.TempDir(), names, made)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) { // whose clock begins in 2000
				f := newFleet(t, ca, Config{})
				answer, old := f.device()
				if life := answer.NotAfter.Sub(answer.Issued).Round(time.Minute); life != DefaultLife {
					t.Errorf("the certificate lasts %s", life)
				}
				if _, _, err := f.Who(old); err != nil {
					t.Error(err)
				}
				if _, err := f.renewal(old); err != nil {
					t.Error(err)
				}
				if _, err := ca.Server(f.store.Now()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestRenewRefused(t *testing.T) {
	ca, _ := newTestCA(t)
	otherCA, _ := newTestCA(t)
	f, other := newFleet(t, ca, Config{}), newFleet(t, otherCA, Config{})
	answer, own := f.device()
	_, strange := other.device()
	service, err := ca.Client("ingest", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := ca.device("dunknownaaa", newKey(t).Public(), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	template := clientTemplate(ca, pkix.Name{CommonName: answer.Device})
	selfMade := forge(t, template, template, key.Public(), key)
	server, err := ca.Leaf(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	template = clientTemplate(ca, pkix.Name{CommonName: answer.Device})
	template.NotBefore, template.NotAfter = time.Now().AddDate(-9, 0, 0), time.Now().AddDate(-8, 0, 0)
	oldForgery := forge(t, template, template, key.Public(), key)
	for _, c := range []struct {
		name string
		peer []*x509.Certificate
		want error
	}{
		{"no certificate", nil, ErrPeer},
		{"another fleet's device", strange, ErrPeer},
		{"self-made of the same name", []*x509.Certificate{selfMade}, ErrPeer},
		{"self-made with ours behind it", append([]*x509.Certificate{selfMade}, own...), ErrPeer},
		{"self-made and ended long ago", []*x509.Certificate{oldForgery}, ErrPeer},
		{"a service's", []*x509.Certificate{service.Leaf}, ErrPeer},
		{"the server's", []*x509.Certificate{server.Leaf}, ErrPeer},
		{"a device that the fleet forgot", []*x509.Certificate{unknown}, ErrUnknown},
	} {
		if _, err := f.renewal(c.peer); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := f.Renew(t.Context(), own, wire.RenewRequest{CSR: "none"}); !errors.Is(err, ErrCSR) {
		t.Errorf("no request: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	ca, _ := newTestCA(t)
	var cut []string
	f := newFleet(t, ca, Config{Revoked: func(device string) { cut = append(cut, device) }})
	answer, own := f.device()
	_, neighbour := f.device()
	if err := f.Revoke(t.Context(), answer.Device); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cut, []string{answer.Device}) {
		t.Errorf("told to cut %q", cut)
	}
	if _, _, err := f.Who(own); !errors.Is(err, ErrRevoked) {
		t.Errorf("a revoked device may come in: %v", err)
	}
	if _, err := f.renewal(own); !errors.Is(err, ErrRevoked) {
		t.Errorf("a revoked device may renew: %v", err)
	}
	if _, _, err := f.Who(neighbour); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
	if err := f.Revoke(t.Context(), "dunknownaaa"); !errors.Is(err, store.ErrNotFound) || len(cut) != 1 {
		t.Errorf("revoked a device that isn't there: %v, cut %q", err, cut)
	}
}

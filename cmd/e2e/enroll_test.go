package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/fleet/api"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/identity"
	"github.com/sightline-edge/sightline/sync/wire"
)

// door is a fleet's way in: its CA, its store and its HTTPS interface on
// loopback, without a broker.
type door struct {
	t       *testing.T
	ca      *enroll.CA
	store   *store.Store
	service *enroll.Service
	url     string
	lose    atomic.Bool // connections are cut when the fleet has done its part
}

func openDoor(t *testing.T, conf enroll.Config) *door {
	t.Helper()
	return openDoorAt(t, filepath.Join(t.TempDir(), "fleet.db"), conf)
}

func openDoorAt(t *testing.T, db string, conf enroll.Config) *door {
	t.Helper()
	d := &door{t: t}
	var err error
	if d.store, err = store.Open(db); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.store.Close(); err != nil {
			t.Error(err)
		}
	})
	if d.ca, err = enroll.Init(t.TempDir(), []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	d.service = enroll.NewService(d.ca, d.store, conf)
	server, err := api.New(api.Config{Store: d.store, Enroll: d.service, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	https, err := d.ca.Server(d.store.Now())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", https)
	if err != nil {
		t.Fatal(err)
	}
	serving := &http.Server{ErrorLog: log.New(t.Output(), "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !d.lose.Load() {
			server.Handler().ServeHTTP(w, r)
			return
		}
		server.Handler().ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})}
	ended := make(chan error)
	go func() { ended <- serving.Serve(listener) }()
	t.Cleanup(func() {
		_ = serving.Close()
		<-ended
	})
	d.url = "https://" + listener.Addr().String()
	return d
}

func (d *door) token() string {
	d.t.Helper()
	token, err := d.service.Token(d.t.Context(), "line-4", 0)
	if err != nil {
		d.t.Fatal(err)
	}
	return token.String()
}

// device enrols one in a folder of its own.
func (d *door) device() (*identity.Identity, string) {
	d.t.Helper()
	dir := d.t.TempDir()
	id, err := identity.Enroll(d.t.Context(), identity.Config{Dir: dir, Fleet: d.url, Token: d.token(), StationLabel: "west gate"})
	if err != nil {
		d.t.Fatal(err)
	}
	return id, dir
}

// shows is the certificate that the device shows a broker now.
func (d *door) shows(id *identity.Identity) []*x509.Certificate {
	d.t.Helper()
	pair, err := id.TLS().GetClientCertificate(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return []*x509.Certificate{pair.Leaf}
}

// known fails unless the fleet lets the device in.
func (d *door) known(id *identity.Identity) {
	d.t.Helper()
	if who, _, err := d.service.Who(d.shows(id)); err != nil || who != id.Device() {
		d.t.Errorf("%s is let in as %q, %v", id.Device(), who, err)
	}
}

// refused fails unless the fleet refuses for good and says this.
func refused(t *testing.T, err error, why string) {
	t.Helper()
	if !errors.Is(err, identity.ErrRefused) || !strings.Contains(err.Error(), why) {
		t.Errorf("the error is %v, want the fleet to refuse with %q", err, why)
	}
}

func TestEnrolment(t *testing.T) {
	d := openDoor(t, enroll.Config{})
	id, dir := d.device()
	d.known(id)
	kept, err := d.store.Device(t.Context(), id.Device())
	if err != nil || kept.Group != "line-4" || id.Group() != "line-4" || kept.Label != "west gate" || id.MQTT() != "127.0.0.1:8883" {
		t.Errorf("the fleet has %+v, the device group %s, broker %s, %v", kept, id.Group(), id.MQTT(), err)
	}
	old := d.shows(id)
	if err := id.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.known(id)
	again, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d.known(again); d.shows(again)[0].Equal(old[0]) {
		t.Error("after the renewal the old certificate is on disk")
	}
}

func TestEnrolmentRefused(t *testing.T) {
	d, other := openDoor(t, enroll.Config{}), openDoor(t, enroll.Config{})
	used := d.token()
	try := func(token string) error {
		_, err := identity.Enroll(t.Context(), identity.Config{Dir: t.TempDir(), Fleet: d.url, Token: token})
		return err
	}
	if err := try(used); err != nil {
		t.Fatal(err)
	}
	refused(t, try(used), "the enrolment token has been used")
	if err := try(other.token()); !errors.Is(err, identity.ErrWrongFleet) {
		t.Errorf("with another fleet's token: %v", err)
	}
	unknown, err := wire.ParseToken(used)
	if err != nil {
		t.Fatal(err)
	}
	unknown.Secret[0] ^= 1
	refused(t, try(unknown.String()), "the enrolment token isn't one of this fleet")
	long := identity.Config{Dir: t.TempDir(), Fleet: d.url, Token: d.token(), StationLabel: strings.Repeat("x", 65)}
	_, err = identity.Enroll(t.Context(), long)
	refused(t, err, "(422)")
}

// TestEnrolmentsLostAnswers: the fleet did its part and the connection was cut.
// The same call again, by the same device, gets through with the same token;
// another device doesn't.
func TestEnrolmentsLostAnswers(t *testing.T) {
	d := openDoor(t, enroll.Config{})
	conf := identity.Config{Dir: t.TempDir(), Fleet: d.url, Token: d.token()}
	d.lose.Store(true)
	for range 3 {
		if id, err := identity.Enroll(t.Context(), conf); err == nil {
			t.Fatalf("enrolled as %s though the answer was lost", id.Device())
		}
	}
	d.lose.Store(false)
	_, err := identity.Enroll(t.Context(), identity.Config{Dir: t.TempDir(), Fleet: d.url, Token: conf.Token})
	refused(t, err, "the enrolment token has been used")
	id, err := identity.Enroll(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	d.known(id)
	all, err := d.store.Devices(t.Context())
	if err != nil || len(all) != 1 {
		t.Errorf("the fleet has %d devices, %v", len(all), err)
	}

	d.lose.Store(true)
	for range 3 {
		if err := id.Renew(t.Context()); err == nil || errors.Is(err, identity.ErrRefused) {
			t.Errorf("renewed though the answer was lost: %v", err)
		}
		d.known(id)
	}
	d.lose.Store(false)
	if err := id.Renew(t.Context()); err != nil {
		t.Error(err)
	}
	d.known(id)
}

// TestTwoDevicesOneToken at the same time: one gets in.
func TestTwoDevicesOneToken(t *testing.T) {
	d := openDoor(t, enroll.Config{})
	token := d.token()
	results := make(chan error)
	const racers = 4
	for range racers {
		conf := identity.Config{Dir: t.TempDir(), Fleet: d.url, Token: token}
		go func() {
			_, err := identity.Enroll(context.Background(), conf)
			results <- err
		}()
	}
	in := 0
	for range racers {
		if err := <-results; err == nil {
			in++
		} else {
			refused(t, err, "the enrolment token has been used")
		}
	}
	if in != 1 {
		t.Errorf("%d got in", in)
	}
}

// TestEndedCertificate: within the grace it lets no one in and can be renewed;
// beyond it the device must be enrolled anew.
func TestEndedCertificate(t *testing.T) {
	for _, c := range []struct {
		name  string
		grace time.Duration
		good  bool
	}{{"within the grace", time.Hour, true}, {"beyond the grace", time.Millisecond, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := openDoor(t, enroll.Config{Life: time.Second, Grace: c.grace})
			id, _ := d.device()
			ended := id.NotAfter().Add(time.Second)
			eventually(t, "the certificate's end", func() bool { return id.Expired() && d.store.Now().After(ended) })
			if _, _, err := d.service.Who(d.shows(id)); !errors.Is(err, enroll.ErrPeer) {
				t.Errorf("its ended certificate lets it in: %v", err)
			}
			err := id.Renew(t.Context())
			if c.good && err != nil {
				t.Error(err)
			} else if !c.good {
				refused(t, err, "enrol the device anew with a new token")
			}
			if s := id.Stats(); s.Refused == c.good || s.Expiring == c.good {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestRevokedDevice(t *testing.T) {
	var cut atomic.Value
	d := openDoor(t, enroll.Config{Revoked: func(device string) { cut.Store(device) }})
	id, _ := d.device()
	neighbour, _ := d.device()
	if err := d.service.Revoke(t.Context(), id.Device()); err != nil {
		t.Fatal(err)
	}
	refused(t, id.Renew(t.Context()), "the device has been revoked")
	if _, _, err := d.service.Who(d.shows(id)); !errors.Is(err, enroll.ErrRevoked) || cut.Load() != id.Device() {
		t.Errorf("let in: %v; told to cut %v", err, cut.Load())
	}
	if err := neighbour.Renew(t.Context()); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
}

// TestImpersonation: nobody renews as another device: not with a certificate
// of his own making, not with one of another fleet, not with none.
func TestImpersonation(t *testing.T) {
	d, other := openDoor(t, enroll.Config{}), openDoor(t, enroll.Config{})
	victim, _ := d.device()
	stranger, _ := other.device()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: victim.Device()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, forged, forged, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	body := `{"csr":"` + strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})), "\n", `\n`) + `"}`
	foreign, err := stranger.TLS().GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	// A copied certificate without its key can't even be shown.
	copied := &tls.Certificate{Certificate: [][]byte{d.shows(victim)[0].Raw}, PrivateKey: key}
	for _, c := range []struct {
		name string
		cert *tls.Certificate
		want int // 0: no connection
	}{
		{"self-made", &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, http.StatusForbidden},
		{"self-made with the victim's behind it", &tls.Certificate{Certificate: [][]byte{der, d.shows(victim)[0].Raw}, PrivateKey: key}, http.StatusForbidden},
		{"another fleet's", foreign, http.StatusForbidden},
		{"none", &tls.Certificate{}, http.StatusUnauthorized},
		{"copied", copied, 0},
	} {
		conf := victim.TLS()
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.cert, nil }
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
		resp, err := client.Post(d.url+wire.RenewPath, "application/json", strings.NewReader(body))
		got := 0
		if err == nil {
			text, readErr := io.ReadAll(resp.Body)
			if got = resp.StatusCode; readErr != nil || strings.Contains(string(text), "BEGIN CERTIFICATE") {
				t.Errorf("%s: answered %s, %v", c.name, text, readErr)
			}
			_ = resp.Body.Close()
		}
		if got != c.want {
			t.Errorf("%s: status %d, want %d: %v", c.name, got, c.want, err)
		}
	}
}

// TestFleetsClockAhead: the fleet has seen 2040, as after a wrong start; the
// device, whose clock is right, enrols, comes in and renews all the same.
func TestFleetsClockAhead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.db")
	st, err := store.Open(path)
	if err == nil {
		err = st.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	_, err = db.Exec(`UPDATE meta SET value = ? WHERE name = 'newest_time'`, at.UnixNano())
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	d := openDoorAt(t, path, enroll.Config{})
	if now := d.store.Now(); now.Before(at) {
		t.Fatalf("the fleet's time is %s", now)
	}
	id, _ := d.device()
	d.known(id)
	if err := id.Renew(t.Context()); err != nil {
		t.Error(err)
	}
	d.known(id)
	if id.Expired() || id.NotAfter().Before(at) {
		t.Errorf("it ends on %s, expired %v", id.NotAfter(), id.Expired())
	}
}

// TestBrokersHandshake: device and fleet agree over TLS as the broker has it.
func TestBrokersHandshake(t *testing.T) {
	d := openDoor(t, enroll.Config{})
	id, _ := d.device()
	conf, err := d.ca.Server(d.store.Now())
	if err != nil {
		t.Fatal(err)
	}
	conf.ClientAuth = tls.RequireAnyClientCert
	shake := func(client *tls.Config) (name string, service bool, err error) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		server, ended := tls.Server(far, conf), make(chan error, 1)
		go func() { ended <- server.Handshake() }()
		if err := tls.Client(near, client).Handshake(); err != nil {
			return "", false, err
		}
		if err := <-ended; err != nil {
			return "", false, err
		}
		return d.service.Who(server.ConnectionState().PeerCertificates)
	}
	if name, service, err := shake(id.TLS()); err != nil || name != id.Device() || service {
		t.Errorf("the device is %q, service %v, %v", name, service, err)
	}
	ingester := d.ca.ClientTLS("ingest", d.store.Now)
	ingester.ServerName = "127.0.0.1"
	if name, service, err := shake(ingester); err != nil || name != "ingest" || !service {
		t.Errorf("the ingester is %q, service %v, %v", name, service, err)
	}
}

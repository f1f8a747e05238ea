package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// TestRenew: with the present certificate, for a new key each time; both are
// kept, and connections to come use them.
func TestRenew(t *testing.T) {
	f := newFleet(t)
	id, dir := f.enrolled()
	shown := make(chan *x509.Certificate, 1)
	broker := serve(t, &tls.Config{Certificates: []tls.Certificate{f.server(time.Now().Add(life))}, ClientAuth: tls.RequireAnyClientCert},
		http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { shown <- r.TLS.PeerCertificates[0] }))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: id.TLS(), DisableKeepAlives: true}}
	f.spoil = func(a *wire.EnrollAnswer) { a.Group, a.MQTT = "line-5", "127.0.0.1:8884" }
	for n := 1; n <= 3; n++ {
		before := id.cert.Leaf
		if err := id.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !f.peers[n-1].Equal(before) {
			t.Errorf("renewal %d showed another certificate than the present one", n)
		}
		again, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		after := again.cert.Leaf
		if samePublic(again, before.PublicKey) || !samePublic(again, f.keys[n]) || again.Group() != "line-5" || again.MQTT() != "127.0.0.1:8884" {
			t.Errorf("renewal %d: on disk is group %s, broker %s, the old key %v", n, again.Group(), again.MQTT(), samePublic(again, before.PublicKey))
		}
		resp, err := client.Get(broker)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // it is empty
		if got := <-shown; !got.Equal(after) {
			t.Errorf("renewal %d: a connection made before it showed serial %s, not %s", n, got.SerialNumber, after.SerialNumber)
		}
	}
	if s := id.Stats(); s.Renewed != 3 || s.Failed != 0 || s.LastError != "" || s.Expiring || !s.NotAfter.Equal(id.NotAfter()) {
		t.Errorf("stats %+v", s)
	}
}

// TestImposterBroker: the device's connection is for the fleet's broker alone.
func TestImposterBroker(t *testing.T) {
	f := newFleet(t)
	id, _ := f.enrolled()
	other := newAuthority(t, time.Now())
	foreign := other.server(time.Now().Add(life))
	foreign.Certificate[1] = f.cert.Raw
	ended := f.server(f.cert.NotBefore.Add(time.Minute))
	for _, c := range []struct {
		name, mqtt string
		cert       tls.Certificate
		good       bool
	}{
		{"the fleet's", ":8883", f.server(time.Now().Add(life)), true},
		{"the fleet's, ended by our clock", ":8883", ended, true},
		{"another fleet's that shows our CA", ":8883", foreign, false},
		{"of another host", "broker.example:8883", f.server(time.Now().Add(life)), false},
	} {
		id.about.MQTT = c.mqtt
		url := serve(t, &tls.Config{Certificates: []tls.Certificate{c.cert}}, http.NotFoundHandler())
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: id.TLS(), DisableKeepAlives: true}}
		resp, err := client.Get(url)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body) // a page that says that there is none
			_ = resp.Body.Close()
		}
	}
	if conf := id.TLS(); conf.MinVersion != tls.VersionTLS13 {
		t.Error("older TLS would do")
	}
}

// TestRenewalFails: nothing changes, the reason is known, the next one works.
func TestRenewalFails(t *testing.T) {
	f := newFleet(t)
	stranger := newAuthority(t, time.Now())
	for _, c := range []struct {
		name    string
		instead func(http.ResponseWriter, *http.Request)
		spoil   func(*wire.EnrollAnswer)
		lose    bool
		want    string
		final   bool
	}{
		{name: "answer lost", lose: true, want: "EOF"},
		{name: "revoked", instead: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"detail":"the device has been revoked"}`)
		}, want: "the fleet refused: the device has been revoked (403)", final: true},
		{name: "another CA", spoil: func(a *wire.EnrollAnswer) { a.CA = string(encodeCertificate(stranger.cert)) }, want: "its CA isn't the server's own"},
		{name: "the old certificate", spoil: func(a *wire.EnrollAnswer) { a.Certificate = string(encodeCertificate(f.peers[len(f.peers)-1])) }, want: "its certificate is for another key"},
		{name: "another device", spoil: func(a *wire.EnrollAnswer) {
			a.Device = "dotherother"
			a.Certificate = string(encodeCertificate(f.issue("dotherother", f.keys[len(f.keys)-1], a.NotAfter, x509.ExtKeyUsageClientAuth)))
		}, want: "it is for dotherother, and this device is " + testDevice},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, dir := f.enrolled()
			before := id.cert.Leaf
			f.set(func() { f.instead, f.spoil, f.lose = c.instead, c.spoil, c.lose })
			err := id.Renew(t.Context())
			f.set(func() { f.instead, f.spoil, f.lose = nil, nil, false })
			wantError(t, err, "renew the certificate: ", c.want)
			if s := id.Stats(); s.Failed != 1 || s.LastError != fmt.Sprint(err) || s.Refused != c.final || s.Expiring != c.final {
				t.Errorf("stats %+v", s)
			}
			again, err := Open(dir)
			if err != nil || !again.cert.Leaf.Equal(before) || !id.cert.Leaf.Equal(before) {
				t.Errorf("the identity has changed: %v", err)
			}
			if err := id.Renew(t.Context()); err != nil {
				t.Error(err)
			}
			if s := id.Stats(); s.LastError != "" || s.Refused || s.Expiring {
				t.Errorf("after it worked again: %+v", s)
			}
		})
	}
}

// TestPowerCutWhileRenewing: there is a whole identity, the old or the new one.
func TestPowerCutWhileRenewing(t *testing.T) {
	f := newFleet(t)
	var all []string
	for n := 0; ; n++ {
		id, dir := f.enrolled()
		before := id.cert.Leaf
		all = nil
		id.folder.step = cutAt(n, &all)
		err := id.Renew(t.Context())
		if err == nil {
			break
		}
		if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		again, err := Open(dir)
		if err != nil {
			t.Errorf("cut before %q: %v", all[n], err)
			continue
		}
		renewed := slices.Contains(all[:n], "rename "+deviceFile)
		if kept := again.cert.Leaf; kept.Equal(before) == renewed || !samePublic(again, kept.PublicKey) {
			t.Errorf("cut before %q: the old one kept %v", all[n], kept.Equal(before))
		}
		if due := again.due(); renewed && due > life/2+life/10 || due < 0 {
			t.Errorf("cut before %q: renewed again in %s", all[n], due)
		}
		if err := again.Renew(t.Context()); err != nil {
			t.Errorf("cut before %q, then renewed: %v", all[n], err)
		}
	}
	want := stepsOf(deviceFile, aboutFile)
	if !slices.Equal(all, want) {
		t.Errorf("the steps are %q, want %q", all, want)
	}
}

// TestTwoRenewAtOnce: another process keeps off, threads of one take turns.
func TestTwoRenewAtOnce(t *testing.T) {
	f := newFleet(t)
	id, dir := f.enrolled()
	results := make(chan error)
	for range 4 {
		go func() { results <- id.Renew(context.Background()) }()
	}
	for range 4 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	lock, err := folder{path: filepath.Join(dir, FolderName)}.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := id.Renew(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("while another process renews: %v", err)
	}
}

// TestRun renews a certificate that lasts a second, over and over.
func TestRun(t *testing.T) {
	f := newFleet(t)
	f.life = time.Second
	id, _ := f.enrolled()
	ctx, cancel := context.WithCancel(t.Context())
	renewed := make(chan struct{}, 100)
	f.set(func() { f.spoil = func(*wire.EnrollAnswer) { renewed <- struct{}{} } })
	ended := make(chan error)
	go func() { ended <- id.Run(ctx) }()
	for range 3 {
		<-renewed
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

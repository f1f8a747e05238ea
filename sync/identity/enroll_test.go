package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/sync/wire"
)

func TestEnroll(t *testing.T) {
	f := newFleet(t)
	dir := filepath.Join(t.TempDir(), "data")
	id, err := Enroll(t.Context(), f.config(dir))
	if err != nil {
		t.Fatal(err)
	}
	if id.Device() != testDevice || id.Group() != "line-4" || id.Fleet() != f.url || id.MQTT() != "127.0.0.1:8883" || id.Expired() {
		t.Errorf("enrolled as %s of %s at %s, broker %s, expired %v", id.Device(), id.Group(), id.Fleet(), id.MQTT(), id.Expired())
	}
	want := []wire.EnrollRequest{{Token: f.token().String(), StationLabel: "west gate", Hostname: "dev1"}}
	if d := cmp.Diff(want, f.said); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	modes := map[string]string{}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		rel, _ := filepath.Rel(dir, path) // it is below dir
		modes[rel] = info.Mode().String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wantModes := map[string]string{"identity": "drwx------", "identity/device.pem": "-rw-------", "identity/ca.pem": "-rw-r--r--", "identity/fleet.json": "-rw-r--r--", "identity/root.json": "-rw-r--r--"}
	if d := cmp.Diff(wantModes, modes); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Device() != testDevice || !again.cert.Leaf.Equal(id.cert.Leaf) || !id.read().Issued.Equal(again.read().Issued) {
		t.Errorf("opened again it is another: %+v", again.read())
	}
}

func TestEnrollTwice(t *testing.T) {
	f := newFleet(t)
	_, dir := f.enrolled()
	_, err := Enroll(t.Context(), f.config(dir))
	if !errors.Is(err, ErrEnrolled) || len(f.requests) != 1 {
		t.Errorf("%d requests, %v", len(f.requests), err)
	}
	wantError(t, err, "as "+testDevice+" at "+f.url, "revoke it at the fleet and remove the folder "+filepath.Join(dir, FolderName))
	if err := os.Truncate(filepath.Join(dir, FolderName, deviceFile), 10); err != nil {
		t.Fatal(err)
	}
	if _, err = Enroll(t.Context(), f.config(dir)); !errors.Is(err, ErrEnrolled) {
		t.Errorf("over a damaged identity: %v", err)
	}
}

// TestImposters: nothing is sent to a server that isn't the token's fleet.
func TestImposters(t *testing.T) {
	ca, other := newAuthority(t, time.Now().Add(-time.Hour)), newAuthority(t, time.Now().Add(-time.Hour))
	token := ca.token()
	good, foreign := ca.server(time.Now().Add(life)), other.server(time.Now().Add(life))
	deviceKey := mustKey(t)
	device := ca.issue(testDevice, deviceKey.Public(), time.Now().Add(life), x509.ExtKeyUsageClientAuth)
	byDevice := (&authority{t, deviceKey, device}).server(time.Now().Add(life))
	ours, theirs := short(token.CA), short(sha256.Sum256(other.cert.Raw))
	for _, c := range []struct {
		name  string
		chain [][]byte
		key   any
		want  string
	}{
		{"another fleet", foreign.Certificate, foreign.PrivateKey, "this isn't the fleet that made the token: the token's CA is " + ours + ", the server's is " + theirs},
		{"another fleet that shows the CA", [][]byte{foreign.Certificate[0], ca.cert.Raw}, foreign.PrivateKey, "the server isn't 127.0.0.1 of the fleet whose CA is " + ours},
		{"no CA shown", good.Certificate[:1], good.PrivateKey, "the server showed no CA"},
		{"a device of the fleet", [][]byte{device.Raw, ca.cert.Raw}, deviceKey, "the server isn't 127.0.0.1 of the fleet"},
		{"signed by a device", [][]byte{byDevice.Certificate[0], device.Raw, ca.cert.Raw}, byDevice.PrivateKey, "the server isn't 127.0.0.1 of the fleet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := ca.serve(tls.Certificate{Certificate: c.chain, PrivateKey: c.key})
			conf := f.config(t.TempDir())
			_, err := Enroll(t.Context(), conf)
			wantError(t, err, c.want)
			if _, err := Open(conf.Dir); !errors.Is(err, ErrNotEnrolled) || len(f.requests) > 0 {
				t.Errorf("%d requests were sent, %v", len(f.requests), err)
			}
		})
	}
}

func TestRightFleetWrongHost(t *testing.T) {
	f := newFleet(t) // of 127.0.0.1
	conf := f.config(t.TempDir())
	conf.Fleet = "https://localhost:" + f.port()
	_, err := Enroll(t.Context(), conf)
	wantError(t, err, "the server isn't localhost of the fleet")
	if len(f.requests) > 0 {
		t.Error("the token was sent")
	}
}

func TestOldTLS(t *testing.T) {
	ca := newAuthority(t, time.Now().Add(-time.Hour))
	f := ca.serveTLS(&tls.Config{Certificates: []tls.Certificate{ca.server(time.Now().Add(life))}, MaxVersion: tls.VersionTLS12})
	_, err := Enroll(t.Context(), f.config(t.TempDir()))
	wantError(t, err, "protocol version")
}

// TestClocksFarApart: the device enrols, connects and renews though by its
// clock the fleet's certificates ended decades ago, or are yet to begin.
func TestClocksFarApart(t *testing.T) {
	for name, now := range map[string]time.Time{
		"device in 2036": time.Now().AddDate(-40, 0, 0), // its clock is far ahead of the fleet's
		"device in 1970": time.Now().AddDate(40, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			ca := newAuthority(t, now.Add(-24*time.Hour))
			f := ca.serve(ca.server(now.Add(life)))
			f.now = func() time.Time { return now }
			id, _ := f.enrolled()
			if err := id.Renew(t.Context()); err != nil {
				t.Error(err)
			}
			if id.Expired() || id.Stats().Expiring {
				t.Error("after the fleet told its time the device holds its certificate for ended")
			}
		})
	}
}

func TestBadConfig(t *testing.T) {
	f := newFleet(t)
	for _, c := range []struct{ fleet, token, want string }{
		{"http://127.0.0.1", f.token().String(), "isn't https://host"},
		{"fleet.example", f.token().String(), "isn't https://host"},
		{"https://", f.token().String(), "isn't https://host"},
		{"https://me:secret@fleet", f.token().String(), "isn't https://host"},
		{"https://fleet/path", f.token().String(), "isn't https://host"},
		{"https://fleet?x=1", f.token().String(), "isn't https://host"},
		{"https://fle et", f.token().String(), "the fleet's address"},
		{f.url, "garbage", "this is no enrolment token"},
		{f.url, "", "this is no enrolment token"},
	} {
		_, err := Enroll(t.Context(), Config{Dir: t.TempDir(), Fleet: c.fleet, Token: c.token})
		wantError(t, err, "enrol this device: ", c.want)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells a password: %v", err)
		}
	}
}

// TestBadAnswers: what a broken or hostile server answers is refused, and
// nothing of it is kept.
func TestBadAnswers(t *testing.T) {
	f := newFleet(t)
	stranger := newAuthority(t, time.Now().Add(-time.Hour))
	say := func(status int, kind, text string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(text)) // the device may have gone
		}
	}
	problem := "application/problem+json; charset=utf-8"
	for _, c := range []struct {
		name    string
		instead func(http.ResponseWriter, *http.Request)
		spoil   func(*wire.EnrollAnswer)
		want    string
		final   bool
	}{
		{name: "garbage", instead: say(200, "text/html", "<html>"), want: "the answer isn't a fleet's"},
		{name: "nothing", instead: say(200, "application/json", ""), want: "the answer isn't a fleet's"},
		{name: "empty object", instead: say(200, "application/json", "{}"), want: "its certificate: it isn't one certificate"},
		{name: "endless data", instead: func(w http.ResponseWriter, r *http.Request) {
			for err := error(nil); err == nil && r.Context().Err() == nil; {
				_, err = w.Write(make([]byte, 1<<16))
			}
		}, want: "the answer is longer than 65536 bytes"},
		{name: "endless header", instead: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		}, want: "server response headers exceeded"},
		{name: "refusal", instead: say(403, problem, `{"title":"Forbidden","detail":"the token has expired"}`), want: "the fleet refused: the token has expired (403)", final: true},
		{name: "refusal by its title", instead: say(409, problem, `{"title":"taken"}`), want: "the fleet refused: taken (409)", final: true},
		{name: "terminal codes", instead: say(403, problem, `{"detail":"a\u001b[2Jb`+strings.Repeat("c", 1000)+`"}`), want: "refused: a [2Jbccc", final: true},
		{name: "no problem", instead: say(404, "text/html", "<html>"), want: "the fleet refused: 404 Not Found", final: true},
		{name: "broken problem", instead: say(403, problem, `{"detail":7}`), want: "the fleet refused: 403 Forbidden", final: true},
		{name: "too many", instead: say(429, problem, `{"detail":"later"}`), want: "the fleet answered: later (429)"},
		{name: "trouble", instead: say(503, "text/plain", "later"), want: "the fleet answered: 503"},
		{name: "created", instead: say(201, "application/json", "{}"), want: "the fleet answered: 201 Created"},
		{name: "other key", spoil: func(a *wire.EnrollAnswer) {
			a.Certificate = string(encodeCertificate(f.issue(testDevice, mustKey(t).Public(), time.Now().Add(life), x509.ExtKeyUsageClientAuth)))
		}, want: "its certificate is for another key"},
		{name: "other CA", spoil: func(a *wire.EnrollAnswer) { a.CA = string(encodeCertificate(stranger.cert)) }, want: "its CA isn't the server's own"},
		{name: "no CA", spoil: func(a *wire.EnrollAnswer) { a.CA = "" }, want: "its CA isn't the server's own"},
		{name: "other device", spoil: func(a *wire.EnrollAnswer) { a.Device = "dotherother" }, want: `the certificate is for "dabcdefghij", and this device is "dotherother"`},
		{name: "no device's id", spoil: func(a *wire.EnrollAnswer) { a.Device = "a/../b" }, want: `"a/../b" can't be a device's id`},
		{name: "no broker", spoil: func(a *wire.EnrollAnswer) { a.MQTT = "" }, want: `the broker's address "" isn't host:port`},
		{name: "broker's port", spoil: func(a *wire.EnrollAnswer) { a.MQTT = "b:0" }, want: `isn't host:port`},
		{name: "ends before it was issued", spoil: func(a *wire.EnrollAnswer) { a.Issued = a.NotAfter.Add(time.Second) }, want: "its certificate was issued at"},
		{name: "never issued", spoil: func(a *wire.EnrollAnswer) { a.Issued = time.Time{} }, want: "its certificate was issued at"},
		{name: "two certificates", spoil: func(a *wire.EnrollAnswer) { a.Certificate += a.CA }, want: "it isn't one certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.set(func() { f.instead, f.spoil = c.instead, c.spoil })
			conf := f.config(t.TempDir())
			_, err := Enroll(t.Context(), conf)
			wantError(t, err, c.want)
			if errors.Is(err, ErrRefused) != c.final || len(err.Error()) > 600 {
				t.Errorf("for good: %v; %d bytes: %v", !c.final, len(err.Error()), err)
			}
			if _, err := Open(conf.Dir); !errors.Is(err, ErrNotEnrolled) {
				t.Errorf("it is enrolled now: %v", err)
			}
		})
	}
}

// TestRedirect: the token doesn't follow it.
func TestRedirect(t *testing.T) {
	f, trap := newFleet(t), newFleet(t)
	f.instead = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, trap.url+r.URL.Path, http.StatusTemporaryRedirect)
	}
	_, err := Enroll(t.Context(), f.config(t.TempDir()))
	wantError(t, err, `it sends to "`+trap.url+`/v1/enroll"; give the fleet's own address`)
	if len(trap.requests) > 0 {
		t.Error("the redirect was followed")
	}
}

// TestSlowServer: one that sends a byte now and then is given up by the
// caller's time, and by our own.
// An address without a port may be meant for the fleet's usual one.
func TestPortLeftOut(t *testing.T) {
	token := wire.Token{}
	for address, hint := range map[string]bool{"https://127.0.0.99": true, "https://127.0.0.99:1": false} { // where nobody answers
		_, err := Enroll(t.Context(), Config{Dir: t.TempDir(), Fleet: address, Token: token.String()})
		if err == nil || strings.Contains(err.Error(), "a fleet answers at 8443 where it wasn't told otherwise: https://127.0.0.99:8443") != hint {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestSlowServer(t *testing.T) {
	f := newFleet(t)
	f.instead = func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" ")) // the device goes, that is the point
			_ = http.NewResponseController(w).Flush()
			<-tick.C
		}
	}
	limit := 300 * time.Millisecond
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		limit = 2 * patience
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err := Enroll(ctx, f.config(t.TempDir()))
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil && limit > patience {
		t.Errorf("after %s: %v", limit, err)
	}
}

// TestLostAnswer: the same key asks again, so that the fleet can know it.
func TestLostAnswer(t *testing.T) {
	f := newFleet(t)
	f.lose = true
	conf := f.config(t.TempDir())
	for range 2 {
		_, err := Enroll(t.Context(), conf)
		wantError(t, err, "enrol this device: at "+f.url)
	}
	f.set(func() { f.lose = false })
	id, err := Enroll(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range f.keys {
		if !samePublic(id, key) {
			t.Error("another key asked again")
		}
	}
	if len(f.keys) != 3 {
		t.Errorf("%d asked", len(f.keys))
	}
}

func samePublic(id *Identity, key crypto.PublicKey) bool {
	public, ok := key.(*ecdsa.PublicKey)
	return ok && public.Equal(id.cert.Leaf.PublicKey)
}

var errCut = errors.New("the power was cut")

// cutAt makes a step function that stops at the nth change on disk.
func cutAt(n int, seen *[]string) func(string) error {
	return func(what string) error {
		*seen = append(*seen, what)
		if len(*seen) > n {
			return errCut
		}
		return nil
	}
}

// stepsOf are the changes on disk that writing some files takes.
func stepsOf(files ...string) (all []string) {
	for _, name := range files {
		for _, step := range []string{"make ", "write ", "sync ", "rename ", "sync folder of "} {
			all = append(all, step+name)
		}
	}
	return all
}

// TestPowerCutWhileEnrolling: whatever was on disk, the device is enrolled or
// not, and the same call gets it enrolled, with the same key.
func TestPowerCutWhileEnrolling(t *testing.T) {
	f := newFleet(t)
	var all []string
	for n := 0; ; n++ {
		dir := t.TempDir()
		conf := f.config(dir)
		all = nil
		conf.step = cutAt(n, &all)
		f.set(func() { f.keys = nil })
		_, err := Enroll(t.Context(), conf)
		if err == nil {
			break
		}
		if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		if _, err := Open(dir); all[n] == "sync folder of "+FolderName { // it may last
			if err != nil {
				t.Errorf("cut before %q: opens with %v", all[n], err)
			}
			continue
		} else if !errors.Is(err, ErrNotEnrolled) {
			t.Errorf("cut before %q: opens with %v", all[n], err)
		}
		conf.step = nil
		id, err := Enroll(t.Context(), conf)
		if err != nil {
			t.Errorf("cut before %q, then enrolled again: %v", all[n], err)
			continue
		}
		if string(id.Root()) != testRoot {
			t.Errorf("cut before %q, then enrolled again: the root is %q", all[n], id.Root())
		}
		for _, key := range f.keys {
			if !samePublic(id, key) {
				t.Errorf("cut before %q, another key asked again", all[n])
			}
		}
	}
	want := append(stepsOf(deviceFile, caFile, rootFile, deviceFile, aboutFile), "rename "+FolderName, "sync folder of "+FolderName)
	if !slices.Equal(all, want) {
		t.Errorf("the steps are %q, want %q", all, want)
	}
}

// TestTwoEnrolAtOnce in one data directory: one does it, the others say why not.
func TestTwoEnrolAtOnce(t *testing.T) {
	f := newFleet(t)
	conf := f.config(t.TempDir())
	results := make(chan error)
	const racers = 6
	for range racers {
		go func() {
			_, err := Enroll(context.Background(), conf)
			results <- err
		}()
	}
	in := 0
	for range racers {
		err := <-results
		if err == nil {
			in++
		} else if !errors.Is(err, ErrBusy) && !errors.Is(err, ErrEnrolled) {
			t.Error(err)
		}
	}
	if _, err := Open(conf.Dir); in != 1 || err != nil {
		t.Errorf("%d enrolled, %v", in, err)
	}
}

func TestDamagedIdentity(t *testing.T) {
	f := newFleet(t)
	_, other := f.enrolled()
	stranger := newAuthority(t, time.Now())
	path := func(dir, name string) string { return filepath.Join(dir, FolderName, name) }
	for _, c := range []struct {
		name   string
		damage func(dir string) error
		want   []string
	}{
		{"readable key", func(dir string) error { return os.Chmod(path(dir, deviceFile), 0o644) },
			[]string{"others may read or write the device's key (mode 0644): chmod 600 "}},
		{"half a certificate", func(dir string) error { return os.Truncate(path(dir, deviceFile), 500) }, []string{"read device.pem", "it isn't one certificate"}},
		{"half a key", func(dir string) error { return os.Truncate(path(dir, deviceFile), 100) }, []string{"read device.pem", "it doesn't begin with a key"}},
		{"key gone", func(dir string) error { return os.Remove(path(dir, deviceFile)) }, []string{"device.pem: no such file"}},
		{"CA gone", func(dir string) error { return os.Remove(path(dir, caFile)) }, []string{"ca.pem: no such file"}},
		{"another CA", func(dir string) error {
			return os.WriteFile(path(dir, caFile), encodeCertificate(stranger.cert), 0o644)
		}, []string{"certificate signed by unknown authority"}},
		{"half the rest", func(dir string) error { return os.Truncate(path(dir, aboutFile), 30) }, []string{"read fleet.json"}},
		{"the rest gone", func(dir string) error { return os.Remove(path(dir, aboutFile)) }, []string{"fleet.json: no such file"}},
		{"another device's name", func(dir string) error {
			return replace(path(dir, aboutFile), testDevice, "dotherother")
		}, []string{`the certificate is for "dabcdefghij", and this device is "dotherother"`}},
		{"a fleet without TLS", func(dir string) error { return replace(path(dir, aboutFile), "https://", "http://") }, []string{"isn't https://host"}},
		{"no broker", func(dir string) error { return replace(path(dir, aboutFile), ":8883", "") }, []string{"the broker's address"}},
		{"another device's certificate", func(dir string) error {
			key, err := os.ReadFile(path(dir, deviceFile))
			if err != nil {
				return err
			}
			theirs, err := os.ReadFile(path(other, deviceFile))
			if err != nil {
				return err
			}
			_, keyRest, err := parseKey(key)
			if err != nil {
				return err
			}
			_, certificate, err := parseKey(theirs)
			if err != nil {
				return err
			}
			return os.WriteFile(path(dir, deviceFile), append(key[:len(key)-len(keyRest)], certificate...), 0o600)
		}, []string{"key and certificate don't belong together"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, dir := f.enrolled()
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir)
			wantError(t, err, append(c.want, "open the identity in "+filepath.Join(dir, FolderName))...)
			if errors.Is(err, ErrNotEnrolled) {
				t.Error("it says that the device isn't enrolled")
			}
		})
	}
	_, err := Open(t.TempDir())
	wantError(t, err, fmt.Sprint(ErrNotEnrolled), "enrol it with a token")
}

func replace(path, old, new string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.ReplaceAll(string(text), old, new)), 0o644)
}

// TestRootIsKept: what an earlier try was told doesn't outlive it, and a
// renewal changes nothing.
func TestRootIsKept(t *testing.T) {
	f := newFleet(t)
	dir := t.TempDir()
	var all []string
	conf := f.config(dir)
	conf.step = cutAt(len(stepsOf(deviceFile, caFile, rootFile, deviceFile)), &all) // the root is there, the folder isn't
	if _, err := Enroll(t.Context(), conf); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, unfinished, rootFile)); err != nil || string(b) != testRoot {
		t.Fatalf("%q %v", b, err)
	}
	f.set(func() { f.spoil = func(a *wire.EnrollAnswer) { a.Root = nil } })
	id, err := Enroll(t.Context(), f.config(dir))
	if err != nil {
		t.Fatal(err)
	}
	if id.Root() != nil {
		t.Errorf("a root that the fleet no longer has: %q", id.Root())
	}
}

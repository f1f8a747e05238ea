package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sightline-edge/sightline/fleet/api"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

const fleetPassword = "correct horse battery"

// testFleet is a real fleet with a few devices, for the scripts.
type testFleet struct {
	testing.TB
	store *store.Store
	ca    *enroll.CA
	url   string
}

func newTestFleet(t testing.TB) *testFleet {
	t.Helper()
	f := &testFleet{TB: t}
	dir := t.TempDir()
	var err error
	f.store, err = store.Open(filepath.Join(dir, "fleet.db"))
	f.must(err)
	t.Cleanup(func() { f.must(f.store.Close()) })
	f.ca, err = enroll.Init(filepath.Join(dir, "ca"), []string{"localhost", "127.0.0.1"})
	f.must(err)
	engine := newTestRollouts(t, f)
	server, err := api.New(api.Config{
		Store: f.store, Rollouts: engine, Enroll: enroll.NewService(f.ca, f.store, enroll.Config{}), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	f.must(err)
	config, err := f.ca.Server(f.store.Now())
	f.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	f.url = "https://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- server.Run(ctx, tls.NewListener(l, config)) }()
	go func() { ended <- engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		f.must(<-ended)
		f.must(<-ended)
	})
	hash, err := auth.Hash(t.Context(), fleetPassword)
	f.must(err)
	f.must(f.store.AddUser(t.Context(), store.User{Name: "anna", Role: auth.Operator, Hash: hash}))
	f.must(f.store.AddUser(t.Context(), store.User{Name: "bert", Role: auth.Viewer, Hash: hash}))
	f.fill()
	return f
}

func (f *testFleet) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// fill adds one device that has sent three results, and one that never came.
func (f *testFleet) fill() {
	f.Helper()
	for id, label := range map[string]string{"dfiller001": "Halle 1 – 灌装", "dspare0001": ""} {
		key := auth.KeyOf(id)
		f.must(f.store.AddEnrolToken(f.Context(), store.EnrolToken{Key: key, Group: "line-a", Expires: f.store.Now().Add(time.Hour)}))
		f.must(f.store.AddDevice(f.Context(), store.Device{ID: id, Label: label, CertNotAfter: time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC)}, key))
	}
	b := &wire.Batch{Epoch: 1}
	for i, d := range []vision.Decision{
		{Verdict: vision.Pass, Reason: "ok"}, {Verdict: vision.Fail, Reason: "scratch 0.91 > 0.5"}, {Reason: "\x1b[31mred\nalert"},
	} {
		r := wire.NewResult(&vision.Part{ID: []string{"4711", "4712", "4713"}[i], Label: "cap"}, &d, time.Now())
		r.Station = "station1"
		body, err := wire.EncodeResult(r)
		f.must(err)
		n := uint64(i + 1)
		b.Items = append(b.Items, wire.Item{First: n, Last: n, Body: body})
	}
	_, err := f.store.Ingest(f.Context(), []store.Batch{{Device: "dfiller001", Batch: b}})
	f.must(err)
	state := &wire.State{
		Connection: 7, EveryMs: 3600_000, Clock: time.Now().UnixNano(), Journal: &wire.JournalState{Epoch: 1, Last: 45},
		Stations: []*wire.StationState{{Id: "station1", State: "inspecting", Model: "caps", ModelVersion: "38"}},
	}
	f.must(f.store.Heard(f.Context(), []store.Sign{
		{Device: "dfiller001", At: f.store.Now(), Hello: &wire.Hello{Connection: 7, Epoch: 1}}, {Device: "dfiller001", At: f.store.Now(), State: state},
	}))
}

// The commands that ask a fleet, against a real one.
func TestFleetScripts(t *testing.T) {
	f := newTestFleet(t)
	token, ended := auth.NewSecret(auth.TokenPrefix), auth.NewSecret(auth.TokenPrefix)
	f.must(f.store.AddAPIToken(t.Context(), store.APIToken{Key: auth.KeyOf(token), Name: "ci", User: "bert", Role: auth.Viewer}))
	f.must(f.store.AddAPIToken(t.Context(), store.APIToken{Key: auth.KeyOf(ended), Name: "old", User: "bert", Role: auth.Viewer, Expires: f.store.Now().Add(-time.Hour)}))
	other, err := enroll.Init(filepath.Join(t.TempDir(), "other"), []string{"127.0.0.1"})
	f.must(err)
	fingerprint, wrong := f.ca.Fingerprint(), other.Fingerprint()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/fleet",
		Setup: func(e *testscript.Env) error {
			for name, v := range map[string]string{
				"GOCOVERDIR": os.Getenv("GOCOVERDIR"), "XDG_CONFIG_HOME": filepath.Join(e.WorkDir, "config"), "FLEET": f.url,
				"FINGERPRINT": hex.EncodeToString(fingerprint[:]), "WRONG": hex.EncodeToString(wrong[:]), "HOME": e.WorkDir,
			} {
				e.Setenv(name, v)
			}
			for name, text := range map[string]string{
				"ca.pem": string(f.ca.PEM()), "other.pem": string(other.PEM()), "password": fleetPassword + "\n", "token": token, "ended": ended + "\n",
				"answers": "anna\n" + fleetPassword + "\n", "confirmed": "yes\nanna\n" + fleetPassword + "\n", "denied": "no\n",
				"away.json":    `{"fleet":"https://127.0.0.1:1","ca":` + quote(string(f.ca.PEM())) + `,"token":"` + ended + `"}`,
				"damaged.json": "{", "old.json": `{"fleet":"` + f.url + `","ca":` + quote(string(f.ca.PEM())) + `,"token":"` + ended + `"}`,
			} {
				if err := os.WriteFile(filepath.Join(e.WorkDir, name), []byte(text), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func quote(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestFleetAddress(t *testing.T) {
	for text, want := range map[string]string{
		"https://fleet.local:8443": "https://fleet.local:8443", "https://fleet.local/": "https://fleet.local", "fleet.local:8443": "https://fleet.local:8443",
		"http://127.0.0.1:8080": "http://127.0.0.1:8080", "http://localhost": "http://localhost", "http://[::1]:80": "http://[::1]:80",
		"http://fleet.local": "", "ftp://x": "", "https://": "", "https://u:p@x": "", "https://x/y": "", "https://x?y": "", "::": "",
	} {
		got, err := fleetAddress(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

func TestTableIsStraight(t *testing.T) {
	tab := table{head: []string{"A", "B"}}
	tab.add("灌装", "x")
	tab.add("e\u0301t", "y")
	tab.add("", "\x1b[2J")
	var b strings.Builder
	if err := tab.write(&b); err != nil {
		t.Fatal(err)
	}
	if want := "A     B\n灌装  x\ne\u0301t    y\n-     ?[2J\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

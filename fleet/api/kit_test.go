package api

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/fleet/depot"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/rollout"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

var update = flag.Bool("update", false, "write the generated files anew")

// password is every user's, hashed once.
const password = "correct horse battery"

var hashed = sync.OnceValue(func() string {
	h, err := auth.Hash(context.Background(), password)
	if err != nil {
		panic(err)
	}
	return h
})

// fleet is a service over a real store, with a user of each role by its name.
type fleet struct {
	testing.TB
	*Server
	store  *store.Store
	enroll *enroll.Service
	depot  *depot.Depot
	engine *rollout.Engine // of rollouts of the one bundle caps; steps when a test says so
	tokens map[auth.Role]string
	close  func()            // of the store
	stop   func()            // of the server that serve started
	seq    map[string]uint64 // the last record of each device
}

func newFleet(t testing.TB, change ...func(*Config)) *fleet {
	t.Helper()
	dir := t.TempDir()
	st, err := store.Open(filepath.Join(dir, "fleet.db"))
	if err != nil {
		t.Fatal(err)
	}
	closed := sync.OnceFunc(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(closed)
	ca, err := enroll.Init(filepath.Join(dir, "ca"), []string{"localhost", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{TB: t, store: st, close: closed, tokens: map[auth.Role]string{}, seq: map[string]uint64{}}
	f.enroll = enroll.NewService(ca, st, enroll.Config{Root: func() []byte { return f.depot.Root() }})
	f.engine = rollout.New(rollout.Config{
		Store: st, Send: func(string, *wire.Command) bool { return true }, Changed: func(id string) { f.RolloutChanged(id) },
		Lookup: func(name, version string) (rollout.Target, error) {
			if name != "caps" {
				return rollout.Target{}, fmt.Errorf("%w: %s", rollout.ErrUnknown, name)
			}
			return rollout.Target{Version: cmp.Or(version, "1.2.0"), Digest: [32]byte{1, 2, 3}, Path: "bundles/caps/1.2.0.slb", Golden: true}, nil
		},
	})
	cfg := Config{Store: st, Enroll: f.enroll, Rollouts: f.engine, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Version: "1.2.3"}
	if cfg.Depot, err = depot.Open(filepath.Join(dir, depot.FolderName), st.Now, cfg.Log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.must(f.depot.Close()) })
	f.depot = cfg.Depot
	for _, c := range change {
		c(&cfg)
	}
	if f.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	for _, role := range []auth.Role{auth.Viewer, auth.Operator, auth.Admin} {
		f.must(st.AddUser(t.Context(), store.User{Name: role.String(), Role: role, Hash: hashed()}))
		secret := auth.NewSecret(auth.TokenPrefix)
		f.must(st.AddAPIToken(t.Context(), store.APIToken{Key: auth.KeyOf(secret), Name: "test", User: role.String(), Role: role}))
		f.tokens[role] = secret
	}
	return f
}

func (f *fleet) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// add enrols a device without its certificate.
func (f *fleet) add(id, group, label string) {
	f.Helper()
	secret := auth.KeyOf(id)
	f.must(f.store.AddEnrolToken(f.Context(), store.EnrolToken{Key: secret, Group: group, Expires: f.store.Now().Add(time.Hour)}))
	f.must(f.store.AddDevice(f.Context(), store.Device{
		ID: id, Label: label, Hostname: "host-" + id, CertSerial: "0a1b2c3d4e5f", CertNotAfter: f.store.Now().Add(13 * 24 * time.Hour),
	}, secret))
	f.devices.forget()
}

// connect makes a device say hello and how it is, some time ago.
func (f *fleet) connect(id string, ago time.Duration, state *wire.State) {
	f.Helper()
	const connection, epoch = 7, 0xfeed
	at := f.store.Now().Add(-ago)
	state.Connection, state.EveryMs, state.AgeMs = connection, 10_000, 3*3600e3
	if state.Clock == 0 {
		state.Clock = at.UnixNano()
	}
	if state.Journal == nil {
		state.Journal = &wire.JournalState{Last: f.seq[id], Bytes: 4_200_000}
	}
	state.Journal.Epoch = epoch
	hello := &wire.Hello{Protocol: 1, Connection: connection, Epoch: epoch, First: 1, Last: state.Journal.Last, Inventory: inventory(id)}
	f.must(f.store.Heard(f.Context(), []store.Sign{
		{Device: id, At: at.Add(-3 * time.Hour), Hello: hello}, {Device: id, At: at, State: state},
	}))
	f.devices.forget()
}

// hangUp ends a device's connection some time ago.
func (f *fleet) hangUp(id string, ago time.Duration) {
	f.Helper()
	f.must(f.store.Heard(f.Context(), []store.Sign{{Device: id, At: f.store.Now().Add(-ago), Life: &wire.Life{Connection: 7}}}))
	f.devices.forget()
}

// send commits results of a device and tells them to the server.
func (f *fleet) send(id string, results ...*wire.Result) []store.Row {
	f.Helper()
	b := &wire.Batch{Epoch: 0xfeed}
	for _, r := range results {
		f.seq[id]++
		body, err := wire.EncodeResult(r)
		f.must(err)
		b.Items = append(b.Items, wire.Item{First: f.seq[id], Last: f.seq[id], Body: body})
	}
	marks, err := f.store.Ingest(f.Context(), []store.Batch{{Device: id, Batch: b}})
	f.must(err)
	if len(marks) != 1 || !marks[0].Known {
		f.Fatalf("the batch wasn't taken: %+v", marks)
	}
	rows, _, err := f.store.Results(f.Context(), store.Query{Device: id, Limit: len(results)})
	f.must(err)
	f.Told(rows)
	f.devices.forget()
	return rows
}

func inventory(id string) *wire.Inventory {
	return &wire.Inventory{
		Version: "1.2.3", Os: "Ubuntu 22.04.5 LTS", Kernel: "5.15.148-tegra", Arch: "arm64", Model: "NVIDIA Jetson Orin Nano Developer Kit",
		Serial: "1421723", Jetpack: "6.2", Hostname: "host-" + id, Cores: 6, MemoryBytes: 8 << 30, Gpus: []string{"Orin"},
	}
}

// wellState is a state in which all is well.
func wellState(stations ...string) *wire.State {
	s := &wire.State{UptimeMs: 3 * 3600e3, Board: &wire.Board{
		Temperatures: []*wire.Reading{{Name: "cpu-thermal", Value: 54}, {Name: "gpu-thermal", Value: 57}}, Load: proto.Float32(1.2), Cpu: proto.Float32(0.43),
		MemoryTotal: proto.Uint64(8e9), MemoryAvailable: proto.Uint64(5e9), DiskTotal: proto.Uint64(128e9), DiskFree: proto.Uint64(61e9),
		Gpus: []*wire.GPU{{Name: "Orin", Load: proto.Float32(0.61), Temperature: proto.Float32(57), Power: proto.Float32(7)}},
	}}
	for _, id := range stations {
		s.Stations = append(s.Stations, &wire.StationState{
			Id: id, Line: "A", State: "inspecting", Model: "caps", ModelVersion: "38", ModelDigest: strings.Repeat("9f2c", 16),
			Rule: "threshold:scratch>0.5", Pass: 2381, Fail: 27, None: 4, Frames: 108_000, Inferred: 107_400, Rate: 30,
		})
	}
	return s
}

// inspected is a device's i-th result: a good one, every fifth bad, every
// eleventh not decided.
func inspected(station string, i int) *wire.Result {
	now := time.Now()
	p := vision.Part{
		ID: fmt.Sprintf("%s-%d", station, 4700+i), Label: "cap", Score: 0.98, Frames: 9, First: uint64(i * 40), Last: uint64(i*40 + 8),
		Seen: now.Add(-500 * time.Millisecond), LastSeen: now.Add(-100 * time.Millisecond), Box: vision.Box{X: 40, Y: 50, W: 200, H: 200},
	}
	d := vision.Decision{Verdict: vision.Pass, Reason: "ok"}
	switch {
	case i%11 == 7:
		d = vision.Decision{Reason: vision.ReasonNotRecorded}
	case i%5 == 4:
		p.Defects = []vision.Evidence{{Label: "scratch", Score: 0.91, Frames: 4, Box: vision.Box{X: 60, Y: 60, W: 80, H: 20}}}
		d = vision.Decision{Verdict: vision.Fail, Reason: "scratch 0.91 > 0.5", Measurements: []vision.Measurement{{Name: "scratch", Value: 0.91, Limit: 0.5}}}
	}
	r := wire.NewResult(&p, &d, now)
	r.Station, r.Line, r.Model, r.ModelDigest, r.Rule, r.RuleDigest = station, "A", "caps 38", strings.Repeat("9f2c", 16), "threshold:scratch>0.5", strings.Repeat("17ab", 16)
	r.Attempt, r.Latency = 1, int64(31*time.Millisecond)
	return r
}

// triggered is the result of a part that a trigger asked for and two cameras
// saw.
func triggered() *wire.Result {
	r := inspected("station3", 4)
	r.TriggerId, r.Recipe, r.Attempt, r.Reason = "T-000812", "0.5 l & up", 2, "scratch 0.91 > 0.5 (side)"
	r.Views = []*wire.View{{Camera: "top", Seq: 168, Captured: r.LastCaptured, Width: 1280, Height: 720}, {Camera: "side", Seq: 170, Captured: r.LastCaptured, Width: 640, Height: 480}}
	r.Evidence[0].View = 1
	return r
}

// ask is a request of a role; 0 for nobody.
func (f *fleet) ask(role auth.Role, method, target string, body ...string) *httptest.ResponseRecorder {
	f.Helper()
	r := httptest.NewRequest(method, "http://localhost"+target, strings.NewReader(strings.Join(body, "")))
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	if role != 0 {
		r.Header.Set("Authorization", "Bearer "+f.tokens[role])
	}
	return f.serve(r)
}

func (f *fleet) serve(r *http.Request) *httptest.ResponseRecorder {
	f.Helper()
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, r)
	return w
}

func body[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return v
}

// until waits for a thing that is about to happen.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.After(15 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			t.Fatalf("waited 15 s for: %s", what)
		case <-tick.C:
		}
	}
}

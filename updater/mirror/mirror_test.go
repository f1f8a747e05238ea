package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/updater/publish"
	"github.com/sightline-edge/sightline/updater/trust"
)

const day = 24 * time.Hour

// repo is a published repository, and the keys behind it.
type repo struct {
	t       testing.TB
	roots   []*publish.Key
	key     *publish.Key
	online  *publish.Online
	root    []byte
	targets []byte
	snap    []byte
	stamp   []byte
	files   map[string][]byte
}

func newRepo(t testing.TB, now time.Time) *repo {
	t.Helper()
	r := &repo{t: t, files: map[string][]byte{}}
	var err error
	r.key = r.newKey()
	r.online, err = publish.OpenOnline(filepath.Join(t.TempDir(), "online"))
	r.must(err)
	roles := publish.Roles{Targets: r.key.Public(), Online: r.online.Keys()}
	for range 3 {
		r.roots = append(r.roots, r.newKey())
		roles.Root = append(roles.Root, r.roots[len(r.roots)-1].Public())
	}
	r.root, err = publish.NewRoot(roles, now.Add(2000*day), r.roots[:2]...)
	r.must(err)
	r.add("1.0.0", now)
	return r
}

func (r *repo) newKey() *publish.Key {
	k, err := publish.NewKey()
	r.must(err)
	return k
}

func (r *repo) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// add publishes a version, all signed at now.
func (r *repo) add(version string, now time.Time) {
	r.t.Helper()
	var err error
	r.targets, err = publish.AddTarget(r.targets, r.root, "bundles/caps/"+version+".slb", 7, [32]byte{1}, [32]byte{2}, now.Add(365*day), r.key)
	r.must(err)
	r.sign(now)
}

func (r *repo) sign(now time.Time) {
	r.t.Helper()
	var err error
	r.snap, r.stamp, err = r.online.Sign(r.root, r.targets, r.snap, r.stamp, now)
	r.must(err)
	files, err := publish.Files(r.root, r.targets, r.snap, r.stamp)
	r.must(err)
	for name, data := range files {
		r.files[name] = data
	}
}

// Metadata makes it a Source.
func (r *repo) Metadata(_ context.Context, name string, _ int64) ([]byte, error) {
	if data, ok := r.files[name]; ok {
		return data, nil
	}
	return nil, ErrMissing
}

func pinned(t testing.TB, r *repo) (string, *Mirror) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "updates", "metadata")
	r.must(Pin(dir, r.root))
	m, err := Open(dir)
	r.must(err)
	return dir, m
}

func TestRefreshAndTarget(t *testing.T) {
	now := time.Now()
	r := newRepo(t, now)
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNoRoot) {
		t.Errorf("without a root: %v", err)
	}
	dir, m := pinned(t, r)
	if _, err := m.Target(t.Context(), r, "x"); err == nil {
		t.Error("a target without a refresh")
	}
	r.must(m.Refresh(t.Context(), r, now))
	target, err := m.Target(t.Context(), r, "bundles/caps/1.0.0.slb")
	if err != nil || target.SHA256 != [32]byte{1} || target.Pieces != [32]byte{2} || target.Piece != 65536 || target.Length != 7 {
		t.Errorf("%+v, %v", target, err)
	}
	if _, err := m.Target(t.Context(), r, "bundles/caps/2.slb"); trust.CodeOf(err) != trust.NotFound {
		t.Errorf("a target that isn't there: %v", err)
	}
	if _, err := m.Target(t.Context(), r, "bundles/caps/1.0.0.slb"); err != nil {
		t.Errorf("a search after one that found nothing: %v", err)
	}
	version, fingerprint, err := m.Root()
	if version != 1 || len(fingerprint) != 64 || err != nil {
		t.Errorf("root %d %s, %v", version, fingerprint, err)
	}
	entries, err := os.ReadDir(dir)
	r.must(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "floor root.json snapshot.json targets.json timestamp.json" {
		t.Errorf("on disk: %s", got)
	}
}

func TestPinIsKept(t *testing.T) {
	r, other := newRepo(t, time.Now()), newRepo(t, time.Now())
	dir, _ := pinned(t, r)
	r.must(Pin(dir, r.root))
	if err := Pin(dir, other.root); !errors.Is(err, ErrPinned) {
		t.Errorf("another root: %v", err)
	}
	if err := Pin(t.TempDir(), []byte("{}")); trust.CodeOf(err) != trust.Format {
		t.Errorf("no root: %v", err)
	}
}

// From the root on disk, not from the first one: a revoked key stays revoked
// after a restart.
func TestRevokedKeyStaysRevoked(t *testing.T) {
	now := time.Now()
	r := newRepo(t, now)
	dir, m := pinned(t, r)
	r.must(m.Refresh(t.Context(), r, now))
	thief := *r.online
	before := r.root
	var err error
	r.online, err = publish.OpenOnline(filepath.Join(t.TempDir(), "new"))
	r.must(err)
	next, err := publish.NextRoot(r.root, now.Add(1000*day),
		publish.Change{Role: "snapshot", Old: thief.Snapshot.ID(), New: r.online.Snapshot.Public()},
		publish.Change{Role: "timestamp", Old: thief.Timestamp.ID(), New: r.online.Timestamp.Public()})
	r.must(err)
	r.root, err = publish.SignRoot(next, r.roots[1], r.roots[2])
	r.must(err)
	r.sign(now)
	r.must(m.Refresh(t.Context(), r, now))

	_, stamp, err := thief.Sign(before, r.targets, nil, nil, now.Add(time.Hour))
	r.must(err)
	evil := &repo{files: map[string][]byte{"timestamp.json": stamp}}
	m, err = Open(dir)
	r.must(err)
	if err := m.Refresh(t.Context(), evil, now); trust.CodeOf(err) != trust.UnknownKey {
		t.Errorf("the stolen key after it was revoked: %v", err)
	}
}

// A clock that starts in 1970 revives nothing, and one that stood in 2099
// doesn't lock the device out.
func TestWrongClocks(t *testing.T) {
	now := time.Now()
	r := newRepo(t, now)
	dir, m := pinned(t, r)
	r.must(m.Refresh(t.Context(), r, now))
	frozen := map[string][]byte{}
	for name, data := range r.files {
		frozen[name] = data
	}
	later := now.Add(6 * day)
	r.add("1.1.0", later)
	r.must(m.Refresh(t.Context(), r, later))

	r.sign(later.Add(3 * day))
	r.must(m.Refresh(t.Context(), r, later.Add(3*day)))
	m, err := Open(dir)
	r.must(err)
	if err := m.Refresh(t.Context(), &repo{files: frozen}, time.Unix(0, 0)); trust.CodeOf(err) == "" {
		t.Errorf("in 1970, files of nine days ago: %v", err)
	}
	// The same where the disk has lost what guards against older files.
	for _, name := range []string{"timestamp.json", "snapshot.json", "targets.json"} {
		r.must(os.Remove(filepath.Join(dir, name)))
	}
	if err := m.Refresh(t.Context(), &repo{files: frozen}, time.Unix(0, 0)); trust.CodeOf(err) != trust.Freeze {
		t.Errorf("in 1970, files of nine days ago, the disk damaged: %v", err)
	}
	if got := m.Floor(); got.Before(later.Add(3*day - time.Second)) {
		t.Errorf("the floor is %v", got)
	}
	if err := m.Refresh(t.Context(), r, time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)); trust.CodeOf(err) != trust.Expired {
		t.Errorf("in 2099: %v", err)
	}
	r.must(m.Refresh(t.Context(), r, later.Add(4*day)))
	if end := m.Ends(); m.Floor().After(end) {
		t.Errorf("the floor %v lies beyond the end of what was accepted, %v", m.Floor(), end)
	}
	// A clock that is wrong by less than a timestamp's life passes, and the next
	// timestamp is good at the floor that it leaves.
	r.must(m.Refresh(t.Context(), r, later.Add(9*day)))
	r.sign(later.Add(5 * day))
	r.must(m.Refresh(t.Context(), r, later.Add(5*day)))
}

// The clock of RefreshAt leaves no trace.
func TestRefreshAtLeavesTheFloor(t *testing.T) {
	now := time.Now()
	r := newRepo(t, now)
	_, m := pinned(t, r)
	r.must(m.RefreshAt(t.Context(), r, now.Add(5*day)))
	if !m.Floor().IsZero() {
		t.Errorf("the floor is %v", m.Floor())
	}
}

func TestHTTP(t *testing.T) {
	now := time.Now()
	r := newRepo(t, now)
	type answerer func(w http.ResponseWriter) bool
	var answer atomic.Pointer[answerer] // nil for what a good server says
	says := func(a answerer) { answer.Store(&a) }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		name := strings.TrimPrefix(q.URL.EscapedPath(), "/meta/")
		if a := answer.Load(); a != nil && (*a)(w) {
			return
		}
		data, err := r.Metadata(q.Context(), name, 0)
		if err != nil {
			http.Error(w, "none", http.StatusNotFound)
			return
		}
		_, _ = w.Write(data) // a client that leaves is tested below
	}))
	defer s.Close()
	src := HTTP(s.URL+"/meta", s.Client())
	_, m := pinned(t, r)
	r.must(m.Refresh(t.Context(), src, now))

	for _, status := range []int{403, 404, 500, 302, 204} {
		says(func(w http.ResponseWriter) bool {
			w.WriteHeader(status)
			return true
		})
		_, err := src.Metadata(t.Context(), "9.root.json", 100)
		if missing := status == 403 || status == 404; errors.Is(err, ErrMissing) != missing || err == nil {
			t.Errorf("%d: %v", status, err)
		}
	}
	var sent atomic.Int64
	says(func(w http.ResponseWriter) bool {
		for block := bytes.Repeat([]byte(" "), 1<<16); ; sent.Add(int64(len(block))) {
			if _, err := w.Write(block); err != nil {
				return true
			}
		}
	})
	if err := m.Refresh(t.Context(), src, now); trust.CodeOf(err) != trust.EndlessData {
		t.Errorf("a root without end: %v", err)
	}
	s.CloseClientConnections()
	if sent.Load() > 50<<20 {
		t.Errorf("%d bytes were sent before it stopped", sent.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	says(func(http.ResponseWriter) bool {
		cancel()
		return false
	})
	if err := m.Refresh(ctx, src, now); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled refresh: %v", err)
	}
}

func TestFolder(t *testing.T) {
	now := time.Now()
	r := newRepo(t, now)
	dir := t.TempDir()
	for name, data := range r.files {
		r.must(os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	_, m := pinned(t, r)
	r.must(m.Refresh(t.Context(), Folder(dir), now))
	for _, name := range []string{"../x", "a/b", "", ".", ".."} {
		if data, err := Folder(dir).Metadata(t.Context(), name, 10); err == nil || errors.Is(err, ErrMissing) {
			t.Errorf("%q: %q, %v", name, data, err)
		}
	}
	r.must(os.WriteFile(filepath.Join(dir, "big"), make([]byte, 100), 0o644))
	if data, err := Folder(dir).Metadata(t.Context(), "big", 10); len(data) != 11 || err != nil {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// A source that gives nothing at all for a while: an error that is no refusal,
// and the metadata stays.
func TestSourceFails(t *testing.T) {
	now := time.Now()
	r := newRepo(t, now)
	_, m := pinned(t, r)
	r.must(m.Refresh(t.Context(), r, now))
	err := m.Refresh(t.Context(), broken{}, now)
	if !errors.Is(err, io.ErrUnexpectedEOF) || trust.CodeOf(err) != "" || !strings.Contains(fmt.Sprint(err), "fetch 2.root.json") {
		t.Errorf("%v", err)
	}
	r.must(m.Refresh(t.Context(), r, now))
}

type broken struct{}

func (broken) Metadata(context.Context, string, int64) ([]byte, error) {
	return nil, io.ErrUnexpectedEOF
}

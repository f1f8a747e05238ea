package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

func want(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUsersSessionsTokens(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	now := s.Now()
	want(t, s.AddUser(ctx, User{Name: "ann", Role: auth.Operator, Hash: "h1"}), nil)
	want(t, s.AddUser(ctx, User{Name: "ann", Role: auth.Admin}), ErrExists)
	key := [32]byte{1}
	want(t, s.AddSession(ctx, Session{Key: key, User: "ann", Role: auth.Admin, Expires: now.Add(time.Hour)}), nil)
	want(t, s.AddSession(ctx, Session{Key: [32]byte{2}, User: "bob", Expires: now.Add(time.Hour)}), ErrNotFound)
	n, err := s.Session(ctx, key, now)
	if err != nil || n.Begun.Before(now) || n.Begun.After(s.Now()) {
		t.Fatalf("%+v, %v", n, err)
	}
	n.Begun = time.Time{}
	if diff := cmp.Diff(&Session{Key: key, User: "ann", Role: auth.Operator, Expires: now.Add(time.Hour)}, n); diff != "" {
		t.Error(diff)
	}
	_, err = s.Session(ctx, key, now.Add(time.Hour))
	want(t, err, ErrExpired)
	want(t, s.ExtendSession(ctx, key, now.Add(2*time.Hour)), nil)
	_, err = s.Session(ctx, key, now.Add(time.Hour))
	want(t, err, nil)
	want(t, s.AddAPIToken(ctx, APIToken{Key: key, Name: "ci", User: "ann", Role: auth.Admin, Expires: now.Add(time.Hour)}), nil)
	want(t, s.AddAPIToken(ctx, APIToken{Key: [32]byte{3}, Name: "ci", User: "ann"}), ErrExists)
	want(t, s.AddAPIToken(ctx, APIToken{Key: [32]byte{3}, Name: "ci", User: "bob"}), ErrNotFound)
	token, err := s.APIToken(ctx, key, now)
	if err != nil || token.Role != auth.Operator || token.Name != "ci" || token.User != "ann" {
		t.Errorf("got %+v, %v", token, err)
	}
	_, err = s.APIToken(ctx, key, now.Add(time.Hour))
	want(t, err, ErrExpired)
	want(t, s.RenewHash(ctx, "ann", "h0", "h9"), ErrNotFound)
	want(t, s.RenewHash(ctx, "ann", "h1", "h1 at another cost"), nil)
	_, err = s.Session(ctx, key, now)
	want(t, err, nil)
	_, err = s.APIToken(ctx, key, now)
	want(t, err, nil) // the password is the same
	want(t, s.SetPassword(ctx, "ann", "h2"), nil)
	want(t, s.SetPassword(ctx, "bob", "h2"), ErrNotFound)
	if u, err := s.User(ctx, "ann"); err != nil || u.Hash != "h2" {
		t.Errorf("got %+v, %v", u, err)
	}
	_, err = s.Session(ctx, key, now)
	want(t, err, ErrNotFound)
	want(t, s.ExtendSession(ctx, key, now), ErrNotFound)
	_, err = s.APIToken(ctx, key, now)
	want(t, err, ErrNotFound)
	want(t, s.AddAPIToken(ctx, APIToken{Key: key, Name: "ci", User: "ann"}), nil)
	want(t, s.RemoveUser(ctx, "ann"), nil)
	want(t, s.RemoveUser(ctx, "ann"), ErrNotFound)
	want(t, s.RemoveSession(ctx, key), nil)
	want(t, s.RemoveAPIToken(ctx, key), ErrNotFound)
	if all, err := s.APITokens(ctx); err != nil || len(all) != 0 {
		t.Errorf("got %+v, %v", all, err)
	}
}

func TestEnrolTokens(t *testing.T) {
	s, ctx := fresh(t), t.Context()
	now := s.Now()
	old, good := [32]byte{1}, [32]byte{2}
	want(t, s.AddEnrolToken(ctx, EnrolToken{Key: old, Group: "g", Expires: now.Add(-time.Second)}), nil)
	want(t, s.AddEnrolToken(ctx, EnrolToken{Key: good, Group: "g", Expires: now.Add(time.Hour)}), nil)
	want(t, s.AddEnrolToken(ctx, EnrolToken{Key: good, Group: "h", Expires: now.Add(time.Hour)}), ErrExists)
	want(t, s.AddDevice(ctx, Device{ID: "dev-a"}, old), ErrExpired)
	want(t, s.AddDevice(ctx, Device{ID: "dev-a"}, [32]byte{9}), ErrNotFound)
	want(t, s.AddDevice(ctx, Device{ID: "dev-a", Label: "door", Hostname: "box", CertSerial: "ab", CertNotAfter: now}, good), nil)
	want(t, s.AddDevice(ctx, Device{ID: "dev-b"}, good), ErrUsed)
	enrolled, err := s.EnrolToken(ctx, good)
	if err != nil || enrolled.UsedBy != "dev-a" {
		t.Errorf("got %+v, %v", enrolled, err)
	}
	next := [32]byte{3}
	want(t, s.AddEnrolToken(ctx, EnrolToken{Key: next, Group: "g", Expires: now.Add(time.Hour)}), nil)
	want(t, s.AddDevice(ctx, Device{ID: "dev-a"}, next), ErrExists)
	want(t, s.AddDevice(ctx, Device{ID: "dev-b"}, next), nil) // it wasn't used up
	want(t, s.SetCertificate(ctx, "dev-b", "cd", now.Add(time.Hour)), nil)
	want(t, s.Revoke(ctx, "dev-b", now), nil)
	want(t, s.Revoke(ctx, "dev-b", now.Add(time.Hour)), nil)
	want(t, s.SetCertificate(ctx, "dev-b", "ef", now), ErrNotFound)
	want(t, s.Revoke(ctx, "dev-x", now), ErrNotFound)
	if d, err := s.Device(ctx, "dev-b"); err != nil || d.CertSerial != "cd" || !d.Revoked.Equal(now) {
		t.Errorf("got %+v, %v", d, err)
	}
	_, err = s.Device(ctx, "dev-x")
	want(t, err, ErrNotFound)
}

// TestPresence: what a device says of its connection, in the orders that
// brokers deliver it in.
func TestPresence(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a", "dev-b", "dev-c")
	at := s.Now()
	after := func(seconds int) time.Time { return at.Add(time.Duration(seconds) * time.Second) }
	const one, two = 1<<63 + 1, 2
	hello := func(c uint64) *wire.Hello { return &wire.Hello{Connection: c, Epoch: 1 << 63} }
	life := func(c uint64, online bool) *wire.Life { return &wire.Life{Connection: c, Online: online, AgeMs: 2000} }
	state := func(c uint64) *wire.State { return &wire.State{Connection: c, AgeMs: 3000, EveryMs: 10000} }
	for i, step := range []struct {
		sign         Sign
		presence     Presence
		since, heard int // seconds
	}{
		{sign: Sign{At: after(1)}, presence: Online, heard: 1},
		{sign: Sign{At: after(2), Life: life(0, false)}, presence: Online, heard: 1},
		{sign: Sign{At: after(10), Hello: hello(one)}, presence: Online, since: 10, heard: 10},
		{sign: Sign{At: after(13), State: state(one)}, presence: Online, since: 10, heard: 13},
		{sign: Sign{At: after(14), Life: life(two, false)}, presence: Online, since: 10, heard: 13}, // another's will
		{sign: Sign{At: after(15), Life: life(one, false)}, presence: Offline, since: 15, heard: 13},
		{sign: Sign{At: after(16), State: state(one)}, presence: Offline, since: 15, heard: 16}, // late
		{sign: Sign{At: after(17), Life: life(one, false)}, presence: Offline, since: 15, heard: 16},
		{sign: Sign{At: after(20), Hello: hello(two)}, presence: Online, since: 20, heard: 20},
		{sign: Sign{At: after(21), Life: life(one, false)}, presence: Online, since: 20, heard: 20}, // a late will
		{sign: Sign{At: after(22), Life: life(one, true)}, presence: Online, since: 20, heard: 22},
		{sign: Sign{At: after(23), Life: life(two, false)}, presence: Offline, since: 23, heard: 22},
		{sign: Sign{At: after(24), Life: life(two, true)}, presence: Online, since: 22, heard: 24},
		{sign: Sign{At: after(5)}, presence: Online, since: 22, heard: 24}, // out of order
	} {
		step.sign.Device = "dev-a"
		if err := s.Heard(t.Context(), []Sign{{Device: "dev-x", At: at, Hello: hello(9)}, step.sign}); err != nil {
			t.Fatal(err)
		}
		d, err := s.Device(t.Context(), "dev-a")
		if err != nil {
			t.Fatal(err)
		}
		wantSince := after(step.since)
		if step.since == 0 {
			wantSince = time.Time{}
		}
		presence, since := d.Presence(after(25))
		if presence != step.presence || !since.Equal(wantSince) || !d.Heard.Equal(after(step.heard)) {
			t.Errorf("step %d: %s since %v, heard %v, want %+v", i, presence, since.Sub(at), d.Heard.Sub(at), step)
		}
	}
	d, err := s.Device(t.Context(), "dev-a")
	if err != nil {
		t.Fatal(err)
	}
	if d.Every != 10*time.Second || d.Connection != two || d.Epoch != 1<<63 || !d.StateAt.Equal(after(16)) {
		t.Errorf("got %+v", d)
	}
	if diff := cmp.Diff([]any{hello(two), state(one)}, []any{d.Hello, d.State}, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if p, since := d.Presence(after(24 + 32)); p != Stale || !since.Equal(after(24)) {
		t.Errorf("%s since %v", p, since)
	}
	if d, err := s.Device(t.Context(), "dev-b"); err != nil || d.Heard != (time.Time{}) {
		t.Errorf("another device was heard: %+v, %v", d, err)
	}
	want(t, s.Heard(t.Context(), []Sign{{Device: "dev-c", At: at, State: &wire.State{EveryMs: 4e9}}}), nil)
	if d, err := s.Device(t.Context(), "dev-c"); err != nil || d.Every != maxEvery {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestDevices(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-b", "dev-a", "dev-c")
	at := s.Now()
	want(t, s.Heard(t.Context(), []Sign{{Device: "dev-b", At: at, Hello: &wire.Hello{Connection: 1, Epoch: 7}}}), nil)
	take(t, s, []uint64{2, 1, 1}, batch("dev-b", 7, record(1, vision.Pass), record(2, vision.Fail)), batch("dev-a", 7, record(1, vision.None)), batch("dev-b", 8, record(1, vision.Fail)))
	all, err := s.Devices(t.Context())
	if err != nil || len(all) != 3 {
		t.Fatalf("got %+v, %v", all, err)
	}
	for i, want := range []struct {
		id              string
		watermark, last uint64
		epoch           uint64
	}{{"dev-a", 0, 1, 7}, {"dev-b", 2, 1, 8}, {"dev-c", 0, 0, 0}} {
		d := all[i]
		if d.ID != want.id || d.Watermark != want.watermark || (d.Last == nil) != (want.last == 0) {
			t.Errorf("got %+v, want %+v", d, want)
		}
		if d.Last != nil && (d.Last.Seq != want.last || d.Last.Epoch != want.epoch || d.Last.Record != nil) {
			t.Errorf("the last is %+v, want %+v", d.Last, want)
		}
	}
}

// TestOpenedAtOnce: several programs may find no database, and all get it.
func TestOpenedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "fleet.db")
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			s, err := Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			want(t, s.AddUser(t.Context(), User{Name: fmt.Sprint(i), Role: auth.Viewer}), nil)
			want(t, s.Close(), nil)
		})
	}
	all.Wait()
	if users, err := open(t, path).Users(t.Context()); err != nil || len(users) != 4 {
		t.Errorf("got %+v, %v", users, err)
	}
}

// TestClock: the fleet's time doesn't go back over a restart, and passes.
func TestClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.db")
	var before time.Time
	with(t, path, func(s *Store) { before = s.Now() })
	if passed := time.Since(before); passed < 0 || passed > time.Minute {
		t.Errorf("the fleet's time is %v, the wall clock's %v", before, time.Now())
	}
	ahead := before.AddDate(10, 0, 0) // the clock goes back by ten years
	with(t, path, func(s *Store) {
		_, err := s.writer.Exec(sqlKeepTime, ahead.UnixNano())
		want(t, err, nil)
	})
	with(t, path, func(s *Store) {
		if now := s.Now(); now.Before(ahead) || now.Sub(ahead) > time.Minute {
			t.Errorf("got %v after %v", now, ahead)
		}
		was, err := s.SetClockBack(t.Context())
		if err != nil || was.Before(ahead) {
			t.Errorf("set back from %v: %v", was, err)
		}
		want(t, s.AddUser(t.Context(), User{Name: "a", Role: auth.Viewer}), nil) // writes the time down
	})
	with(t, path, func(s *Store) {
		if off := time.Until(s.Now()); off > time.Minute || off < -time.Minute {
			t.Errorf("set back, and over a restart it is off by %v", off)
		}
	})
	synctest.Test(t, func(t *testing.T) { // whose clock begins in 2000
		s := &Store{}
		s.startClock(0)
		if now := s.Now(); !now.Equal(made) {
			t.Errorf("got %v", now)
		}
		time.Sleep(time.Hour)
		if now := s.Now(); !now.Equal(made.Add(time.Hour)) {
			t.Errorf("got %v", now)
		}
		s.startClock(made.AddDate(1, 0, 0).UnixNano())
		time.Sleep(time.Minute)
		if now := s.Now(); !now.Equal(made.AddDate(1, 0, 0).Add(time.Minute)) {
			t.Errorf("got %v", now)
		}
	})
}
